"""Acceptance: speech in pieces on the real switch, told by a controller that knows nothing but the bytes.

What a caller hears is recorded by the switch itself, so that a gap between two pieces could be seen.
"""

from __future__ import annotations

import cmath
import math
import socket
import struct
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.switch.harness import PATIENCE, Caller, Event, Press, Switch, Watch, headers

pytestmark = [pytest.mark.switch, pytest.mark.timeout(90)]

#: Samples of each piece, none a multiple of the switch's frame of 160, and the tone that tells which it is.
PIECES = ((12037, 400), (5011, 600), (12345, 1000))


@pytest.fixture(scope="module")
def port(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


@pytest.fixture
def watch(switch: Switch) -> Iterator[Watch]:
    watch = switch.watch("CHANNEL_EXECUTE", "CHANNEL_EXECUTE_COMPLETE")
    yield watch
    watch.close()


@pytest.fixture
def pieces(tmp_path: Path) -> list[str]:
    """The files, in order."""
    paths = []
    for samples, hertz in PIECES:
        path = tmp_path / f"{hertz}.wav"
        tone = (int(8000 * math.sin(2 * math.pi * hertz * n / 8000)) for n in range(samples))
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(b"".join(struct.pack("<h", sample) for sample in tone))
        paths.append(str(path))
    return paths


class Answered:
    """A call that the switch brought, answered."""

    def __init__(self, listener: socket.socket, watch: Watch) -> None:
        self._socket, _ = listener.accept()
        self._watch = watch
        self._socket.settimeout(PATIENCE)
        self._socket.sendall(b"connect\n\n")
        data = b""
        while b"\n\n" not in data:
            data += self._socket.recv(65536)
        self.id = headers(data.decode()).call
        self.plays("answer", "", "answer")

    def plays(self, application: str, argument: str, uuid: str) -> None:
        argument = f"execute-app-arg: {argument}\n" if argument else ""
        text = f"sendmsg\ncall-command: execute\nexecute-app-name: {application}\n{argument}Event-UUID: {uuid}"
        self._socket.sendall(f"{text}\nevent-lock: true\n\n".encode())

    def ended(self, uuid: str) -> Event:
        return self._said("CHANNEL_EXECUTE_COMPLETE", uuid)

    def begun(self, uuid: str) -> Event:
        return self._said("CHANNEL_EXECUTE", uuid)

    def _said(self, name: str, uuid: str) -> Event:
        return self._watch.wait(
            f"{name} of {uuid}",
            lambda event: (event.name, event.call, event["Application-UUID"]) == (name, self.id, uuid),
        )


def strength_of(heard: Sequence[int], hertz: int) -> float:
    """How much of this tone is in these samples."""
    return abs(sum(sample * cmath.exp(2j * math.pi * hertz * n / 8000) for n, sample in enumerate(heard)))


def tones(path: Path) -> list[tuple[int, int]]:
    """What was heard: each tone (0: none) and its samples, in steps of 40."""
    with wave.open(str(path)) as file:
        data = file.readframes(file.getnframes())
    heard = [sample[0] for sample in struct.iter_unpack("<h", data)]
    found: list[tuple[int, int]] = []
    for at in range(0, len(heard) - 40, 40):
        strength = {hertz: strength_of(heard[at : at + 40], hertz) for _, hertz in PIECES}
        best = max(strength, key=lambda hertz: strength[hertz])
        tone = best if strength[best] > 40_000 else 0
        if found and found[-1][0] == tone:
            found[-1] = (tone, found[-1][1] + 40)
        else:
            found.append((tone, 40))
    return found


def test_pieces_are_heard_whole_in_order_and_without_a_gap(
    switch: Switch, listener: socket.socket, watch: Watch, pieces: list[str], tmp_path: Path
) -> None:
    caller = Caller(switch, "+74951230001")
    call = Answered(listener, watch)
    call.ended("answer")
    record = switch.spool / "heard.wav"
    watch.api(f"uuid_record {call.id} start {record} 60 {{RECORD_WRITE_ONLY=true,RECORD_MIN_SEC=0}}")
    call.plays("playback", "silence_stream://300", "silence")
    call.plays("playback", "file_string://" + "!".join(pieces), "pieces")
    assert call.ended("pieces")["Application-Response"] == "FILE PLAYED"
    watch.api(f"uuid_record {call.id} stop {record}")
    heard = [tone for tone in tones(record) if tone[1] > 40]
    inside = [tone for tone, _ in heard]
    assert inside[inside.index(400) : inside.index(1000) + 1] == [400, 600, 1000]
    for (samples, hertz), (tone, length) in zip(PIECES, [part for part in heard if part[0]], strict=True):
        assert tone == hertz
        assert length == pytest.approx(samples, abs=120)
    caller.hangup()


def test_a_key_cuts_all_pieces_and_the_end_comes_once(
    switch: Switch, listener: socket.socket, watch: Watch, pieces: list[str]
) -> None:
    caller = Caller(switch, "+74951230001", [Press("5")])
    call = Answered(listener, watch)
    call.ended("answer")
    watch.api(f"uuid_setvar {call.id} playback_terminators any")
    call.plays("playback", "file_string://" + "!".join(pieces * 5), "cut")
    call.plays("playback", pieces[1], "after")
    call.begun("cut")
    caller.step()
    assert call.ended("cut")["variable_playback_terminator_used"] == "5"
    call.ended("after")
    watch.catch_up()
    ends = [event["Application-UUID"] for event in watch.events if event.name == "CHANNEL_EXECUTE_COMPLETE"]
    assert [uuid for uuid in ends if uuid in ("cut", "after")] == ["cut", "after"]
    caller.hangup()


def test_a_piece_that_is_not_there_is_passed_over_and_all_together_are_not_found(
    switch: Switch, listener: socket.socket, watch: Watch, pieces: list[str], tmp_path: Path
) -> None:
    caller = Caller(switch, "+74951230001")
    call = Answered(listener, watch)
    call.plays("playback", f"file_string://{tmp_path}/none.wav!{pieces[1]}", "one")
    call.plays("playback", f"file_string://{tmp_path}/none.wav!{tmp_path}/neither.wav", "both")
    assert call.ended("one")["Application-Response"] == "FILE PLAYED"
    assert call.ended("both")["Application-Response"] == "FILE NOT FOUND"
    caller.hangup()
