"""Whole stories of recorded calls over TCP: the real server, the stand-in switch, Redis."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from callcontrol.commands import Refused, ask
from freeswitch.simulator import Answers, Caller
from scripts.rig import Rig

pytestmark = pytest.mark.tcp
TWICE, DEMAND = "+74951234567", "+74951234568"
SOMEBODY = "+79031234567"

COMPANY = """\
cordboard: 1
company: Acme
country: RU
timezone: Europe/Moscow
languages: [en]
numbers:
  "+74951234567": {flow: twice}
  "+74951234568": {flow: demand}
people:
  301: {name: Anna}
  302: {name: Boris, record: inbound}
recording: {announce: This call may be recorded., keep: 90d}
flows:
  twice:
    first: {dial: 302, then: second, otherwise: hangup}
    second: {dial: 301, record: always, then: hangup, otherwise: hangup}
  demand:
    ring: {dial: 301, record: on demand, then: hangup, otherwise: hangup}
"""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    directory = tmp_path_factory.mktemp("recorded")
    (directory / "routing").mkdir()
    (directory / "routing" / "acme.yaml").write_text(COMPANY)
    with Rig(directory / "rig", routing=directory / "routing", sounds={"This call may be recorded.": 0.3}) as started:
        yield started


def talks(rig: Rig, number: str) -> Caller:
    caller = rig.switch.call(SOMEBODY, number)
    caller.wait("talking", 15)
    rig.wait_fact(caller.uuid, "talk.started")
    return caller


def told(rig: Rig, call: str, kind: str) -> list[dict[str, Any]]:
    return [fact["data"] for fact in rig.facts(call, kind)]


def both(path: Path) -> tuple[int, float]:
    """Channels and seconds of a file."""
    with wave.open(str(path), "rb") as sound:
        return sound.getnchannels(), sound.getnframes() / sound.getframerate()


def test_a_recorded_talk_survives_its_controller_and_the_next_talk_is_the_second_segment(rig: Rig) -> None:
    rig.switch.phone("302", Answers(after=0.1, talk=1.5))
    rig.switch.phone("301", Answers(after=0.1))
    caller = talks(rig, TWICE)
    assert told(rig, caller.uuid, "consent.played") == [{"language": "en"}]
    rig.kill(rig.owner_of(caller.uuid))  # who began it: the other one hears the end
    rig.until(lambda: len(told(rig, caller.uuid, "talk.started")) == 2, 20, "the second talk")
    caller.hangup()
    rig.wait_fact(caller.uuid, "call.ended")
    first, second = told(rig, caller.uuid, "recording.expected")
    assert (first["rule"], first["segment"], first["consent"]) == ("person 302: inbound", 1, True)
    assert (second["rule"], second["segment"], second["with"]) == ("step twice/second: always", 2, "301")
    rig.until(lambda: len(told(rig, caller.uuid, "recording.stopped")) == 2, 15, "both ends to be told")
    stopped = {data["file"]: data["seconds"] for data in told(rig, caller.uuid, "recording.stopped")}
    assert {*stopped} == {first["file"], second["file"]} == {path.name for path in rig.spool.glob("*.wav")}
    for file, seconds in stopped.items():
        channels, length = both(rig.spool / file)
        assert channels == 2
        assert abs(length - seconds) < 0.01
    assert stopped[first["file"]] > 1.0
    assert len(told(rig, caller.uuid, "consent.played")) == 1


def test_on_demand_a_command_begins_pauses_and_ends_it(rig: Rig) -> None:
    rig.switch.phone("301", Answers(after=0.1))
    caller = talks(rig, DEMAND)

    apart = gevent.get_hub().threadpool.apply  # the switch lives in this thread

    def command(what: str) -> dict[str, Any]:
        given = {"company": "acme", "call": caller.uuid}
        return dict(apart(ask, (rig.redis_url, "switch1", f"recording.{what}", given), {"by": "anna"}))

    with pytest.raises(Refused, match="is not recorded"):
        command("stop")
    file = command("start")["file"]
    command("pause")
    command("resume")
    command("stop")
    rig.wait_fact(caller.uuid, "recording.stopped")
    kinds = [fact["type"] for fact in rig.facts(caller.uuid) if fact["data"].get("file") == file]
    assert kinds == [f"recording.{what}" for what in ("expected", "started", "paused", "resumed", "stopped")]
    caller.hangup()
    rig.wait_fact(caller.uuid, "call.ended")


def test_a_spool_without_room_stops_recordings_and_no_call(rig: Rig) -> None:
    rig.switch.phone("302", Answers(after=0.1))
    away = rig.spool.rename(rig.spool.with_name("away"))
    try:
        caller = talks(rig, TWICE)
        assert caller.talking_to
        (failed,) = told(rig, caller.uuid, "recording.failed")
        assert "No such file" in failed["why"]
        caller.hangup()
        rig.wait_fact(caller.uuid, "call.ended")
    finally:
        away.rename(rig.spool)
