"""How long a sound lasts, and the recordings that the stand-in writes.

No audio is ever mixed: a sound is its length, and a recording is a WAV file of the right length with a tone
in it, so that what reads it afterwards (a duration, a checksum, an upload) has something real to read.
Knows nothing of calls.

A file may have its words beside it: `<name>.txt`, the language in the first line (empty: the words are a file's name),
the words in the rest. A listener then hears words; several files of words joined by `file_string://` are one speech.
`FILE@@SAMPLES` begins in the middle.
"""

from __future__ import annotations

import math
import re
import struct
import wave
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["RATE", "Sound", "find_sounds", "write_wav"]

RATE = 8000  # samples per second of every recording, as a PCMU call has them
_TONE = struct.pack("<80h", *(int(8000 * math.sin(2 * math.pi * n / 20)) for n in range(80)))  # 10 ms of 400 Hz
_BOTH = struct.pack(
    "<160h",
    *(int(8000 * math.sin(2 * math.pi * n * times / 20)) for n in range(80) for times in (1, 2)),
)
_GENERATED = re.compile(r"%\((\d+),(\d+)[^)]*\)")
_LENGTH_UNKNOWN = 1.0  # seconds given to a file that exists but is no WAV (mp3, ogg)


class Sound(NamedTuple):
    """One thing to play: how a listener would name it, and its length in seconds (None: until it is stopped)."""

    label: str
    seconds: float | None
    words: str = ""
    language: str = ""


def find_sounds(spec: str, lengths: Mapping[str, float]) -> list[Sound] | None:
    """The sounds behind a `playback` argument, or None where FreeSWITCH would say FILE NOT FOUND.

    `lengths` gives seconds by whole path, by file name, or by the words beside a file: for sounds that exist only in
    a story, or last longer there.
    """
    if spec.startswith("file_string://"):
        parts = [find_sounds(part, lengths) for part in spec.removeprefix("file_string://").split("!")]
        found = [sound for part in parts if part for sound in part]  # what is not there is passed over in silence
        if len(found) > 1 and all(sound.language for sound in found):
            words = "".join(sound.words for sound in found)
            return [Sound(spec, sum(sound.seconds or 0.0 for sound in found), words, found[0].language)]
        return found or None
    if spec.startswith("silence_stream://"):
        milliseconds = spec.removeprefix("silence_stream://").partition(",")[0]
        return [Sound("silence", None if milliseconds.startswith("-") else int(milliseconds or 0) / 1000)]
    if spec.startswith("tone_stream://"):
        return [Sound(spec, _tone_seconds(spec))]
    if spec.startswith("local_stream://"):
        return [Sound(spec, None)]
    path, _, start = spec.partition("@@")  # begin at this sample; beyond the end there is nothing left to play
    said = _words(path)
    for name in (path, path.rsplit("/", 1)[-1], said[0]):
        if name in lengths:
            return [_from(start, Sound(path, lengths[name], *said))]
    try:
        with wave.open(path, "rb") as sound:
            return [_from(start, Sound(path, sound.getnframes() / sound.getframerate(), *said))]
    except OSError:
        return None
    except (wave.Error, EOFError):
        return [Sound(path, _LENGTH_UNKNOWN)]


def _from(start: str, sound: Sound) -> Sound:
    passed = int(start) / RATE if start.isdigit() else 0.0
    return sound._replace(seconds=max(0.0, (sound.seconds or 0.0) - passed)) if passed else sound


@lru_cache(maxsize=10_000)
def _words(path: str) -> tuple[str, str]:
    """The words beside a file and their language."""
    try:
        language, _, words = Path(path).with_suffix(".txt").read_text("utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return "", ""
    return words.removesuffix("\n"), language


def _tone_seconds(spec: str) -> float | None:
    loops = re.search(r"loops=(-?\d+)", spec)
    times = int(loops[1]) if loops else 1
    if times < 0:
        return None
    once = sum(int(on) + int(off) for on, off in _GENERATED.findall(spec))
    return once * times / 1000


def write_wav(path: str, seconds: float, pieces: Sequence[tuple[float, bool]] = (), *, stereo: bool = False) -> int:
    """Write `seconds` of tone to `path` (16 bit, 8 kHz) and return its size in bytes.

    `pieces`: (seconds, whether it is silence) instead. `stereo`: 400 Hz on the left, 800 on the right. Raises OSError
    as opening the file does.
    """
    tone = _BOTH if stereo else _TONE
    size = 4 if stereo else 2
    with open(path, "wb") as target, wave.open(target, "wb") as sound:
        sound.setnchannels(2 if stereo else 1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        for length, silent in pieces or ((seconds, False),):
            whole, rest = divmod(max(0, int(length * RATE)) * size, len(tone))
            data = tone * whole + tone[:rest]
            sound.writeframes(bytes(len(data)) if silent else data)
    return Path(path).stat().st_size
