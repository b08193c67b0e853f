"""Hold music: Cordboard's own piece, whose music a queue gets when it is published, and its rounds on a live call."""

from __future__ import annotations

import wave
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gevent
import numpy as np
import numpy.typing as npt
import pytest
from gevent import socket

from callcontrol import messages as m
from callcontrol import music, wire
from callcontrol.messages import Music, SoundFile
from callcontrol.routing.model import Routing
from callcontrol.session import RATE, Session
from callcontrol.speech import Rendered, Renderer, Sounds, hashes, own_music, render
from tests.playbook import CALL
from tests.test_speech import BARE, Counting, company

Wave = npt.NDArray[np.float64]
ON_HOLD = "a: {queue: sales, otherwise: hangup}"
OWN = "music: moh"


# -------------------------------------------------------------------------------------- Cordboard's own piece


@pytest.fixture(scope="module")
def piece() -> Wave:
    return music.piece().astype(np.float64)


def decibels(sound: Wave) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(np.square(sound))) + 1e-12))


def above(sound: Wave, hertz: float) -> float:
    """The level of what lies above this frequency, below the whole."""
    power = np.square(np.abs(np.fft.rfft(sound * np.hanning(sound.size))))
    return float(10 * np.log10(power[np.fft.rfftfreq(sound.size, 1 / RATE) > hertz].sum() / power.sum() + 1e-15))


def test_the_piece_lasts_about_a_minute_in_whole_frames(piece: Wave) -> None:
    assert 45 <= piece.size / RATE <= 90
    assert piece.size % 160 == 0


def test_it_has_the_level_of_speech_and_never_a_moment_of_silence(piece: Wave) -> None:
    assert decibels(piece) == pytest.approx(-20.0, abs=0.1)
    assert np.abs(piece).max() < 0.5
    levels = [decibels(part) for part in piece.reshape(-1, RATE // 4)]
    assert min(levels) > -26
    assert max(levels) < -15


def test_a_telephone_carries_all_of_it(piece: Wave) -> None:
    assert above(piece, music.HIGHEST) < -60
    power = np.square(np.abs(np.fft.rfft(piece)))
    below = power[np.fft.rfftfreq(piece.size, 1 / RATE) < music.LOWEST - music.EDGE].sum()
    assert 10 * np.log10(below / power.sum()) < -60


def test_nobody_hears_where_it_begins_again(piece: Wave) -> None:
    """A click has all frequencies: none above what a telephone carries is there, where a seam would be."""
    around = np.concatenate([piece[-128:], piece[:128]])
    assert above(around, music.HIGHEST + 200) < -80
    for elsewhere in (80, 4000, 8000, 12_345):
        assert above(np.concatenate([piece[-128:], piece[elsewhere:][:128]]), music.HIGHEST + 200) > -60


def test_it_is_the_same_each_time(piece: Wave) -> None:
    assert np.array_equal(music.piece(), piece.astype(np.float32))


# ---------------------------------------------------------------------------------------- when it is published


@pytest.fixture
def counting() -> Iterator[Counting]:
    with Counting() as counting:
        yield counting


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    with Renderer() as renderer:
        yield renderer


def queued(*played: str, name: str = "test") -> Routing:
    """A company with a queue for each of these musics; "": the queue says nothing of it."""
    queues = "".join(
        f"  q{n}: {{agents: [301]{', music: ' + each if each else ''}}}\n" for n, each in enumerate(played)
    )
    steps = "a: {queue: q0, otherwise: hangup}\n" + "".join(
        f"a{n}: {{queue: q{n}, otherwise: hangup}}\n" for n in range(1, len(played))
    )
    return company(steps, f"queues:\n{queues}", head=BARE, name=name)


def song(path: Path, seconds: float = 2.0, level: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = level * np.sin(2 * np.pi * 440 * np.arange(int(seconds * RATE)) / RATE) * 32767
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def made(routing: Routing, state: Path, renderer: Renderer, **operators: Path) -> Rendered:
    return render(routing, state / "sounds", state, {}, renderer, music=operators)


def heard(routing: Routing, rendered: Rendered, state: Path, sound: SoundFile | Music) -> str:
    """The words beside the file that a call of this version is played."""
    found = Sounds(state).music(replace(routing, sounds=rendered.sounds), sound)
    assert found is not None
    return Path(found[0]).with_suffix(".txt").read_text().partition("\n")[2].strip()


def test_a_queue_that_names_no_music_has_cordboards_own(tmp_path: Path, renderer: Renderer) -> None:
    routing = queued("")
    rendered = made(routing, tmp_path, renderer)
    assert heard(routing, rendered, tmp_path, Music("moh")) == OWN
    found = Sounds(tmp_path).music(replace(routing, sounds=rendered.sounds), Music("moh"))
    assert found is not None
    with wave.open(found[0]) as file:
        assert file.getnframes() / RATE == found[1] == pytest.approx(64.0)
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)


def test_a_company_without_queues_needs_no_music(tmp_path: Path, counting: Counting) -> None:
    assert made(company("a: {hangup: busy}"), tmp_path, counting).sounds == {}
    assert not counting.count("music")


def test_it_is_made_once_for_all(tmp_path: Path, counting: Counting) -> None:
    first = made(queued("", "moh"), tmp_path, counting)
    second = made(queued("moh", name="other"), tmp_path, counting)
    assert first.sounds == second.sounds == {"moh": own_music()}
    assert counting.count("music") == 1


def test_nothing_prunes_music_that_a_version_names(tmp_path: Path, renderer: Renderer) -> None:
    routing = queued("jazz")
    rendered = made(routing, tmp_path, renderer, jazz=song(tmp_path / "jazz.wav"))
    keep = hashes(replace(routing, sounds=rendered.sounds))
    assert rendered.sounds["jazz"] in keep
    assert own_music() in hashes(replace(routing, sounds=made(routing, tmp_path, renderer).sounds))


def test_the_operators_file_is_played_under_its_name(
    tmp_path: Path, renderer: Renderer, logs: list[MutableMapping[str, Any]]
) -> None:
    routing = queued("", "jazz")
    operators = {"moh": song(tmp_path / "our music.wav"), "jazz": song(tmp_path / "jazz.wav", level=0.2)}
    rendered = made(routing, tmp_path, renderer, **operators)
    assert heard(routing, rendered, tmp_path, Music("moh")) == "our music.wav"
    assert heard(routing, rendered, tmp_path, Music("jazz")) == "jazz.wav"
    assert [line for line in logs if line["log_level"] != "info"] == []


def test_a_name_that_the_operator_has_nothing_for_is_cordboards_own_and_said(
    tmp_path: Path, renderer: Renderer, logs: list[MutableMapping[str, Any]]
) -> None:
    routing = queued("jazz")
    rendered = made(routing, tmp_path, renderer)
    assert rendered.problems == ()
    assert heard(routing, rendered, tmp_path, Music("jazz")) == OWN
    (line,) = [line for line in logs if line["log_level"] == "warning"]
    assert line["music"] == "jazz"
    assert line["company"] == "test"


@pytest.mark.parametrize("wrong", ["absent", "empty", "short"])
def test_an_operators_file_that_cannot_be_played_is_told_and_stops_no_company(
    tmp_path: Path, renderer: Renderer, logs: list[MutableMapping[str, Any]], wrong: str
) -> None:
    file = tmp_path / "our.wav"
    if wrong != "absent":
        song(file, 0.4 if wrong == "short" else 0.0)
    routing = queued("")
    rendered = made(routing, tmp_path, renderer, moh=file)
    assert rendered.problems == ()
    assert heard(routing, rendered, tmp_path, Music("moh")) == OWN
    (line,) = [line for line in logs if line["log_level"] == "error"]
    assert line["file"] == str(file)


def test_a_companys_own_file_is_its_queues_music(tmp_path: Path, renderer: Renderer) -> None:
    song(tmp_path / "sounds" / "test" / "hold.wav")
    routing = queued("hold.wav")
    rendered = made(routing, tmp_path, renderer)
    assert rendered.problems == ()
    assert heard(routing, rendered, tmp_path, SoundFile("hold.wav", "en")) == "hold.wav"


def test_a_companys_file_that_is_too_short_for_music_does_not_go_live(tmp_path: Path, renderer: Renderer) -> None:
    song(tmp_path / "sounds" / "test" / "hold.wav", 0.4)
    (found,) = made(queued("hold.wav"), tmp_path, renderer).problems
    assert (found.code, found.severity) == ("E215", "error")
    assert "it lasts 0.4 s; as music 1 s is the least" in found.message


def test_a_version_from_before_there_was_music_has_it_as_soon_as_another_brought_it(
    tmp_path: Path, renderer: Renderer
) -> None:
    old = queued("")
    assert Sounds(tmp_path).music(old, Music("moh")) is None
    made(queued("", name="other"), tmp_path, renderer)
    assert heard(old, Rendered((), {}, {}), tmp_path, Music("moh")) == OWN


# ---------------------------------------------------------------------------------------------- on a live call

FILE = "/var/speech/ab/music.wav"


class OnHold:
    """A session whose call is a list of what happened; its connection keeps what is sent to the switch."""

    def __init__(self, seconds: float = 64.0) -> None:
        self.sent: list[str] = []
        self.happened: list[m.Event] = []
        self.samples = int(seconds * RATE)
        settings = SimpleNamespace(clock_offset=0.0)
        controller = SimpleNamespace(settings=settings, music=lambda routing, sound: (FILE, self.samples))
        near, self._far = socket.socketpair()
        self.session = Session(near, ("127.0.0.1", 1), cast(Any, controller))
        self.session.id = CALL
        self.session._connection = cast(Any, SimpleNamespace(connected=True, send=self._send))
        self.session._call = cast(Any, SimpleNamespace(epoch=1, handle=self._handle, where="-"))

    def _send(self, *commands: wire.Command, on_reply: Any = None) -> None:
        self.sent += [command.text for command in commands]

    def _handle(self, happened: m.Event, now: float) -> list[m.Command]:
        self.happened.append(happened)
        return []

    def does(self, *commands: m.Command) -> list[str]:
        """What is sent for these commands, without what is the same each time."""
        self.sent.clear()
        self.session._perform(commands)
        return self.said()

    def plays(self, start: float = 0.0, sound: m.Sound = Music("moh"), *, bargein: bool = False) -> list[str]:  # noqa: B008
        return self.does(m.Play(1, sound, bargein=bargein, loop=True, start=start))

    def said(self) -> list[str]:
        sent = [text for text in self.sent if "playback_terminators" not in text]
        self.sent.clear()
        return sent

    def begins(self) -> list[str]:
        self._tell("CHANNEL_EXECUTE", {})
        return self.said()

    def _tell(self, name: str, headers: dict[str, str]) -> None:
        headers = {"Application": "playback", "Application-UUID": "play-00000001-1", **headers}
        self.session._on_event(cast(Any, SimpleNamespace(name=name, get=headers.get)))

    def ends(self, response: str = "FILE PLAYED", played: int = 64_000, key: str | None = None) -> list[m.Event]:
        """What the call hears of the end of a round."""
        self.happened.clear()
        headers = {"Application-Response": response, "variable_playback_ms": str(played)}
        if key:
            headers["variable_playback_terminator_used"] = key
        self._tell("CHANNEL_EXECUTE_COMPLETE", headers)
        return self.happened


@pytest.fixture
def hold() -> OnHold:
    return OnHold()


BREAK = f"api uuid_break {CALL}"
ENDLESS = "sendmsg\ncall-command: execute\nexecute-app-name: playback\nexecute-app-arg: {}\nloops: -1\n"
ENDLESS += "Event-UUID: play-00000001-1\nevent-lock: true"


def test_music_is_one_command_without_end(hold: OnHold) -> None:
    assert hold.plays() == ["event plain CHANNEL_EXECUTE", ENDLESS.format(FILE)]


def test_so_is_a_file_of_the_companys(hold: OnHold) -> None:
    assert hold.plays(sound=SoundFile("hold.wav", "en"))[-1] == ENDLESS.format(FILE)


def test_music_begins_where_it_was_left_and_each_further_round_at_the_beginning(hold: OnHold) -> None:
    assert hold.plays(12.3) == [
        f"api uuid_setvar {CALL} cordboard_start 98400",
        "event plain CHANNEL_EXECUTE",
        ENDLESS.format(FILE + "@@${cordboard_start}"),
    ]
    assert hold.begins() == [f"api uuid_setvar {CALL} cordboard_start"]
    assert hold.begins() == []


@pytest.mark.parametrize(
    ("start", "sample"),
    [
        (64.0 + 12.3, 98_400),  # the second time round
        (640.0, 0),
        (12.3001, 98_400),  # a frame's begin
        (63.0, 504_000),
        (63.5, 0),  # so little is left that the switch might take it for a failure
    ],
)
def test_a_start_lies_in_the_file(hold: OnHold, start: float, sample: int) -> None:
    sent = hold.plays(start)
    assert [text.rpartition(" ")[2] for text in sent if "cordboard_start " in text] == ([str(sample)] if sample else [])


def test_music_whose_length_nobody_knows_begins_at_the_beginning() -> None:
    assert OnHold(0.0).plays(12.3)[-1] == ENDLESS.format(FILE)


def test_the_call_hears_nothing_of_rounds(hold: OnHold) -> None:
    hold.plays()
    for _ in range(3):
        hold.begins()
        assert hold.ends() == []


def test_music_that_is_stopped_ends_once(hold: OnHold) -> None:
    hold.plays()
    hold.begins()
    assert hold.does(m.StopPlay(1)) == [BREAK]
    assert hold.ends(played=520) == [m.PlayEnded(1)]


def test_music_is_not_broken_before_it_has_begun(hold: OnHold) -> None:
    hold.plays()
    assert hold.does(m.StopPlay(1)) == []
    assert hold.begins() == [BREAK]
    assert hold.ends(played=20) == [m.PlayEnded(1)]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """What the session will do in a while; nothing of it is done by itself."""
    found: list[Callable[[], object]] = []
    monkeypatch.setattr(gevent, "spawn_later", lambda seconds, do, *args: found.append(partial(do, *args)))
    return found


def test_a_break_that_fell_between_two_rounds_is_said_again_later(
    hold: OnHold, later: list[Callable[[], object]]
) -> None:
    hold.plays()
    hold.begins()
    assert hold.does(m.StopPlay(1)) == [BREAK]
    assert hold.begins() == []  # it may have been in time: the next sound must not be hit
    later.pop()()
    assert hold.said() == [BREAK]
    assert hold.ends() == [m.PlayEnded(1)]


def test_a_break_that_was_in_time_is_not_said_again(hold: OnHold, later: list[Callable[[], object]]) -> None:
    hold.plays()
    hold.begins()
    hold.does(m.StopPlay(1))
    hold.begins()
    assert hold.ends() == [m.PlayEnded(1)]
    later.pop()()
    assert hold.said() == []


@pytest.mark.parametrize(
    ("response", "played", "missing"),
    [("FILE NOT FOUND", 0, True), ("PLAYBACK ERROR", 64_000, False), ("FILE PLAYED", 0, False)],
)
def test_music_that_the_switch_gives_up_has_ended(hold: OnHold, response: str, played: int, missing: bool) -> None:
    hold.plays()
    hold.begins()
    assert hold.ends(response, played) == [m.PlayEnded(1, missing=missing)]


def test_a_key_that_cuts_music_ends_all_of_it(hold: OnHold) -> None:
    hold.plays(bargein=True)
    hold.begins()
    assert hold.ends(key="5") == []
    assert hold.begins() == [BREAK]
    assert hold.ends(played=20) == [m.PlayEnded(1)]
