"""The music that callers hear when nobody has chosen another: a piece of Cordboard's own, made when it is needed.

Slow chords with a soft attack and a few bell notes above them, in the band that a telephone carries, at the level of
speech.  The same samples each time: no chance is in it.  Loaded by the voice's program (``voice.py``) only, since it
needs numpy; it knows nothing of files, calls or companies.

The surprise: time goes round in it.  A note that is still sounding at the end sounds on at the beginning, and the echo
and the filter go round as well, so the end leads into the beginning as any moment leads into the next: played again
and again it has no seam.  A change in how it sounds must raise ``speech.MUSIC_FORMAT``.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
_Wave = npt.NDArray[np.float64]

#: Samples per second, as in every file that the switch plays.
RATE = 8000
#: How long each chord stands, and how much of the next one's time it takes to fade, seconds.
BAR, FADE = 4.0, 1.8
#: The level of the whole, dB below full scale.
LEVEL = -20.0
#: What a telephone carries, Hz; the edges are as soft as this.
LOWEST, HIGHEST, EDGE = 300.0, 3400.0, 150.0

#: The chords, a bar each, as MIDI notes (69 is 440 Hz): D major, and back to it.
CHORDS = (
    (62, 66, 69, 73), (62, 66, 69, 71), (62, 67, 69, 71), (64, 67, 69, 74),
    (62, 66, 69, 74), (64, 66, 69, 73), (62, 67, 69, 71), (64, 69, 71, 73),
    (62, 66, 69, 71), (64, 66, 69, 73), (62, 67, 71, 74), (66, 69, 74, 76),
    (64, 67, 71, 74), (64, 67, 69, 74), (62, 66, 69, 76), (64, 69, 73, 76),
)  # fmt: skip
#: The bells of a bar: on which beat (a quarter of it), and which note of the chord, an octave higher.
BELLS = (
    ((0.0, 2), (1.0, 1), (2.0, 3)),
    ((0.0, 3), (1.5, 2), (3.0, 1)),
    ((0.0, 1), (1.0, 2), (2.0, 3), (3.0, 2)),
    ((0.0, 3), (2.0, 2)),
)
#: How loud the partials of a chord's and of a bell's note are, and a bell beside a chord's note.
_SOFT, _BRIGHT = (1.0, 0.5, 0.3, 0.15, 0.08), (1.0, 0.3, 0.1)
_BELL = 0.9
#: A second, softer voice a little higher makes each chord's note live: how loud, and how many times the frequency.
_SECOND, _HIGHER = 0.3, 1.0025
#: Echoes: seconds late, and how loud.
_ECHOES = ((0.113, 0.24), (0.271, 0.18), (0.437, 0.12), (0.659, 0.07))


def piece() -> Samples:
    """One round of the music: a whole number of the switch's frames of 20 ms."""
    standing, struck = cache(_standing), cache(_struck)
    whole = np.zeros(int(len(CHORDS) * BAR * RATE))
    for bar, chord in enumerate(CHORDS):
        for note in chord:
            _add(whole, bar * BAR, standing(note))
        for beat, which in BELLS[bar % len(BELLS)]:
            _add(whole, bar * BAR + beat * BAR / 4, _BELL * struck(chord[which] + 12))
    whole = whole + sum(loud * np.roll(whole, int(late * RATE)) for late, loud in _ECHOES)
    whole = _through_a_telephone(whole)
    whole *= 10 ** (LEVEL / 20) / np.sqrt(np.mean(np.square(whole)))
    return whole.astype(np.float32)


def _hertz(note: int) -> float:
    return float(440.0 * 2 ** ((note - 69) / 12))


def _add(whole: _Wave, at: float, sound: _Wave) -> None:
    """Put a sound where it belongs, over the end into the beginning."""
    where = (int(at * RATE) + np.arange(sound.size)) % whole.size
    whole[where] += sound


def _times(seconds: float) -> _Wave:
    return np.arange(int(seconds * RATE)) / RATE


def _standing(note: int) -> _Wave:
    """A chord's note: it swells while the one before it fades."""
    hertz, times = _hertz(note), _times(BAR + FADE)
    swell: _Wave = np.sin(np.pi / 2 * np.clip(np.minimum(times, times[-1] - times) / FADE, 0, 1)) ** 2
    return swell * (_partials(hertz, _SOFT, times) + _SECOND * _partials(hertz * _HIGHER, _SOFT, times))


def _struck(note: int) -> _Wave:
    """A bell's note, which has no click at its begin and is all but gone at its end."""
    times = _times(3.0)
    return np.clip(times / 0.012, 0, 1) * np.exp(-times / 0.55) * _partials(_hertz(note), _BRIGHT, times)


def _partials(hertz: float, loud: tuple[float, ...], times: _Wave) -> _Wave:
    found = np.zeros(times.size)
    for number, each in enumerate(loud, 1):
        if hertz * number < HIGHEST:
            found += each * np.sin(2 * np.pi * hertz * number * times)
    return found


def _through_a_telephone(whole: _Wave) -> _Wave:
    """What a telephone leaves of it; the filter goes round as everything does."""
    spectrum, hertz = np.fft.rfft(whole), np.fft.rfftfreq(whole.size, 1 / RATE)
    inside = np.minimum(hertz - LOWEST + EDGE, HIGHEST - hertz) / EDGE
    return np.asarray(np.fft.irfft(spectrum * np.clip(inside, 0, 1), whole.size))
