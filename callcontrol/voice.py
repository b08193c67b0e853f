"""The voice: a program of its own that speaks texts into sound files, converts operators' files, and makes music.

``python -m callcontrol.voice`` reads one JSON object a line and answers each with one: ``{"seconds": …}``, or
``{"error": …, "kind": …}`` where ``kind`` is ``text`` (this one cannot be spoken, or played), ``voice`` (the voice
is not there, nothing will be) or ``disk``.  Whoever started it (``speech.py``) minds the clock and kills it.  It knows
nothing of companies, calls or versions, and is imported by nobody.

It is a program, and not a module, for three reasons: the voice, the decoders and the texts are not to be trusted
with a process that has anything to lose; a crash costs one text; and espeak-ng is under the GPL, so its library is
loaded here and never into Cordboard's own processes.

The surprise: a piece of text that ends in white space is the beginning of a sentence, whose rest is another file.  It
is spoken with the voice up, and all pieces are trimmed, so that played one after the other they sound as one; the
pauses that punctuation asks for are put back.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import wave
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from callcontrol import music

Samples = npt.NDArray[np.float32]

#: What the switch plays without any work: samples per second.
RATE = 8000
#: The level of the parts that sound, dB below full scale: loud enough on a telephone, with room for peaks.
LEVEL = -20.0
#: No sample is louder, of full scale.
PEAK = 0.8
#: What is quieter than the loudest by so much, at either end of a piece, is silence, dB.
SILENT = -46.0
#: Kept before and after what sounds, seconds.
BEFORE, AFTER = 0.01, 0.04
#: How long a mark asks for a pause, seconds.
PAUSES = {".": 0.25, "!": 0.25, "?": 0.25, "…": 0.3, ";": 0.2, ":": 0.2, ",": 0.12}
#: What follows a single character: digits that run into each other are hard to write down, seconds.
BETWEEN = 0.06
#: The longest file of an operator, the longest text spoken; seconds.
LONGEST_FILE = 900.0
LONGEST_SPEECH = 600.0
#: The largest file read, bytes.
LARGEST_FILE = 50 * 2**20
#: Memory, bytes; a voice that is another program may have what it needs.
MEMORY = 2 * 2**30

_LANGUAGES = {"zh": "cmn", "no": "nb"}
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class Trouble(Exception):
    """A request that cannot be fulfilled; ``kind`` as in the module's docstring."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


# ----------------------------------------------------------------------------------------------- espeak-ng


class _Listed(ctypes.Structure):
    """``espeak_VOICE`` of ``speak_lib.h``."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


_OnSamples = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
#: ``speak_lib.h``: AUDIO_OUTPUT_SYNCHRONOUS, espeakINITIALIZE_DONT_EXIT, espeakCHARS_UTF8, espeakRATE.
_SYNCHRONOUS, _DONT_EXIT, _UTF8, _SPEED = 2, 0x8000, 1, 1


class Espeak:
    """The library of the ``espeakng-loader`` wheel.  One text at a time."""

    def __init__(self) -> None:
        try:
            import espeakng_loader

            self._library = ctypes.CDLL(espeakng_loader.get_library_path())
            data = espeakng_loader.get_data_path()
        except (ImportError, OSError, RuntimeError) as error:
            raise Trouble("voice", f"install the package espeakng-loader ({error})") from None
        rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, 200, os.fsencode(data), _DONT_EXIT))
        if rate <= 0:
            raise Trouble("voice", f"install the package espeakng-loader anew: its data in {data} cannot be read")
        self.rate = rate
        self._heard: list[bytes] = []
        self._left = 0
        self._callback = _OnSamples(self._on_samples)
        self._library.espeak_SetSynthCallback(self._callback)
        self._voices = self._listed()
        self._set: tuple[str, int] | None = None

    def _on_samples(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._heard.append(ctypes.string_at(samples, count * 2))
            self._left -= count
        return 1 if self._left < 0 else 0

    def _listed(self) -> dict[str, str]:
        """Language → the identifier of the voice that speaks it best."""
        found: dict[str, tuple[int, str]] = {}
        self._library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Listed))
        voices = self._library.espeak_ListVoices(None)
        index = 0
        while voices[index]:
            voice = voices[index].contents
            index += 1
            identifier, at = voice.identifier.decode(), voice.languages
            while at and (rank := ctypes.c_ubyte.from_address(at).value):
                language = ctypes.string_at(at + 1)
                at += len(language) + 2
                known = (rank, identifier)
                found[language.decode()] = min(found.get(language.decode(), known), known)
        return {language: identifier for language, (_, identifier) in found.items()}

    def choose(self, names: list[str], speed: int) -> None:
        """Speak with the first of these voices that there is (``ru``, ``en-gb``, ``en-us+f3``).  Raises Trouble."""
        for name in names:
            language, plus, variant = name.lower().partition("+")
            identifier = self._voices.get(_LANGUAGES.get(language, language))
            if identifier is None:
                continue
            if self._set == (name, speed):
                return
            if self._library.espeak_SetVoiceByName(f"{identifier}{plus}{variant}".encode()) == 0:
                self._library.espeak_SetParameter(_SPEED, speed, 0)
                self._set = (name, speed)
                return
        raise Trouble("voice", f"espeak-ng has no voice {' or '.join(names)}")

    def speak(self, text: str) -> Samples:
        """The text's samples at ``rate``.  Neither SSML nor phonemes in brackets mean anything in it."""
        self._heard.clear()
        self._left = int(LONGEST_SPEECH * self.rate)
        data = text.encode("utf-8") + b"\0"
        if self._library.espeak_Synth(data, len(data), 0, 1, 0, _UTF8, None, None) != 0:
            raise Trouble("text", "espeak-ng refuses it")
        if self._left < 0:
            raise Trouble("text", f"it takes longer than {LONGEST_SPEECH:.0f} s")
        return np.frombuffer(b"".join(self._heard), dtype="<i2").astype(np.float32) / np.float32(32768)


@cache
def espeak() -> Espeak:
    """The library, loaded when it is first needed."""
    return Espeak()


# -------------------------------------------------------------------------------------------- other voices


def run(command: list[str], text: str) -> Samples:
    """What another program makes of ``text`` (on its standard input) in the file ``{file}``, at RATE."""
    with tempfile.TemporaryDirectory(prefix="cordboard-voice-") as folder:
        file = Path(folder) / "speech.wav"
        arguments = [word.replace("{file}", str(file)) for word in command]
        with (Path(folder) / "said").open("w+b") as said:
            try:
                done = subprocess.run(  # noqa: S603 - the operator's own program, without a shell
                    arguments,
                    input=text.encode(),
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    cwd=folder,
                    preexec_fn=_free,
                    check=False,
                )
            except OSError as error:
                raise Trouble("voice", f"{arguments[0]} cannot be run: {error.strerror or error}") from None
            said.seek(0)
            last = said.read()[-2000:].decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
        if done.returncode != 0:
            raise Trouble("text", f"{arguments[0]} ended with {done.returncode}{': ' + last if last else ''}")
        if not file.exists():
            raise Trouble("text", f"{arguments[0]} wrote no file")
        with file.open("rb") as stream:
            return np.concatenate([np.zeros(0, np.float32), *decoded(stream.read(LARGEST_FILE), LONGEST_SPEECH)])


def _free() -> None:
    """In the child, before another program runs: it may need more memory than we do, and ends when we end."""
    resource.setrlimit(resource.RLIMIT_AS, (resource.getrlimit(resource.RLIMIT_AS)[1],) * 2)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL


# ------------------------------------------------------------------------------------------------ speaking


def said(text: str, speak: Callable[[str], Samples]) -> Samples:
    """A piece of text at RATE: level, trimmed, with the pauses that its outer marks ask for."""
    going_on = text[-1:].isspace()
    text = " ".join(_CONTROL.sub(" ", text).split())
    marks = "".join(PAUSES)
    body = text.lstrip(marks + " ")
    before, after = text[: len(text) - len(body)], body[len(body.rstrip(marks + " ")) :]
    if not body:
        return _silence(max(_pause(before), 0.1))
    samples = trimmed(level(speak(body + "," if going_on and not after else body)))
    if not samples.size:
        samples = _silence(0.1)
    pause = max(_pause(after), BETWEEN if len(body) == 1 else 0.0)
    return np.concatenate([_silence(_pause(before)), samples, _silence(pause)])


def _pause(marks: str) -> float:
    return max((PAUSES.get(mark, 0.0) for mark in marks), default=0.0)


def _silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * RATE), np.float32)


def level(samples: Samples) -> Samples:
    """The same at LEVEL, measured where it sounds; peaks stay below PEAK."""
    frame = RATE // 50
    frames = samples[: samples.size // frame * frame].reshape(-1, frame)
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    if not power.size or not power.max() > 0:
        return samples
    sounding = power[power > power.max() / 1000]
    gain = 10 ** (LEVEL / 20) / float(np.sqrt(sounding.mean()))
    gain = min(gain, PEAK / max(float(np.abs(samples).max()), 1e-9))
    return np.asarray(samples * np.float32(gain), np.float32)


def trimmed(samples: Samples) -> Samples:
    """The same without the silence at both ends, and without clicks there."""
    loud = np.flatnonzero(np.abs(samples) > np.abs(samples).max(initial=0.0) * 10 ** (SILENT / 20))
    if not loud.size:
        return samples[:0]
    first, last = max(0, int(loud[0] - BEFORE * RATE)), int(loud[-1] + AFTER * RATE)
    cut = samples[first:last].copy()
    fade = min(RATE // 200, cut.size)
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    cut[:fade] *= ramp
    cut[cut.size - fade :] *= ramp[::-1]
    return cut


# ---------------------------------------------------------------------------------------------- converting


class _Stream(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read from its beginning to its end.

    soundfile seeks after each block of a file that it can seek in, and an MP3 that is sought in loses what its frames
    borrow from the ones before.
    """

    def seekable(self) -> bool:
        return False


class _Endless(io.BytesIO):
    """Bytes that seem longer than they are.

    libsndfile takes the length of an MP3 of variable bit rate without an index from its first frame, and stops
    there, in the middle of it; with more bytes to expect it goes on to the real end.
    """

    _asked = False

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._asked = whence == 2
        return super().seek(offset, whence)

    def tell(self) -> int:
        return super().tell() * (50 if self._asked else 1)

    def readinto(self, buffer: Any, /) -> int:
        self._asked = False
        return super().readinto(buffer)


def decoded(data: bytes, longest: float) -> Iterator[Samples]:
    """A sound file (WAV, MP3, Ogg in any rate, any number of channels) as mono at RATE, block by block.

    Its own level stays, as it was made.  Raises Trouble.
    """
    if not data:
        raise Trouble("text", "it is empty")
    try:
        sound = _Stream(io.BytesIO(data))
        promised = sound.frames
        if sound.format == "MP3":
            sound = _Stream(_Endless(data))
            promised = promised if promised == sound.frames else 0  # else it is a guess
        rate = int(sound.samplerate)
    except (soundfile.SoundFileError, ValueError, TypeError):
        raise Trouble("text", "it is no WAV, MP3 or Ogg file that can be read") from None
    if not 1000 <= rate <= 384_000 or not 1 <= sound.channels <= 16:
        raise Trouble("text", f"it has {sound.channels} channels of {rate} samples per second")
    if sound.format != "MP3" and promised > longest * rate:
        raise _too_long(longest)
    stream = soxr.ResampleStream(rate, RATE, 1, dtype="float32", quality="HQ")
    read = 0
    while True:
        try:
            block = sound.read(4608, dtype="float32", always_2d=True)
        except soundfile.SoundFileError:
            if not read:
                raise Trouble("text", "it is damaged") from None
            break  # what follows the last whole frame
        if not len(block):
            break
        read += len(block)
        if read > longest * rate:
            raise _too_long(longest)
        mono = np.nan_to_num(block.mean(axis=1, dtype=np.float32), posinf=1.0, neginf=-1.0)
        yield np.asarray(stream.resample_chunk(np.clip(mono, -1.0, 1.0)), np.float32)
    if not read:
        raise Trouble("text", "there is no sound in it")
    if read < promised * 0.98 - rate / 10:
        raise Trouble("text", f"it is cut short: {read / rate:.1f} s of {promised / rate:.1f} s are there")
    yield np.asarray(stream.resample_chunk(np.zeros(0, np.float32), last=True), np.float32)


def _too_long(longest: float) -> Trouble:
    return Trouble("text", f"it lasts longer than {longest / 60:.0f} min")


def write(path: str, blocks: Iterator[Samples]) -> float:
    """Write 16-bit mono at RATE; returns seconds.  Raises Trouble of kind ``disk``."""
    frames = 0
    try:
        with open(path, "wb") as target, wave.open(target, "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(RATE)
            for block in blocks:
                frames += block.size
                sound.writeframes((np.clip(block, -1.0, 1.0) * 32767).astype("<i2").tobytes())
            if not frames:
                sound.writeframes(b"\0\0")
    except OSError as error:
        raise Trouble("disk", f"{path}: {error.strerror or error}") from None
    return frames / RATE


# ----------------------------------------------------------------------------------------------- the program


def perform(request: Mapping[str, Any]) -> float:
    """Do what one line asks; returns the seconds of sound.  Raises Trouble.

    ``{"do": "voice", "espeak": ["ru"], "speed": 150}``: is there such a voice?  ``{"do": "speak", "text", "to"}``
    with ``espeak`` and ``speed``, or with ``command``.  ``{"do": "convert", "from", "sha256", "to"}``.
    ``{"do": "music", "to"}``: Cordboard's own.
    """
    if request["do"] == "music":
        return write(request["to"], iter([music.piece()]))
    if request["do"] == "convert":
        return write(request["to"], decoded(_file(request["from"], request["sha256"]), LONGEST_FILE))
    command = request.get("command")
    if command:
        if request["do"] == "voice":
            if shutil.which(command[0]) is None:
                raise Trouble("voice", f"install the program {command[0]}")
            return 0.0
        samples = said(request["text"], lambda text: run(command, text))
    else:
        voice = espeak()
        voice.choose(request["espeak"], request["speed"])
        if request["do"] == "voice":
            return 0.0
        samples = said(
            request["text"], lambda text: np.asarray(soxr.resample(voice.speak(text), voice.rate, RATE), np.float32)
        )
    return write(request["to"], iter([samples]))


def _file(path: str, digest: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise Trouble("text", f"it cannot be read: {error.strerror or error}") from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise Trouble("text", "it changed while it was read; publish again")
    return data


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no answer
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        os.nice(10)  # calls come first
    for line in sys.stdin.buffer:
        try:
            answer: dict[str, Any] = {"seconds": perform(json.loads(line))}
        except Trouble as trouble:
            answer = {"error": str(trouble), "kind": trouble.kind}
        except MemoryError:
            answer = {"error": "it needs too much memory", "kind": "text"}
        except Exception as error:
            answer = {"error": repr(error)[:300], "kind": "text"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
