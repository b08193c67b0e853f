"""Speech and sounds: what is wanted of a routing, what is made of it by the real voice, what a call finds of it.

The voice's program is really started; sounds are measured, never compared with recorded ones.
"""

from __future__ import annotations

import io
import os
import select
import signal
import stat
import subprocess
import sys
import wave
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from callcontrol import speech
from callcontrol.messages import Counted, SoundFile, Speech, Spelled, Words
from callcontrol.routing.load import load_text
from callcontrol.routing.model import Place, Prompt, Routing, Stage, Text
from callcontrol.settings import Voice
from callcontrol.speech import (
    Piece,
    Rendered,
    Renderer,
    Sounds,
    SpeechStore,
    VoiceDied,
    hash_of,
    hashes,
    render,
    texts_of,
    unplayable,
    voice_id,
    wanted,
)
from callcontrol.view import View

HEAD = """\
cordboard: 1
company: Test
country: RU
timezone: Europe/Moscow
languages: [en, ru]
numbers:
  "+74951234567": {flow: main, set: {brand: Acme Windows, code: "42"}}
  "+74951234568": {flow: main, set: {brand: Acme Doors}}
people:
  301: {name: Anna, whisper: A call for Anna.}
"""
P = Place("", 0, 0)


def company(steps: str, more: str = "", head: str = HEAD, name: str = "test") -> Routing:
    """A company with these steps of its flow ``main``, without an error."""
    text = head + more + "flows:\n  main:\n" + "".join(f"    {line}\n" for line in steps.splitlines())
    loaded = load_text(text, path=f"{name}.yaml", company=name)
    assert loaded.routing is not None, loaded.problems
    return loaded.routing


def own(routing: Routing) -> set[tuple[str, str]]:
    """What is wanted besides Cordboard's own sentences and characters, as (language, text)."""
    sentences = {(piece.language, piece.text) for piece in wanted(company("a: {hangup: busy}", head=BARE))}
    characters = {(language, text) for language in ("en", "ru") for text in speech.CHARACTERS}
    return {(piece.language, piece.text) for piece in wanted(routing)} - sentences - characters


BARE = HEAD.replace(", whisper: A call for Anna.", "")


# ------------------------------------------------------------------------------------------ what is wanted


def test_the_texts_of_all_prompts_are_wanted_wherever_they_stand() -> None:
    routing = company(
        "a: {menu: Menu., keys: {1: b}, otherwise: c}\n"
        "b: {voicemail: [301], greeting: Greeting.}\n"
        "c: {collect: Collect., digits: 4, into: x, then: d, otherwise: b}\n"
        "d: {queue: sales, otherwise: b}",
        "queues:\n  sales: {agents: [301], whisper: Sales., announce: {every: 45s, say: Wait.}}\n",
    )
    found = {text for _, text in own(routing)}
    assert found == {"Menu.", "Greeting.", "Collect.", "A call for Anna.", "Sales.", "Wait."}


def test_the_whisper_of_a_stage_is_wanted_too() -> None:
    routing = company("a: {dial: 301, otherwise: hangup}", head=BARE)
    whispering = Stage((), 10.0, whisper=Prompt({"": Text("Psst.", ())}))
    step = routing.flows["main"].steps["a"]
    step.values["dial"] = (whispering,)  # type: ignore[index]
    assert own(routing) == {("en", "Psst.")}


def test_a_text_is_wanted_in_the_language_that_it_is_written_in() -> None:
    steps = "a: {play: One., then: b}\nb: {play: {ru: Два.}, then: c}\nc: {play: {en: Three., ru: Три.}}"
    assert own(company(steps, head=BARE)) == {("en", "One."), ("ru", "Два."), ("en", "Three."), ("ru", "Три.")}


def test_a_text_is_cut_at_its_variables_and_their_values_are_wanted_in_its_language() -> None:
    steps = 'a: {set: {code: seven}, then: b}\nb: {play: {en: "Hi {brand}!", ru: "Код {code}"}}'
    assert own(company(steps, head=BARE)) == {
        ("en", "Hi "), ("en", "Acme Windows"), ("en", "Acme Doors"), ("en", "!"), ("ru", "Код "), ("ru", "seven"),
    }  # fmt: skip


def test_characters_are_wanted_where_digits_can_be_spoken() -> None:
    def spelled(steps: str) -> set[str]:
        return {piece.text for piece in wanted(company(steps, head=BARE)) if piece.text in speech.CHARACTERS}

    assert spelled('a: {play: "From {caller}"}') == set("0123456789+*#")
    assert spelled('a: {collect: C., digits: 4, into: x, then: b, otherwise: b}\nb: {play: "{x}"}') != set()
    assert spelled("a: {play: Hello.}") == set()


def test_numbers_are_wanted_only_where_a_place_in_the_queue_is_told() -> None:
    queue = 'queues:\n  sales: {{agents: [301], announce: {{every: 45s, say: {{ru: "{}"}}}}}}\n'
    steps = "a: {queue: sales, otherwise: hangup}"
    told = {(p.language, p.text) for p in wanted(company(steps, queue.format("Вы {position}-й."), BARE))}
    assert {("ru", str(number)) for number in range(1000)} <= told
    assert ("en", "500") not in told
    assert not any(p.text == "500" for p in wanted(company(steps, queue.format("Ждите."), BARE)))


def test_cordboards_own_sentences_are_wanted_in_each_language_or_in_english() -> None:
    head = BARE.replace("[en, ru]", "[tt, pt-BR, de]")
    languages = {piece.language for piece in wanted(company("a: {hangup: busy}", head=head))}
    assert languages == {"en", "de"}  # neither Tatar nor Portuguese sentences are there
    assert Piece("de", "Diese Nummer gibt es nicht.") in wanted(company("a: {hangup: busy}", head=head))


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("number", ["+74951234567", "+74951234568"])
def test_whatever_a_call_says_was_wanted(language: str, number: str) -> None:
    routing = company(
        'a: {set: {x: "*1", y: two words}, then: b}\n'
        'b: {collect: "{brand}{brand} {code}.", digits: 1-9, into: z, then: c, otherwise: c}\n'
        'c: {play: {en: " {x}, {y} {z}? ", ru: "{z}{caller}{called}!"}, then: d}\n'
        'd: {menu: {ru: "{brand}: {y}"}, keys: {1: e}, otherwise: e}\n'
        "e: {queue: sales, otherwise: hangup}",
        'queues:\n  sales: {agents: [301], announce: {every: 45s, say: "{brand}: {position}"}}\n',
    )
    made = {(piece.language, piece.text) for piece in wanted(routing)}
    view = View(routing, call_id="c", caller="+79031234567", called=number, answered=True, now=0.0)
    view.language = language
    said = 0
    for variables in ({}, {"x": "*1", "y": "two words", "z": "0017", "position": "12"}, {"position": "1234"}):
        view.variables = dict(routing.numbers[number].sets) | variables
        view.position = variables.get("position", "")
        for prompt in speech._prompts(routing):
            heard = view.sound(prompt)
            assert isinstance(heard, Speech)
            for part in heard.parts:
                for text in texts_of(part):
                    assert (heard.language, text) in made
                    said += 1
    assert said > 40


def test_a_part_is_spoken_with_texts_of_its_kind() -> None:
    assert list(texts_of(Words("Hello "))) == ["Hello "]
    assert list(texts_of(Spelled("+7 (9a)#"))) == ["+", "7", "9", "#"]
    assert list(texts_of(Counted(999))) == ["999"]
    assert list(texts_of(Counted(1203))) == ["1", "2", "0", "3"]


# ------------------------------------------------------------------------------------------------- rendering


class Counting(Renderer):
    """The real program, and what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Mapping[str, Any]] = []

    def ask(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        self.asked.append(request)
        return super().ask(request, seconds)

    def count(self, do: str) -> int:
        return sum(request["do"] == do for request in self.asked)


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    """One program for tests that do not kill it."""
    with Renderer() as renderer:
        yield renderer


@pytest.fixture
def counting() -> Iterator[Counting]:
    with Counting() as counting:
        yield counting


@pytest.fixture(scope="module")
def said(renderer: Renderer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function that has a text spoken, and gives its samples."""
    folder = tmp_path_factory.mktemp("said")

    def say(text: str, language: str = "en") -> npt.NDArray[np.float64]:
        to = folder / "said.wav"
        answer = renderer.ask({"do": "speak", "text": text, "to": str(to), "espeak": [language], "speed": 150}, 30)
        assert "error" not in answer, answer
        return samples(to)

    return say


def samples(path: Path) -> npt.NDArray[np.float64]:
    """The samples of a file that the switch plays without any work, of full scale."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768


def decibels(sound: npt.NDArray[np.float64]) -> float:
    """The level of what sounds, below full scale."""
    power = np.square(sound[: sound.size // 160 * 160]).reshape(-1, 160).mean(axis=1)
    return float(10 * np.log10(power[power > power.max() / 1000].mean()))


def with_sounds(routing: Routing, made: Rendered) -> Routing:
    return replace(routing, sounds=made.sounds, voices=made.voices)


@pytest.mark.parametrize(
    ("language", "text", "least", "most"),
    [
        ("en", "Welcome to Acme Windows. For sales press 1.", 2.0, 5.0),
        ("ru", "Здравствуйте! Оставьте сообщение после сигнала.", 2.0, 5.0),
        ("en", "7", 0.2, 0.9),
        ("ru", "999", 0.8, 2.5),
    ],
)
def test_a_text_is_spoken_at_a_length_and_level_for_telephones(
    said: Any, language: str, text: str, least: float, most: float
) -> None:
    sound = said(text, language)
    assert least < sound.size / 8000 < most
    assert -23 < decibels(sound) < -17
    assert 0.2 < np.abs(sound).max() <= 0.81


def test_pieces_begin_at_once_and_pause_only_where_their_marks_say_so(said: Any) -> None:
    def quiet(sound: npt.NDArray[np.float64]) -> tuple[float, float]:
        loud = np.flatnonzero(np.abs(sound) > 0.02)
        return loud[0] / 8000, (sound.size - loud[-1]) / 8000

    before, after = quiet(said("Welcome to "))
    assert before < 0.03
    assert after < 0.08
    before, after = quiet(said(". For sales press 1,"))
    assert before > 0.2
    assert 0.1 < after < 0.25
    assert quiet(said("Thank you."))[1] > 0.2


def test_a_piece_that_goes_on_is_not_spoken_as_an_end(said: Any) -> None:
    assert not np.array_equal(said("Welcome to "), said("Welcome to"))


def test_languages_sound_differently(said: Any) -> None:
    assert not np.array_equal(said("112", "en"), said("112", "ru"))


def test_what_is_wanted_is_made_once_and_found_by_the_call(tmp_path: Path, counting: Counting) -> None:
    routing = company('a: {play: {en: "Hi {brand}.", ru: "Код {code}."}}')
    first = render(routing, tmp_path, tmp_path, {}, counting)
    assert not first.problems
    assert set(first.voices) == {"en", "ru"}
    assert counting.count("speak") == len(wanted(routing))
    with Counting() as again:
        assert render(routing, tmp_path, tmp_path, {}, again) == first
        assert render(company('a: {play: "{brand}"}', name="other"), tmp_path, tmp_path, {}, again).problems == ()
        assert again.asked == []
        assert again.pid is None
    found = Sounds(tmp_path).find(with_sounds(routing, first), Speech((Words("Hi "), Words("Acme Doors")), "en"))
    assert found is not None
    assert [len(samples(Path(path))) > 1000 for path in found] == [True, True]
    assert hashes(with_sounds(routing, first)) == {path.stem for path in tmp_path.glob("speech/??/*.wav")}


def test_what_many_routings_say_is_looked_for_once(
    tmp_path: Path, renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = company("a: {play: Hi.}", name="one"), company("a: {play: Bye.}", name="two")
    render(one, tmp_path, tmp_path, {}, renderer)
    looked: list[str] = []
    has = SpeechStore.has

    def look(store: SpeechStore, name: str) -> bool:
        looked.append(name)
        return has(store, name)

    monkeypatch.setattr(SpeechStore, "has", look)
    made = render(two, tmp_path, tmp_path, {}, renderer)
    assert looked == [hash_of(made.voices["en"], "en", "Bye.")]


def test_words_stand_beside_a_file_for_people(tmp_path: Path, renderer: Renderer) -> None:
    made = render(company("a: {play: {ru: Привет.}}"), tmp_path, tmp_path, {}, renderer)
    name = hash_of(made.voices["ru"], "ru", "Привет.")
    assert SpeechStore(tmp_path).words(name) == ("ru", "Привет.")
    assert SpeechStore(tmp_path).path(name).with_suffix(".txt").read_text() == "ru\nПривет.\n"


def test_the_switch_may_read_what_is_made(tmp_path: Path, renderer: Renderer) -> None:
    before = os.umask(0o077)
    try:
        render(company("a: {hangup: busy}"), tmp_path, tmp_path, {}, renderer)
    finally:
        os.umask(before)
    for path in [tmp_path / "speech", *tmp_path.glob("speech/**/*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644)
    assert not list(tmp_path.glob("speech/??/.*"))


def test_a_voice_that_changes_gets_files_of_its_own_and_the_old_version_keeps_its(
    tmp_path: Path, renderer: Renderer
) -> None:
    routing = company("a: {play: Hello.}")
    old = with_sounds(routing, render(routing, tmp_path, tmp_path, {}, renderer))
    new = with_sounds(routing, render(routing, tmp_path, tmp_path, {"en": Voice("en-us+f3", 120)}, renderer))
    hello = Speech((Words("Hello."),), "en")
    paths = [Sounds(tmp_path).find(version, hello) for version in (old, new)]
    assert paths[0] != paths[1]
    slower = [samples(Path(path[0])).size for path in paths if path]
    assert slower[0] < slower[1]


def test_two_voices_never_share_an_id() -> None:
    voices = [None, Voice("en-us"), Voice(speed=151), Voice(command=("a", "{file}")), Voice(command=("a {file}",))]
    ids = [voice_id(voice, language) for voice in voices for language in ("en", "ru")]
    # a name is the same voice for whatever language, and so is a program; the language is in the hash besides
    assert len(set(ids)) == 7


@pytest.mark.parametrize(
    "text",
    [
        "a\x00b\x07\x1b[31m\u2028\x85",
        "<speak><audio src='http://127.0.0.1/'/>&lt;</speak>",
        "[[h@l'oU]] [[",
        "$(touch /tmp/x); `id` | ${system(id)} %s %n",
        "?!.,;:…",
        "***",
        "\U0001f600\u202e\ud800",
        "   ",
        "a" * 2000,
        "1" * 2000,
        "я " * 1000,
        '\'"\\\n\n{"do": "convert"}\n',
        "-v en --stdout",
        "",
    ],
)
def test_hostile_text_is_spoken_or_refused_and_harms_nothing(renderer: Renderer, tmp_path: Path, text: str) -> None:
    to = tmp_path / "x.wav"
    renderer.ask({"do": "voice", "espeak": ["en"], "speed": 150}, 30)
    before = renderer.pid
    answer = renderer.ask({"do": "speak", "text": text, "to": str(to), "espeak": ["en"], "speed": 300}, 60)
    assert answer.keys() in ({"seconds"}, {"error", "kind"})
    if "seconds" in answer:
        assert 0.05 < samples(to).size / 8000 < 600
    assert renderer.pid == before
    assert list(tmp_path.iterdir()) in ([], [to])


def test_markup_means_nothing_in_a_text(said: Any) -> None:
    assert said("<break time='9s'/>x").size > said("x").size
    assert not np.array_equal(said("[[k'at]]"), said("k'at"))


class Killed(Counting):
    """The real program, killed once it has been asked for a certain text."""

    def _line(self, process: subprocess.Popen[bytes], deadline: float) -> bytes:
        if self.asked[-1].get("text") == "Two.":
            os.kill(process.pid, signal.SIGKILL)
        return super()._line(process, deadline)


def test_a_voice_that_crashes_costs_the_one_text(tmp_path: Path) -> None:
    routing = company("a: {play: One., then: b}\nb: {play: Two., then: c}\nc: {play: Three.}")
    with Killed() as killed:
        made = render(routing, tmp_path, tmp_path, {}, killed)
    (found,) = made.problems
    assert str(found) == (
        'test.yaml:14:15: W509 the voice of "en" could not say "Two.": the voice\'s program ended (signal 9); '
        "callers hear a tone"
    )
    assert found.severity == "warning"
    sounds, version = Sounds(tmp_path), with_sounds(routing, made)
    heard = [sounds.find(version, Speech((Words(text),), "en")) for text in ("One.", "Two.", "Three.")]
    assert [bool(path) for path in heard] == [True, False, True]


PROGRAM = """\
import sys, wave
with wave.open(sys.argv[1], "wb") as file:
    file.setnchannels(2); file.setsampwidth(2); file.setframerate(22050)
    file.writeframes(b"\\x00\\x20\\x00\\x20\\x00\\xe0\\x00\\xe0" * 300 * len(sys.stdin.read()))
"""


def program(tmp_path: Path, text: str) -> Voice:
    path = tmp_path / "voice with a space.py"
    path.write_text(text)
    return Voice(command=(sys.executable, str(path), "{file}", "$(touch executed)", ";", "touch", "executed"))


def test_another_program_may_speak_a_language_and_no_shell_is_involved(tmp_path: Path, renderer: Renderer) -> None:
    routing = company("a: {play: {ru: Привет.}}")
    voices = {"ru": program(tmp_path, PROGRAM)}
    made = render(routing, tmp_path, tmp_path, voices, renderer)
    assert made.problems == ()
    found = Sounds(tmp_path).find(with_sounds(routing, made), Speech((Words("Привет."),), "ru"))
    assert found is not None
    # seven characters, but the mark's pause stands for the last
    assert samples(Path(found[0])).size / 8000 == pytest.approx(600 * 6 / 22050 + 0.25, abs=0.1)
    assert not list(tmp_path.rglob("executed"))


def test_a_program_that_is_not_there_is_named_with_what_to_do(tmp_path: Path, renderer: Renderer) -> None:
    routing = company("a: {play: Hi., then: b}\nb: {play: {en: Hi., ru: Привет.}}")
    made = render(routing, tmp_path, tmp_path, {"ru": Voice(command=("no-such-voice", "{file}"))}, renderer)
    assert [str(found) for found in made.problems] == [
        'test.yaml:14:29: E216 nothing can speak "ru": install the program no-such-voice, '
        "or name another under voices in cordboard.yaml"
    ]
    assert set(made.voices) == {"en"}


def test_a_language_without_a_voice_is_named_where_it_is_first_spoken(tmp_path: Path, renderer: Renderer) -> None:
    head = BARE.replace("[en, ru]", "[en, xx-YY]")
    made = render(company("a: {play: {en: Hi., xx-YY: Qq.}}", head=head), tmp_path, tmp_path, {}, renderer)
    assert [str(found) for found in made.problems] == [
        'test.yaml:13:32: E216 nothing can speak "xx-YY": espeak-ng has no voice xx-yy or xx, '
        "or name another under voices in cordboard.yaml"
    ]


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "_espeak_version", lambda: None)
    made = render(company("a: {play: Hi.}"), tmp_path, tmp_path, {})
    assert [str(found) for found in made.problems] == [
        'test.yaml:1:1: E216 nothing can speak "ru": install the package espeakng-loader, '
        "or name another under voices in cordboard.yaml",
        'test.yaml:10:30: E216 nothing can speak "en": install the package espeakng-loader, '
        "or name another under voices in cordboard.yaml",
    ]


def gone(pid: int) -> bool:
    """Whether the process has ended, or does within five seconds."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 5)[0])
    finally:
        os.close(process)


def test_a_program_that_hangs_is_ended_and_given_up_after_three_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech, "TEXT_TIME", 0.3)
    monkeypatch.setattr(speech, "START_TIME", 2.0)
    pids = tmp_path / "pids"
    hangs = program(tmp_path, f"import os, time\nopen({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')\ntime.sleep(99)")
    made = render(company("a: {play: Hi.}"), tmp_path, tmp_path, {"ru": hangs})
    assert [found.code for found in made.problems] == ["E216", "W509", "W509", "W509"]
    assert "failed 3 times in a row (it took longer than" in made.problems[0].message
    assert set(made.voices) == {"en"}
    assert all(gone(int(pid)) for pid in pids.read_text().split())


def test_what_a_program_complains_of_is_told(tmp_path: Path, renderer: Renderer) -> None:
    fails = program(tmp_path, "import sys; print('no model', file=sys.stderr); sys.exit(3)")
    made = render(company("a: {play: Hi.}"), tmp_path, tmp_path, {"ru": fails}, renderer)
    assert made.problems[-1].message.endswith("ended with 3: no model; callers hear a tone")
    silent = program(tmp_path, "")
    made = render(company("a: {play: Hi.}"), tmp_path, tmp_path, {"ru": silent}, renderer)
    assert made.problems[-1].message.endswith("wrote no file; callers hear a tone")


def test_a_store_that_cannot_be_written_is_no_fault_of_the_routing(tmp_path: Path, renderer: Renderer) -> None:
    (tmp_path / "speech").write_text("a file where the directory should be")
    with pytest.raises(OSError, match="speech"):
        render(company("a: {play: Hi.}"), tmp_path, tmp_path, {}, renderer)


def test_the_program_answers_after_one_that_died(counting: Counting) -> None:
    with pytest.raises(VoiceDied, match="signal 9"):
        counting.ask({"do": "speak", "command": ["sh", "-c", "kill -9 $PPID", "{file}"], "text": "x", "to": "/x"}, 30)
    assert counting.ask({"do": "voice", "espeak": ["en"], "speed": 150}, 30) == {"seconds": 0.0}


def test_the_program_gets_no_secret_of_ours(
    renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORDBOARD_REDIS", "redis://:secret@127.0.0.1/")
    with Renderer() as own:
        shows = ["sh", "-c", f"env > {tmp_path}/env; exit 1", "{file}"]
        own.ask({"do": "speak", "command": shows, "text": "x", "to": str(tmp_path / "x")}, 30)
    assert "secret" not in (tmp_path / "env").read_text()


# ------------------------------------------------------------------------------------------------ conversion

TONE, SECONDS = 440, 3.0


def tone(path: Path, rate: int, channels: int, **options: Any) -> Path:
    """A file of three seconds: 440 Hz in the first channel, silence in the others."""
    wave_ = 0.8 * np.sin(2 * np.pi * TONE * np.arange(int(rate * SECONDS)) / rate)
    block = np.zeros((wave_.size, channels))
    block[:, 0] = wave_
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, block, rate, **options)
    return path


def converted(tmp_path: Path, name: str, renderer: Renderer) -> Rendered:
    """What becomes of ``test/<name>``."""
    return render(company(f"a: {{play: {name}}}", head=BARE), tmp_path, tmp_path, {}, renderer)


def refused(tmp_path: Path, name: str, renderer: Renderer) -> str:
    """The problem with a file, which stands at its place."""
    made = converted(tmp_path, name, renderer)
    assert made.sounds == {}
    (found,) = made.problems
    start = f'test.yaml:13:15: E215 the sound "{name}" cannot be played: '
    assert str(found).startswith(start)
    return str(found).removeprefix(start)


@pytest.mark.parametrize(
    ("name", "rate", "channels", "options"),
    [
        ("a.wav", 44100, 2, {}),
        ("b.wav", 8000, 1, {"subtype": "ULAW"}),
        ("c.wav", 96000, 6, {"subtype": "FLOAT"}),
        ("d.mp3", 44100, 2, {}),
        ("e.mp3", 22050, 1, {"bitrate_mode": "VARIABLE"}),
        ("f.ogg", 48000, 2, {}),
        ("g.ogg", 48000, 1, {"subtype": "OPUS"}),
    ],
)
def test_any_common_file_becomes_what_the_switch_plays(
    tmp_path: Path, renderer: Renderer, name: str, rate: int, channels: int, options: dict[str, Any]
) -> None:
    tone(tmp_path / "test" / name, rate, channels, **options)
    made = converted(tmp_path, name, renderer)
    assert made.problems == ()
    sound = samples(SpeechStore(tmp_path).path(made.sounds[name]))
    assert sound.size / 8000 == pytest.approx(SECONDS, abs=0.12)
    spectrum = np.abs(np.fft.rfft(sound[8000:16000]))
    assert int(np.argmax(spectrum)) == TONE
    assert float(np.sqrt(np.mean(np.square(sound[8000:16000])))) == pytest.approx(0.8 / 2**0.5 / channels, rel=0.1)
    assert SpeechStore(tmp_path).words(made.sounds[name]) == ("", name)


def test_a_call_finds_the_file_of_its_version(tmp_path: Path, renderer: Renderer) -> None:
    file = tone(tmp_path / "test" / "a.wav", 8000, 1)
    routing = company("a: {play: a.wav}", head=BARE)
    old = with_sounds(routing, render(routing, tmp_path, tmp_path, {}, renderer))
    tone(file, 16000, 1)
    new = with_sounds(routing, render(routing, tmp_path, tmp_path, {}, renderer))
    sounds, sound = Sounds(tmp_path), SoundFile("a.wav", "en")
    found = [sounds.find(version, sound) for version in (old, new)]
    assert found[0] != found[1]
    assert all(path and Path(path[0]).is_file() for path in found)
    assert sounds.find(routing, sound) is None


def test_the_same_file_is_converted_once(tmp_path: Path, counting: Counting) -> None:
    for name in ("a.wav", "b.wav"):
        tone(tmp_path / "test" / name, 8000, 1)
    routing = company("a: {play: a.wav, then: b}\nb: {play: {en: b.wav, ru: a.wav}}")
    made = render(routing, tmp_path, tmp_path, {}, counting)
    assert made.sounds["a.wav"] == made.sounds["b.wav"]
    assert counting.count("convert") == 1


def test_the_music_of_a_queue_is_converted_too(tmp_path: Path, renderer: Renderer) -> None:
    tone(tmp_path / "test" / "song.ogg", 44100, 2)
    more = "queues:\n  sales: {agents: [301], music: song.ogg}\n  other: {agents: [301], music: moh}\n"
    made = render(company("a: {queue: sales, otherwise: hangup}", more), tmp_path, tmp_path, {}, renderer)
    assert set(made.sounds) == {"song.ogg", "moh"}


def test_a_file_that_is_cut_short_is_not_played_without_a_word(tmp_path: Path, renderer: Renderer) -> None:
    mp3 = tone(tmp_path / "test" / "a.mp3", 44100, 2)
    mp3.write_bytes(mp3.read_bytes()[: mp3.stat().st_size // 2])
    assert refused(tmp_path, "a.mp3", renderer).startswith("it is cut short: 1.")
    ogg = tone(tmp_path / "test" / "a.ogg", 44100, 2)
    ogg.write_bytes(ogg.read_bytes()[: ogg.stat().st_size // 2])
    assert refused(tmp_path, "a.ogg", renderer) in ("there is no sound in it", "it is damaged")


def test_an_mp3_of_variable_rate_without_an_index_is_played_to_its_end(tmp_path: Path, renderer: Renderer) -> None:
    rate = 44100
    loud = np.random.default_rng(1).normal(0, 0.2, rate * 20)
    data = io.BytesIO()
    quiet = np.zeros(rate * 20)
    soundfile.write(data, np.concatenate([loud, quiet]), rate, format="MP3", bitrate_mode="VARIABLE")
    whole = data.getvalue()
    index = whole.index(b"Xing")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "a.mp3").write_bytes(whole[whole.index(whole[:2], index) :])
    made = converted(tmp_path, "a.mp3", renderer)
    assert made.problems == ()
    sound = samples(SpeechStore(tmp_path).path(made.sounds["a.mp3"]))
    assert sound.size / 8000 == pytest.approx(40, abs=0.3)
    assert np.std(sound[:150_000]) > 0.05
    assert np.std(sound[170_000:]) < 0.001


def wav(path: Path, seconds: float) -> None:
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(b"\x80" * int(8000 * seconds))


def test_a_file_that_cannot_be_played_is_named_with_the_reason(tmp_path: Path, renderer: Renderer) -> None:
    folder = tmp_path / "test"
    folder.mkdir()
    assert refused(tmp_path, "none.wav", renderer) == "there is no such file"
    (folder / "empty.wav").touch()
    assert refused(tmp_path, "empty.wav", renderer) == "it is empty"
    wav(folder / "silent.wav", 0)
    assert refused(tmp_path, "silent.wav", renderer) == "there is no sound in it"
    (folder / "page.mp3").write_text("<html>no sound</html>" * 99)
    assert refused(tmp_path, "page.mp3", renderer) == "it is no WAV, MP3 or Ogg file that can be read"
    wav(folder / "long.wav", 901)
    assert refused(tmp_path, "long.wav", renderer) == "it lasts longer than 15 min"
    with (folder / "large.wav").open("wb") as file:
        file.truncate(51 * 2**20)
    assert refused(tmp_path, "large.wav", renderer) == "it has 51 MB; 50 is the most"
    os.mkfifo(folder / "pipe.wav")
    assert refused(tmp_path, "pipe.wav", renderer) == "it is not a regular file"


def test_a_check_finds_the_same_and_keeps_nothing(tmp_path: Path) -> None:
    tone(tmp_path / "test" / "good.wav", 8000, 1)
    (tmp_path / "test" / "bad.wav").touch()
    routing = company("a: {play: good.wav, then: b}\nb: {play: bad.wav}", head=BARE)
    found = [str(problem) for problem in unplayable([routing], tmp_path)]
    assert found == ['test.yaml:14:15: E215 the sound "bad.wav" cannot be played: it is empty']
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test"]


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_file_never_takes_the_program_with_it(tmp_path: Path, renderer: Renderer, seed: int) -> None:
    random = np.random.default_rng(seed)
    name = ("a.wav", "a.mp3", "a.ogg")[seed % 3]
    file = tone(tmp_path / "test" / name, 44100, 2)
    data = bytearray(file.read_bytes())
    for at in random.integers(0, len(data) if seed % 2 else 200, 20):
        data[at] = int(random.integers(0, 256))
    file.write_bytes(data)
    renderer.ask({"do": "voice", "espeak": ["en"], "speed": 150}, 30)
    before = renderer.pid
    made = converted(tmp_path, name, renderer)
    assert [found.code for found in made.problems] in ([], ["E215"])
    assert renderer.pid == before


# ------------------------------------------------------------------------------------------------- the store


@pytest.mark.parametrize("name", ["", "x", "../../etc/passwd", "a" * 31, "A" * 32, "a" * 32 + "\n"])
def test_only_a_hash_names_a_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no sound is named"):
        SpeechStore(tmp_path).path(name)


def test_what_a_power_cut_left_empty_is_not_there(tmp_path: Path) -> None:
    store, name = SpeechStore(tmp_path), "a" * 32
    store.unborn(name).write_bytes(b"x" * 100)
    assert not store.has(name)
    store.add(name, "en", "A.")
    assert store.has(name)
    store.path(name).write_bytes(b"")
    assert not store.has(name)


def test_pruning_removes_what_nobody_names_and_is_old(tmp_path: Path) -> None:
    store = SpeechStore(tmp_path)
    names = {"kept": "a" * 32, "old": "b" * 32, "new": "c" * 32, "half": "d" * 32}
    for name in names.values():
        store.unborn(name).write_bytes(b"x" * 100)
        if name != names["half"]:
            store.add(name, "en", "A.")
    for path in tmp_path.rglob("*.*"):
        if names["new"] not in path.name:
            os.utime(path, (1, 1))
    assert store.prune({names["kept"]}) == [names["old"]]
    left = sorted(path.name for path in tmp_path.glob("speech/??/*"))
    assert left == [f"{names[key]}.{end}" for key in ("kept", "new") for end in ("txt", "wav")]


def test_what_is_published_again_is_young_again(tmp_path: Path, renderer: Renderer) -> None:
    routing = company("a: {play: Hi.}")
    render(routing, tmp_path, tmp_path, {}, renderer)
    for path in tmp_path.glob("speech/??/*"):
        os.utime(path, (1, 1))
    render(routing, tmp_path, tmp_path, {})
    assert SpeechStore(tmp_path).prune(set()) == []


# -------------------------------------------------------------------------------------------- during a call


@pytest.fixture
def found(tmp_path: Path) -> Any:
    """A function that finds the words of what a call would play; of a company with a few files."""
    store = SpeechStore(tmp_path)
    routing = replace(company("a: {hangup: busy}"), voices={"en": "v"})
    for text in ("Hello ", *"0123456789+#", "999"):
        name = hash_of("v", "en", text)
        store.unborn(name).write_bytes(b"x" * 100)
        store.add(name, "en", text)
    sounds = Sounds(tmp_path)

    def find(*parts: Words | Spelled | Counted, language: str = "en") -> list[str] | None:
        paths = sounds.find(routing, Speech(parts, language))
        return None if paths is None else [Path(path).with_suffix(".txt").read_text()[3:-1] for path in paths]

    return find


def test_each_part_of_speech_is_a_file(found: Any) -> None:
    assert found(Words("Hello "), Spelled("+1-2#"), Counted(999)) == ["Hello ", "+", "1", "2", "#", "999"]
    assert found(Counted(1000)) == ["1", "0", "0", "0"]


def test_nothing_to_say_is_no_file_and_no_fault(found: Any) -> None:
    assert found() == []
    assert found(Spelled("()")) == []


def test_one_file_that_is_missing_makes_the_whole_missing(found: Any) -> None:
    assert found(Words("Hello "), Words("Anna")) is None
    assert found(Spelled("1*")) is None
    assert found(Words("Hello "), language="ru") is None


def test_speech_of_very_many_parts_is_cut_and_not_refused(found: Any) -> None:
    assert len(found(Spelled("1" * 500))) == speech.MOST_PARTS


def test_a_call_process_loads_no_library_for_it() -> None:
    heavy = ["numpy", "soundfile", "soxr", "espeakng_loader", "callcontrol.voice", "callcontrol.music"]
    code = f"import sys, callcontrol.speech; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
