"""Acceptance: endless music on the real switch, told by a controller that knows nothing but the bytes.

What the caller hears is measured at the telephone.  The music is a tone that rises through its file, so that what is
heard tells the place in it.
"""

from __future__ import annotations

import math
import secrets
import socket
import struct
import wave
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from tests.switch.harness import (
    COMPANY,
    PATIENCE,
    Caller,
    Ear,
    Event,
    Phone,
    Press,
    Switch,
    Watch,
    headers,
    until,
)

pytestmark = [pytest.mark.switch, pytest.mark.timeout(90)]

#: Seconds of the music; it rises from one frequency to the other, Hz.
SECONDS, LOW, HIGH = 2.0, 500, 1500
#: What is said meanwhile: seconds, and a tone that the music never has.
SAID, SAYING = 0.6, 2500
#: The longest silence that a caller may hear between two sounds, seconds.
SILENCE = 0.1


@pytest.fixture(scope="module")
def port(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


@pytest.fixture
def watch(switch: Switch) -> Iterator[Watch]:
    watch = switch.watch("CHANNEL_EXECUTE", "CHANNEL_EXECUTE_COMPLETE", "CHANNEL_BRIDGE", "CHANNEL_PARK", "DTMF")
    yield watch
    watch.close()


@pytest.fixture
def music(tmp_path: Path) -> Path:
    return _file(tmp_path / "music.wav", SECONDS, LOW, HIGH)


@pytest.fixture
def said(tmp_path: Path) -> Path:
    return _file(tmp_path / "said.wav", SAID, SAYING, SAYING)


def _file(path: Path, seconds: float, low: float, high: float) -> Path:
    phase, samples = 0.0, []
    for n in range(int(seconds * 8000)):
        phase += 2 * math.pi * (low + (high - low) * n / (seconds * 8000)) / 8000
        samples.append(int(8000 * math.sin(phase)))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return path


class OnHold:
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
        self.tell(
            f"api uuid_setvar {self.id} playback_terminators none",
            f"api uuid_answer {self.id}",
        )

    def tell(self, *commands: str) -> None:
        self._socket.sendall("".join(f"{command}\n\n" for command in commands).encode())

    def plays(self, file: Path, uuid: str, *, endless: bool = False, start: float = 0.0) -> None:
        """Play; with a ``start`` in seconds as the product does it."""
        middle = "@@${cordboard_start}" if start else ""
        if start:
            self.tell(f"api uuid_setvar {self.id} cordboard_start {int(start * 8000)}")
        self.tell(
            f"sendmsg\ncall-command: execute\nexecute-app-name: playback\nexecute-app-arg: {file}{middle}"
            f"{chr(10) + 'loops: -1' if endless else ''}\nEvent-UUID: {uuid}\nevent-lock: true"
        )
        if start:
            self.begun(uuid)
            self.tell(f"api uuid_setvar {self.id} cordboard_start")

    def breaks(self) -> None:
        self.tell(f"api uuid_break {self.id}")

    def dies(self) -> None:
        self._socket.close()

    def begun(self, uuid: str, times: int = 1) -> Event:
        return self._said("CHANNEL_EXECUTE", uuid, times)

    def ended(self, uuid: str, times: int = 1) -> Event:
        return self._said("CHANNEL_EXECUTE_COMPLETE", uuid, times)

    def rounds(self) -> list[str]:
        """What has begun to play so far, in order."""
        begun = [event for event in self._watch.events if (event.name, event.call) == ("CHANNEL_EXECUTE", self.id)]
        return [event["Application-UUID"] for event in begun if event["Application"] == "playback"]

    def _said(self, name: str, uuid: str, times: int) -> Event:
        left = times

        def matches(event: Event) -> bool:
            nonlocal left
            left -= (event.name, event.call, event.get("Application-UUID")) == (name, self.id, uuid)
            return not left

        return self._watch.wait(f"{name} of {uuid}, {times}", matches)


def pitch(samples: Sequence[int]) -> float:
    """The frequency of a tone, by its crossings of zero, Hz."""
    up = [n - b / (b - a) for n, (a, b) in enumerate(pairwise(samples), 1) if a < 0 <= b]
    return (len(up) - 1) / (up[-1] - up[0]) * 8000 if len(up) > 1 else 0.0


def place(hertz: float) -> float:
    """The second of the music that sounds so."""
    return (hertz - LOW) / (HIGH - LOW) * SECONDS


def test_music_goes_round_without_a_gap_and_keys_are_heard_in_it(
    switch: Switch, listener: socket.socket, watch: Watch, music: Path
) -> None:
    caller = Caller(switch, "+74951230001", [Press("5")])
    call = OnHold(listener, watch)
    with Ear(caller) as ear:
        call.plays(music, "music", endless=True)
        call.begun("music", 2)
        caller.step()
        watch.wait("the key", lambda event: event.name == "DTMF" and event["DTMF-Digit"] == "5")
        call.begun("music", 4)
        so_far = len(ear.heard())
        until("some of the fourth round", lambda: len(ear.heard()) > so_far + 15)
        call.breaks()
        call.ended("music", 4)
    assert ear.longest_silence() < SILENCE / 2  # a busy machine may lose a frame
    heard = [place(pitch(samples)) for samples in ear.heard()][5:-5]
    falls = [(a, b) for a, b in pairwise(heard) if b < a - 0.2]
    # Three times from the end to the beginning, in a frame that may hold some of both.
    assert sum(a - b for a, b in falls) == pytest.approx(3 * SECONDS, abs=0.4)
    caller.hangup()


def test_something_is_said_in_the_middle_of_music_which_goes_on_where_it_was(
    switch: Switch, listener: socket.socket, watch: Watch, music: Path, said: Path
) -> None:
    caller = Caller(switch, "+74951230001")
    call = OnHold(listener, watch)
    with Ear(caller) as ear:
        call.plays(music, "music", endless=True)
        call.begun("music")
        until("half a second of music", lambda: len(ear.heard()) >= 25)
        call.breaks()
        call.ended("music")
        call.plays(said, "said")
        call.ended("said")
        call.plays(music, "again", endless=True, start=0.5)
        assert call.begun("again", 2)["Application-Data"] == f"{music}@@"  # the next round from the beginning
        call.breaks()
        call.ended("again", 2)
    assert ear.longest_silence() < SILENCE
    pitches = [pitch(samples) for samples in ear.heard()]
    last = max(n for n, hertz in enumerate(pitches) if hertz == pytest.approx(SAYING, rel=0.01))
    taken_up = [hertz for hertz in pitches[last + 1 :] if hertz][1:4]
    assert place(taken_up[1]) == pytest.approx(0.5, abs=0.1)
    caller.hangup()


def test_a_start_beyond_the_end_and_a_file_that_is_not_there_end_at_once(
    switch: Switch, listener: socket.socket, watch: Watch, music: Path, tmp_path: Path
) -> None:
    caller = Caller(switch, "+74951230001")
    call = OnHold(listener, watch)
    call.plays(music, "beyond", endless=True, start=SECONDS + 1)
    assert call.ended("beyond")["variable_playback_ms"] == "0"
    call.plays(tmp_path / "none.wav", "none", endless=True)
    assert call.ended("none")["Application-Response"] == "FILE NOT FOUND"
    call.plays(music, "music")
    call.ended("music")
    assert call.rounds() == ["beyond", "none", "music"]
    caller.hangup()


def test_a_controller_that_dies_in_music_is_replaced_and_the_caller_hardly_hears_it(
    switch: Switch, listener: socket.socket, watch: Watch, music: Path
) -> None:
    caller = Caller(switch, "+74951230001")
    call = OnHold(listener, watch)
    with Ear(caller) as ear:
        call.plays(music, "music", endless=True)
        call.begun("music", 2)
        call.dies()
        other = OnHold(listener, watch)
        assert other.id == call.id
        other.plays(music, "taken-over", endless=True, start=0.5)
        other.begun("taken-over", 2)
    assert ear.longest_silence() < 0.3
    other.breaks()
    caller.hangup()


def test_an_agent_is_joined_out_of_music_and_the_call_comes_back_after_the_talk(
    switch: Switch, listener: socket.socket, watch: Watch, music: Path
) -> None:
    phone = Phone(switch, "301", "phone_hangs_up", ring=100, talk=1000)
    caller = Caller(switch, "+74951230001")
    call = OnHold(listener, watch)
    leg = f"leg-{secrets.token_hex(8)}"
    call.tell(f"api uuid_setvar {call.id} transfer_after_bridge cordboard_resume:XML:cordboard")
    call.plays(music, "music", endless=True)
    call.begun("music")
    apps = "'set:cordboard_ready=true,park' inline"
    watch.command(f"bgapi originate {{origination_uuid={leg}}}user/301@{COMPANY} {apps}")
    watch.wait("the agent answers", lambda event: event.name == "CHANNEL_PARK" and event.call == leg)
    watch.api(f"uuid_setvar {call.id} socket_resume false")
    watch.command(f"bgapi uuid_bridge {call.id} {leg}")
    watch.wait("a talk", lambda event: event.name == "CHANNEL_BRIDGE")
    assert call.ended("music")["Application-Response"] == "PLAYBACK ERROR"
    call.dies()
    back = OnHold(listener, watch)
    assert back.id == call.id
    back.plays(music, "after", endless=True)
    back.begun("after")
    assert call.rounds() == ["music", "after"]
    caller.hangup()
    phone.put_away()
