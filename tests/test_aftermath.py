"""The whole house: a call with everything behind it, workers killed, and an account of what it left."""

from __future__ import annotations

import re
from pathlib import Path

from scripts import aftermath, demo
from scripts.rig import Rig


def test_a_recorded_talk_and_a_message_are_stored_told_mailed_and_journalled_though_workers_are_killed(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    stories = [demo.Story("", demo.workers_killed), demo.Story("", demo.mailbox)]
    with Rig(tmp_path, behind=True, clock=None) as rig:
        assert rig.behind is not None
        rig.behind.subscribe("acme")
        for story, clock in zip(stories, (None, "2026-11-23 10:00"), strict=True):
            if clock is not None:
                rig.restart_server(clock)
            stage = demo.Stage(rig)
            story.callers = stage.callers
            story.play(stage)
        assert aftermath.tell(rig, "acme", demo.told_of(stories), said.append) == ""
    text = "\n".join(said)
    assert "the switch wrote 2 files; 2 of 2 in the store\n" in text
    assert re.search(r"\b[1-9]\d* came again under the same id", text)
    assert re.search(r"queue\.joined .*\n    try 1 at .*: 503 in .*\n    try 2 at .*: 204 in", text)
    assert "voicemail.received" in text
    assert "recording.available" in text
