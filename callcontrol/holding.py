"""What a waiting caller hears: music, and announcements between it.

Never two sounds at once, and never none: music that is not there gives way to a ringing tone, and music that ends
begins again.  An announcement stops the music, waits until it has stopped, and the music goes on where it was.

Nothing here knows why the caller waits.  The surprise: :meth:`Holding.hear` only notes what has happened, and
:meth:`Holding.turn` acts; while a caller is being joined nobody calls the latter, and no sound begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from callcontrol.messages import AskPlace, Event, Music, PlaceTold, PlayEnded, Sound, SoundFile, StopPlay, Tone
from callcontrol.routing.kinds import SOUND_ENDINGS
from callcontrol.routing.model import Announcement, Queue, Text
from callcontrol.view import LONGEST_SOUND, Part, Playing, View

#: Music of Cordboard's own, where the queue names none.
OWN_MUSIC = "moh"
#: Music that ends by itself begins again, but not more often, seconds.
AGAIN = 1.0
#: How long the queue may take to say which place a caller has, seconds.
ASKING = 1.0
#: How long the switch may take to stop a sound, seconds.
STOPPING = 1.0


class Ear(Enum):
    """What the caller hears just now."""

    MUSIC = "music"
    ASKING = "asking"  # music, while the place is asked for
    STOPPING = "stopping"  # the music is being stopped: an announcement follows
    SPEAKING = "speaking"  # an announcement


class Holding:
    """One waiting caller's ear.  ``began``: since when they wait, which the times of announcements go by.

    Nothing is heard before :meth:`begin`; ``heard``: how much of the music they have heard already, seconds.
    """

    def __init__(self, call: View, queue: Queue, began: float, heard: float) -> None:
        self._call = call
        self._began = began
        self._ear = Ear.MUSIC
        self._limit = 0.0  # of all that is no music
        self._place = 0
        self._next = {index: self._after(said) for index, said in enumerate(queue.announce)}
        self._announcements: Sequence[Announcement] = queue.announce
        self._current = 0
        self._heard = heard
        self._music = self._playing(music_of(call, queue))
        self._speech: Playing | None = None
        self._from = float("inf")  # when the music may begin, if it does not play
        self._since = call.now

    def begin(self, at: float) -> None:
        """Let music begin ``at`` this moment, or now if that has passed."""
        self._from = min(self._from, at)

    def hear(self, event: Event) -> Part:
        """Note what has happened."""
        if isinstance(event, PlaceTold) and self._ear is Ear.ASKING:
            self._place, self._limit = event.place, self._call.now
        elif self._ear is Ear.SPEAKING and self._speech is not None:
            if (yield from self._speech.over(event)):
                self._limit = self._call.now
        elif isinstance(event, PlayEnded) and self._music.active and event.id == self._music.id:
            if self._ear is Ear.STOPPING:
                self._music.active = False
                self._heard += self._call.now - self._since
                self._limit = self._call.now
            elif (yield from self._music.over(event)):
                self._from, self._heard = max(self._call.now, self._since + AGAIN), 0.0
            else:  # it was not there: a tone plays
                self._since, self._heard = self._call.now, 0.0

    def turn(self, *, stands: bool) -> Part:
        """Do what is due.  ``stands``: the caller has a place that may be asked for."""
        while True:
            if self._ear is Ear.MUSIC:
                if not (yield from self._announce(stands)):
                    break
            elif self._call.now < self._limit:
                break
            elif self._ear is Ear.ASKING and self._place:
                self._call.position = str(self._place)
                yield from self._hush()
            elif self._ear is Ear.STOPPING:
                self._music.active = False
                yield from self._say()
            else:  # it has been said, or nobody knows what to say
                self._ear, self._speech = Ear.MUSIC, None
                self._next[self._current] = self._after(self._announcements[self._current])
        if self._ear in (Ear.MUSIC, Ear.ASKING) and not self._music.active and self._call.now >= self._from:
            self._music = self._playing(self._music.sound)
            self._since = self._call.now
            yield from self._music.start()

    @property
    def due(self) -> float:
        """When :meth:`turn` wants to be called, if nothing happens before."""
        times: list[float] = []
        if self._ear is Ear.MUSIC:
            times += self._next.values()
        else:
            times.append(self._limit)
        if self._ear in (Ear.MUSIC, Ear.ASKING) and not self._music.active:
            times.append(self._from)
        return min(times, default=float("inf"))

    def stop(self) -> Part:
        """The caller waits no more."""
        for playing in (self._music, self._speech):
            if playing is not None and playing.active:
                playing.active = False
                yield StopPlay(playing.id)

    # ---------------------------------------------------------------------------------------- announcements

    def _announce(self, stands: bool) -> Part:
        """Begin with an announcement that is due.  Returns whether one was."""
        due = [index for index, at in self._next.items() if self._call.now >= at]
        if not due:
            return False
        self._current, self._place = due[0], 0
        if not self._needs_place():
            yield from self._hush()
        else:
            self._ear, self._limit = Ear.ASKING, self._call.now
            if stands:
                self._limit += ASKING
                yield AskPlace()
        return True

    def _hush(self) -> Part:
        """Stop the music: the announcement follows when it has stopped."""
        self._ear, self._limit = Ear.STOPPING, self._call.now
        if self._music.active:
            self._limit += STOPPING
            yield StopPlay(self._music.id)

    def _say(self) -> Part:
        sound = self._call.sound(self._announcements[self._current].say)
        self._speech = Playing(self._call, sound, quiet=True)
        self._ear, self._limit = Ear.SPEAKING, self._call.now + LONGEST_SOUND
        self._from = self._call.now  # the music that follows
        yield from self._speech.start()

    def _needs_place(self) -> bool:
        call = self._call
        saying, _ = self._announcements[self._current].say.saying(call.language, call.routing.languages[0])
        return isinstance(saying, Text) and "position" in saying.variables

    def _after(self, said: Announcement) -> float:
        """When an announcement is heard next: at whole multiples of its time since the caller waits."""
        passed = max(0.0, self._call.now - self._began)
        return self._began + said.every * (passed // said.every + 1)

    def _playing(self, music: Sound) -> Playing:
        start = 0.0 if isinstance(music, Tone) else self._heard
        return Playing(self._call, music, loop=True, start=start, instead="ringback", quiet=True)


def music_of(call: View, queue: Queue) -> Sound:
    """What waiting callers hear: a file of the company's, or music of a name."""
    name = queue.music or OWN_MUSIC
    if name.lower().endswith(SOUND_ENDINGS):
        return SoundFile(name, call.routing.languages[0])
    return Music(name)
