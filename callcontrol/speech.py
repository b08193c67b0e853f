"""Speech, sounds and music: what a routing needs heard, made when it is published, found again while calls walk it.

Two sides that meet in the names of files.  Publishing calls :func:`render`, in a process that has no calls: every text
that a call could need is spoken by the program of ``voice.py``, every file of the company converted, into
``<state>/speech/<2 hex>/<hash>.wav``.  A call process asks :class:`Sounds`, which renders nothing, waits for nobody
and loads no library for it.

A file is named by what is in it: the voice, the language, the text.  So nothing is made twice, by whatever company
or version, and a voice that changes gets files of its own: live calls go on with those that their version names.
Beside each stands ``<hash>.txt`` with the language and the words, for people.

The surprise: a call must ask for exactly what was made.  Both sides cut texts by ``view.pieces`` and take a part
apart by :func:`texts_of`.  A change in how a text is *spoken* must raise :data:`VOICE_FORMAT`, one in how files are
converted :data:`SOUND_FORMAT`, one in Cordboard's own music :data:`MUSIC_FORMAT`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, is_dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import structlog

from callcontrol.messages import Counted, Music, SoundFile, Speech, Spelled, Words
from callcontrol.phrases import PHRASES, phrase
from callcontrol.routing.codes import problem
from callcontrol.routing.model import File, Place, Problem, Prompt, Routing, Text
from callcontrol.routing.nodes import quoted
from callcontrol.settings import Voice
from callcontrol.steps.base import Step
from callcontrol.steps.set import Set as SetStep
from callcontrol.supervisor import die_with_parent
from callcontrol.view import pieces, said

#: Part of every voice's id, and of every converted file's name.
VOICE_FORMAT = 1
SOUND_FORMAT = 1
#: All of the name of Cordboard's own music.
MUSIC_FORMAT = 1
#: The name of the music that is heard when a queue names none.
MUSIC = "moh"
#: Music that is shorter is no music, and the switch would take a round of half a second for a failure; seconds.
SHORTEST_MUSIC = 1.0
#: Characters that can be spoken one by one.
CHARACTERS = "0123456789+*#"
#: The largest number spoken as one.
HIGHEST = 999
#: What a place in a queue is told with.
NUMBERS = (*map(str, range(HIGHEST + 1)), *"+*#")
#: How people on telephones call these; any other language says what its voice makes of them.
KEYS: Mapping[str, Mapping[str, str]] = {
    "en": {"*": "star", "#": "hash", "+": "plus"},
    "ru": {"*": "звёздочка", "#": "решётка", "+": "плюс"},
    "de": {"*": "Stern", "#": "Raute", "+": "plus"},
    "es": {"*": "asterisco", "#": "almohadilla", "+": "más"},
    "fr": {"*": "étoile", "#": "dièse", "+": "plus"},
    "it": {"*": "asterisco", "#": "cancelletto", "+": "più"},
}
#: Files joined into one sound; a call that asks for more hears the beginning.
MOST_PARTS = 64
#: The largest sound file of a company, bytes.
LARGEST_FILE = 50 * 2**20
#: How long one text, or one file, may take, seconds; the program's first answer may take so much longer.
TEXT_TIME = 30.0
FILE_TIME = 120.0
START_TIME = 30.0
#: Texts in a row that a voice may fail at before it is given up.
MOST_FAILURES = 3
#: Files found on disk that one process remembers.
MOST_FOUND = 50_000

_HASH = re.compile(r"[0-9a-f]{32}")
#: Begins the name of a file that is being written.
_UNBORN = ".new-"
#: A WAV file without a sample; a power cut can leave one shorter, never half of one.
_EMPTY = 44
#: Bytes of a second, as ``voice.py`` writes every file: 16 bits, mono, 8000 samples.
_SECOND = 16_000
_SOUND = re.compile(r"\S+\.(wav|mp3|ogg)")


# ------------------------------------------------------------------------------------------- what is wanted


@dataclass(frozen=True, slots=True, order=True)
class Piece:
    """A text that some call may need spoken; ``place`` is where it, or what it stands in, is written."""

    language: str
    text: str
    place: Place | None = field(default=None, compare=False)


def wanted(routing: Routing) -> tuple[Piece, ...]:
    """Every piece that calls of this routing can need, each once, sorted.  Pure.

    The texts of all prompts, cut at their variables; the values that the routing itself gives to those; characters
    and numbers where a text has them; and Cordboard's own sentences, in each of the company's languages.
    """
    found: dict[tuple[str, str], Place | None] = {}
    values = _values(routing)
    for saying, language in _sayings(routing):
        if not isinstance(saying, Text):
            continue
        for piece in pieces(saying):
            if isinstance(piece, Words):
                texts = texts_of(piece)
            elif piece == "position":
                texts = NUMBERS
            else:  # besides what the routing gives, digits: what the caller typed, where the call came from
                parts = (said(piece, value) for value in values.get(piece, ()))
                texts = [*(text for part in parts for text in texts_of(part)), *CHARACTERS]
            for text in texts:
                found.setdefault((language, text), saying.place)
    for language in routing.languages:
        for situation in PHRASES:
            speech = phrase(situation, language)
            for part in speech.parts:
                for text in texts_of(part):
                    found.setdefault((speech.language, text), None)
    return tuple(Piece(language, text, found[language, text]) for language, text in sorted(found))


def texts_of(part: Words | Spelled | Counted) -> Sequence[str]:
    """The texts, each a file of its own, that a part of speech is spoken with."""
    if isinstance(part, Words):
        return (part.text,) if part.text.strip() else ()
    if isinstance(part, Counted) and 0 <= part.number <= HIGHEST:
        return (part.text,)
    return [character for character in part.text if character in CHARACTERS]


def _sayings(routing: Routing) -> Iterator[tuple[Text | File, str]]:
    """What can be heard of all prompts, with the language that it is written in."""
    default = routing.languages[0] if routing.languages else "en"
    for prompt in _prompts(routing):
        for language in dict.fromkeys((*routing.languages, *(key for key in prompt.sayings if key))):
            yield prompt.saying(language, default)


def _prompts(value: Any) -> Iterator[Prompt]:
    """Every prompt in a routing, wherever it stands."""
    if isinstance(value, Prompt):
        yield value
    elif isinstance(value, Step):
        yield from _prompts(value.values)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _prompts(inner)
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from _prompts(inner)
    elif is_dataclass(value) and not isinstance(value, Place):
        for one in fields(value):
            yield from _prompts(getattr(value, one.name))


def _values(routing: Routing) -> Mapping[str, Set[str]]:
    """The values that the routing itself gives to each variable."""
    found: dict[str, set[str]] = {}
    given = [number.sets for number in routing.numbers.values()]
    steps = (step for flow in routing.flows.values() for step in flow.steps.values())
    given += [step.what for step in steps if isinstance(step, SetStep)]
    for sets in given:
        for name, value in sets.items():
            found.setdefault(name, set()).add(value)
    return found


# ----------------------------------------------------------------------------------------------- the store


def hash_of(voice: str, language: str, text: str) -> str:
    """The name of the file in which the voice with this id says this text: 32 hex digits."""
    return _digest("speech", voice, language, text)


def _digest(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).hexdigest()[:32]


class SpeechStore:
    """The files under ``<state>/speech``.  One process writes; the switch and every call process read.

    A file appears whole, by a rename, is never changed, and can be read by anybody: the switch is another user.
    """

    def __init__(self, state: Path) -> None:
        self.root = state / "speech"

    def path(self, name: str) -> Path:
        """Where the file of this hash is, or would be.  Raises ValueError for anything that is no hash."""
        if not _HASH.fullmatch(name):
            raise ValueError(f"no sound is named {name!r}")
        return self.root / name[:2] / f"{name}.wav"

    def has(self, name: str) -> bool:
        """Whether the file is there and whole."""
        try:
            return self.path(name).stat().st_size > _EMPTY
        except OSError:
            return False

    def seconds(self, name: str) -> float:
        """How long the file is; 0 if it is not there."""
        try:
            return max(0, self.path(name).stat().st_size - _EMPTY) / _SECOND
        except OSError:
            return 0.0

    def touch(self, name: str) -> None:
        """Let the file's age count from now."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.path(name))

    def unborn(self, name: str) -> Path:
        """Where to write a file before :meth:`add`; its directory is there on return."""
        path = self.path(name)
        for folder in (self.root, path.parent):
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o755)
        return path.with_name(f"{_UNBORN}{name}-{os.getpid()}")

    def add(self, name: str, language: str, text: str) -> None:
        """Put the file that was written at :meth:`unborn` in its place, and its words beside it."""
        path, unborn = self.path(name), self.unborn(name)
        words = unborn.with_suffix(".txt")
        words.write_text(f"{language}\n{text}\n", encoding="utf-8", errors="replace")
        for written in (unborn, words):
            written.chmod(0o644)
        words.replace(path.with_suffix(".txt"))
        unborn.replace(path)

    def words(self, name: str) -> tuple[str, str] | None:
        """The language of a file (``""`` of a company's own) and its words, or name."""
        try:
            language, _, text = self.path(name).with_suffix(".txt").read_text(encoding="utf-8").partition("\n")
        except (OSError, UnicodeDecodeError):
            return None
        return language, text.removesuffix("\n")

    def prune(self, keep: Set[str], older_than: float = 86_400) -> list[str]:
        """Remove what is not in ``keep`` and was last published more than ``older_than`` seconds ago.

        Returns the hashes removed.  What was left half-written goes too.
        """
        removed = []
        before = time.time() - older_than
        for path in sorted(self.root.glob("??/*")):
            unborn = path.name.startswith(_UNBORN)
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime > before or (path.stem in keep and not unborn):
                    continue
                if path.suffix == ".txt" and not unborn and path.with_suffix(".wav").exists():
                    continue  # its age is that of the sound
                path.unlink()
                if path.suffix == ".wav":
                    removed.append(path.stem)
                    path.with_suffix(".txt").unlink(missing_ok=True)
        return removed


def hashes(routing: Routing) -> set[str]:
    """The files that calls of a published version can ask for: what pruning must keep."""
    spoken = {
        hash_of(routing.voices[piece.language], piece.language, piece.text)
        for piece in wanted(routing)
        if piece.language in routing.voices
    }
    return spoken | set(routing.sounds.values())


# --------------------------------------------------------------------------------------------- publishing


@dataclass(frozen=True, slots=True)
class Rendered:
    """What was made for a routing.

    ``sounds``: a company's file, or the name of some music → hash; ``voices``: language → the voice's id.
    """

    problems: tuple[Problem, ...]
    sounds: Mapping[str, str]
    voices: Mapping[str, str]


class VoiceDied(Exception):
    """The voice's program ended, or had to be killed; ``str()`` says why."""


class Renderer:
    """The program of ``voice.py``: started when it is first asked, and anew after it died.  A context manager.

    One for all routings of a publishing saves starting it for each, and looking again for what they all say; the
    next publishing takes another, since files may have been pruned between.
    """

    def __init__(self) -> None:
        #: For each store what is known to be in it, as (voice, language, text).
        self.there: dict[Path, set[tuple[str, str, str]]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The program's process, if it runs."""
        return self._process.pid if self._process else None

    def close(self) -> None:
        """End the program, and whatever it started.  Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:  # else the number of its group may be another's by now
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def ask(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The program's answer.  Raises VoiceDied if there is none in time."""
        process = self._process
        if process is None or process.poll() is not None:
            self.close()
            process = self._process = self._start()
            seconds += START_TIME
        try:
            if process.stdin is not None:
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
            return dict(json.loads(self._line(process, time.monotonic() + seconds)))
        except TimeoutError:  # an OSError, as it happens
            self.close()
            raise VoiceDied(f"it took longer than {seconds:.0f} s") from None
        except (OSError, EOFError, ValueError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)
            status = process.returncode
            self.close()
            raise VoiceDied(f"the voice's program ended ({_status(status)})") from None

    def _start(self) -> subprocess.Popen[bytes]:
        self._buffer = b""
        # It gets no secret of ours: it reads what strangers made.
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
        environment |= {"LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [sys.executable, "-m", "callcontrol.voice"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            preexec_fn=die_with_parent,
            process_group=0,  # so that a program that it runs can be ended with it
        )

    def _line(self, process: subprocess.Popen[bytes], deadline: float) -> bytes:
        fd = process.stdout.fileno() if process.stdout else -1
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                raise TimeoutError
            data = os.read(fd, 65536)
            if not data:
                raise EOFError
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


def _status(status: int | None) -> str:
    if status is None:
        return "it closed its output"
    return f"signal {-status}" if status < 0 else f"exit code {status}"


def render(
    routing: Routing,
    sounds_dir: Path,
    state: Path,
    voices: Mapping[str, Voice],
    renderer: Renderer | None = None,
    *,
    music: Mapping[str, Path] = MappingProxyType({}),
) -> Rendered:
    """Make every file that calls of ``routing`` can need and that is not there yet.  Never in a call's process.

    ``sounds_dir`` has a directory of sound files for each company, ``music`` the operator's files by name.
    What cannot be made is a problem at its place: an error for a file and for a whole language, a warning for one text
    (callers hear a tone).  Raises OSError if the store cannot be written.
    """
    if renderer is None:
        with Renderer() as own:
            return render(routing, sounds_dir, state, voices, own, music=music)
    work = _Rendering(routing, SpeechStore(state), voices, renderer)
    work.speak()
    work.convert(sounds_dir / routing.company)
    work.choose(music)
    return Rendered(tuple(sorted(work.problems, key=_order)), work.sounds, work.voices)


def unplayable(routings: Iterable[Routing], sounds_dir: Path) -> list[Problem]:
    """The sound files that could not be played, found by converting all and keeping nothing: for ``check``."""
    found: list[Problem] = []
    with tempfile.TemporaryDirectory(prefix="cordboard-check-") as folder, Renderer() as renderer:
        for routing in routings:
            work = _Rendering(routing, SpeechStore(Path(folder)), {}, renderer)
            work.convert(sounds_dir / routing.company)
            found += work.problems
    return sorted(found, key=_order)


def _order(found: Problem) -> tuple[Place, str, str]:
    return found.place, found.code, found.message


class _Rendering:
    """The making of one routing's files."""

    def __init__(self, routing: Routing, store: SpeechStore, settings: Mapping[str, Voice], renderer: Renderer) -> None:
        self.routing = routing
        self.store = store
        self.settings = settings
        self.renderer = renderer
        self.problems: list[Problem] = []
        self.sounds: dict[str, str] = {}
        self.voices: dict[str, str] = {}
        self._failed: dict[str, int] = {}
        self._asked: set[str] = set()
        somewhere = next(iter(routing.flows.values()), None)
        self._file = Place(somewhere.place.path if somewhere else f"{routing.company}.yaml", 1, 1)

    # --------------------------------------------------------------------------------------------- texts

    def speak(self) -> None:
        """Every text."""
        wants = wanted(self.routing)
        first: dict[str, Piece] = {}
        for piece in wants:
            known = first.setdefault(piece.language, piece)
            if piece.place is not None and (known.place is None or piece.place < known.place):
                first[piece.language] = piece
        for language, piece in first.items():
            voice = voice_id(self.settings.get(language), language)
            if voice is None:
                self._no_voice(language, piece, "install the package espeakng-loader")
            else:
                self.voices[language] = voice
        there = self.renderer.there.setdefault(self.store.root, set())
        for piece in wants:
            if piece.language not in self.voices:
                continue
            words = (self.voices[piece.language], piece.language, piece.text)
            if words in there:
                continue
            name = hash_of(*words)
            if self.store.has(name):
                self.store.touch(name)
            elif not self._has_voice(piece.language, first[piece.language]) or not self._say(name, piece):
                continue
            there.add(words)

    def _has_voice(self, language: str, first: Piece) -> bool:
        """Whether the language's voice is there; asked once, and reported where the language is first used."""
        if language in self._asked:
            return True
        try:
            answer = self.renderer.ask({"do": "voice", **self._request(language)}, TEXT_TIME)
        except VoiceDied as died:
            answer = {"error": str(died)}
        if "error" in answer:
            self._no_voice(language, first, answer["error"])
            return False
        self._asked.add(language)
        return True

    def _no_voice(self, language: str, first: Piece, why: str) -> None:
        self.voices.pop(language, None)
        message = f"nothing can speak {quoted(language)}: {why}, or name another under voices in cordboard.yaml"
        self.problems.append(problem("E216", first.place or self._file, message))

    def _request(self, language: str) -> dict[str, Any]:
        voice = self.settings.get(language) or Voice()
        if voice.command:
            return {"command": list(voice.command)}
        return {"espeak": _names(voice, language), "speed": voice.speed}

    def _say(self, name: str, piece: Piece) -> bool:
        unborn = self.store.unborn(name)
        spoken = KEYS.get(piece.language.partition("-")[0], {}).get(piece.text, piece.text)
        request = {"do": "speak", "text": spoken, "to": str(unborn), **self._request(piece.language)}
        why = self._made(request, TEXT_TIME, unborn)
        if why is None:
            self._failed[piece.language] = 0
            self.store.add(name, piece.language, piece.text)
            return True
        shown = piece.text.strip() if len(piece.text) <= 40 else piece.text.strip()[:39] + "…"
        message = f"the voice of {quoted(piece.language)} could not say {quoted(shown)}: {why}; callers hear a tone"
        self.problems.append(problem("W509", piece.place or self._file, message))
        self._failed[piece.language] = self._failed.get(piece.language, 0) + 1
        if self._failed[piece.language] == MOST_FAILURES:
            self._no_voice(piece.language, piece, f"its voice failed {MOST_FAILURES} times in a row ({why})")
        return False

    def _made(self, request: Mapping[str, Any], seconds: float, unborn: Path) -> str | None:
        """Have the program write ``unborn``; why it did not, or None.  Raises OSError for a full disk."""
        try:
            answer = self.renderer.ask(request, seconds)
        except VoiceDied as died:
            answer = {"error": str(died)}
        if "error" not in answer:
            return None
        unborn.unlink(missing_ok=True)
        if answer.get("kind") == "disk":
            raise OSError(answer["error"])
        return str(answer["error"])

    # --------------------------------------------------------------------------------------------- files

    def convert(self, folder: Path) -> None:
        """Every sound file that the routing names."""
        music = _music(self.routing)
        for name, place in _files(self.routing, self._file).items():
            why = self._convert(name, folder / name, music=name in music)
            if why is not None:
                message = f"the sound {quoted(name)} cannot be played: {why}"
                self.problems.append(problem("E215", place, message))

    def choose(self, operators: Mapping[str, Path]) -> None:
        """For each name of music the operator's file, else Cordboard's own: a caller who waits is never in silence."""
        for name in sorted(_music(self.routing)):
            if _SOUND.fullmatch(name):
                continue
            file = operators.get(name)
            if file is not None:
                why = self._convert(name, file, music=True)
                if why is None:
                    continue
                _log().error("this music cannot be played: Cordboard's own is", music=name, file=str(file), why=why)
            elif name != MUSIC:
                company = self.routing.company
                _log().warning("there is no music of this name: Cordboard's own is played", music=name, company=company)
            own = self._own_music()
            if own:
                self.sounds[name] = own

    def _own_music(self) -> str | None:
        """The hash of Cordboard's own music, made if it is not there; None if it cannot be made."""
        name = own_music()
        if self.store.has(name):
            self.store.touch(name)
            return name
        unborn = self.store.unborn(name)
        why = self._made({"do": "music", "to": str(unborn)}, FILE_TIME, unborn)
        if why is not None:
            _log().error("Cordboard's own music could not be made: callers hear a tone", why=why)
            return None
        self.store.add(name, "", f"music: {MUSIC}")
        return name

    def _convert(self, name: str, path: Path, *, music: bool = False) -> str | None:
        """Convert the file that routing calls ``name``; why it cannot be played, or None."""
        try:
            if not path.is_file():
                return "there is no such file" if not path.exists() else "it is not a regular file"
            size = path.stat().st_size
            if size > LARGEST_FILE:
                return f"it has {size / 2**20:.0f} MB; {LARGEST_FILE // 2**20} is the most"
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            return f"it cannot be read: {error.strerror or error}"
        sound = _digest("sound", str(SOUND_FORMAT), digest)
        if self.store.has(sound):
            self.store.touch(sound)
        else:
            unborn = self.store.unborn(sound)
            request = {"do": "convert", "from": str(path), "sha256": digest, "to": str(unborn)}
            why = self._made(request, FILE_TIME, unborn)
            if why is not None:
                return why
            self.store.add(sound, "", name if _SOUND.fullmatch(name) else path.name)
        seconds = self.store.seconds(sound)
        if music and seconds < SHORTEST_MUSIC:
            return f"it lasts {seconds:.1f} s; as music {SHORTEST_MUSIC:.0f} s is the least"
        self.sounds[name] = sound
        return None


def own_music() -> str:
    """The hash of Cordboard's own music."""
    return _digest("music", str(MUSIC_FORMAT))


def _music(routing: Routing) -> set[str]:
    """What a routing names as music: files of the company, and names."""
    return {queue.music or MUSIC for queue in routing.queues.values()}


def _log() -> Any:
    return structlog.get_logger("publishing")


def _files(routing: Routing, otherwise: Place) -> dict[str, Place]:
    """The sound files that a routing names, each with the first place where it does."""
    found: dict[str, Place] = {}
    for saying, _ in _sayings(routing):
        if isinstance(saying, File):
            found[saying.name] = min(saying.place, found.get(saying.name, saying.place))
    for queue in routing.queues.values():
        if queue.music is not None and _SOUND.fullmatch(queue.music):
            found.setdefault(queue.music, otherwise)
    return found


def voice_id(voice: Voice | None, language: str) -> str | None:
    """What tells one voice from another: part of the hash of all that it says.  None: espeak-ng is not installed."""
    voice = voice or Voice()
    if voice.command:
        return f"command {_digest(*voice.command)[:12]} {VOICE_FORMAT}"
    version = _espeak_version()
    return f"espeak-ng {version} {','.join(_names(voice, language))} {voice.speed} {VOICE_FORMAT}" if version else None


@lru_cache(maxsize=1)
def _espeak_version() -> str | None:
    try:
        return metadata.version("espeakng-loader")
    except metadata.PackageNotFoundError:
        return None


def _names(voice: Voice, language: str) -> list[str]:
    """The names of espeak-ng's voices that would do, the best first."""
    if voice.espeak:
        return [voice.espeak]
    return list(dict.fromkeys((language.lower(), language.lower().partition("-")[0])))


# ------------------------------------------------------------------------------------------- during a call


class Sounds:
    """Where a call's sounds are.  Asked for each of them, so it does little: a hash and a look at the disk."""

    def __init__(self, state: Path) -> None:
        self._store = SpeechStore(state)
        self._found: dict[tuple[str, str, str], str] = {}

    def find(self, routing: Routing, sound: Speech | SoundFile) -> list[str] | None:
        """The files to be played one after the other, none if there is nothing to say; None if one is missing.

        ``routing`` is the call's own version: its ``voices`` and ``sounds`` say what was made for it.
        """
        if isinstance(sound, SoundFile):
            path = self._file(routing.sounds.get(sound.name, ""))
            return [path] if path else None
        voice = routing.voices.get(sound.language)
        if voice is None:
            return None
        found = []
        for part in sound.parts:
            for text in texts_of(part):
                path = self._spoken(voice, sound.language, text)
                if path is None:
                    return None
                found.append(path)
        return found[:MOST_PARTS]

    def music(self, routing: Routing, sound: SoundFile | Music) -> tuple[str, float] | None:
        """The file to be played again and again, and its seconds; None if there is none.

        Music that the version has no file for, since it is from a time before there was any, is Cordboard's own if
        another version has brought it.
        """
        names = [routing.sounds.get(sound.name, "")] + ([own_music()] if isinstance(sound, Music) else [])
        for name in filter(None, names):
            seconds = self._store.seconds(name)
            if seconds:
                return str(self._store.path(name)), seconds
        return None

    def _spoken(self, voice: str, language: str, text: str) -> str | None:
        key = (voice, language, text)
        known = self._found.get(key)
        if known is None:
            known = self._file(hash_of(voice, language, text))
            if known is not None:
                if len(self._found) >= MOST_FOUND:
                    self._found.clear()
                self._found[key] = known
        return known

    def _file(self, name: str) -> str | None:
        return str(self._store.path(name)) if name and self._store.has(name) else None
