"""The names of recordings: whose a file is must be readable from its name alone."""

from __future__ import annotations

import pytest

from callcontrol.spool import message_file, read_name, segment_file

CALL, LEG = "5fc64487-f17b-4d8f-b9fa-63f64cf86f2a", "0f0e8a52-2d3a-5e0c-9d5e-1f2a3b4c5d6e"


@pytest.mark.parametrize("file", [message_file("acme", CALL, 12), segment_file("big-acme", CALL, LEG, 3)])
def test_a_name_says_what_it_was_made_of(file: object) -> None:
    assert read_name(file.name) == file  # type: ignore[attr-defined]


def test_the_segments_of_a_call_are_one_recording_and_each_message_is_one() -> None:
    first, second = (segment_file("acme", CALL, LEG, number) for number in (1, 2))
    assert first.recording == second.recording
    messages = {message_file("acme", CALL, number).recording for number in (1, 2)}
    assert len(messages | {first.recording}) == 3
    assert message_file("other", CALL, 1).recording not in messages


@pytest.mark.parametrize(
    "name",
    [
        "",
        "acme.wav",
        f"acme_{CALL}_m1.wav.json",
        f"../acme_{CALL}_m1.wav",
        f"Acme_{CALL}_m1.wav",
        f"acme_{CALL}_m1.wav\n",
    ],
)
def test_what_is_no_recording_of_ours_is_nobodys(name: str) -> None:
    assert read_name(name) is None
