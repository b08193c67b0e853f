"""The load: a stand-in switch and its callers, in a process of their own, so that their cost is nobody's.

The first half runs in that process (``python -m scripts.bench.callers CONFIG``), the second, :class:`StandIn`, is
the bench's handle on it; they speak JSON lines.  Times are those of the one monotonic clock that processes of a
machine share.

The surprise: calls come at fixed times whatever became of the earlier ones, so a controller that is slow is asked no
less; only :meth:`StandIn.stream` waits for ends.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import gevent
from gevent.event import Event
from gevent.fileobject import FileObject

from callcontrol.supervisor import die_with_parent
from freeswitch.simulator.channel import Channel
from freeswitch.simulator.media import Sound
from freeswitch.simulator.switch import Switch
from scripts.bench.outcome import BenchError, Outcome

#: Seconds after the beginning of ``ask.wav`` until a caller presses a key.
PRESS_AFTER = 0.3
#: Seconds that a call of the flow may take altogether before it counts as lost.
PATIENCE = 15.0
CALLER = "+442079460000"


class _Call:
    """A caller: notes when they were answered and what they heard last, and presses one key when asked."""

    speaks = False
    __slots__ = ("_load", "answered", "began", "channel", "heard")

    def __init__(self, load: _Load, channel: Channel) -> None:
        self._load = load
        self.channel = channel
        self.began = time.monotonic()
        self.answered = 0.0
        self.heard = 0.0

    def is_answered(self, channel: Channel) -> None:
        self.answered = time.monotonic()

    def hears(self, sound: Sound) -> None:
        self.heard = time.monotonic()
        name = sound.words or sound.label.rpartition("/")[2]
        if name == "ask.wav":
            self._load.switch.later(PRESS_AFTER, self._press)
        elif name == "long.wav":
            self._load.heard()

    def _press(self) -> None:
        self.channel.press("1")

    def hung_up(self, channel: Channel) -> None:
        self._load.ended(self, channel.cause or "NONE")

    def rings(self, channel: Channel) -> None: ...
    def is_recorded(self, path: str) -> None: ...
    def talks(self, other: Channel) -> None: ...
    def stops_talking(self, other: Channel) -> None: ...


class _Load:
    """What the process does when it is told to; each method answers what is to be said back."""

    def __init__(self, switch: Switch) -> None:
        self.switch = switch
        self.changed = Event()
        self._live: set[_Call] = set()
        self._waiting: set[_Call] = set()
        self._to_hear = 0  # how many of the waiting ones have yet to hear their sound
        self._delays: list[float] = []
        self._lost: Counter[str] = Counter()

    def _place(self, to: str) -> _Call:
        channel = self.switch.call(CALLER, to).channel
        self.switch.callers.clear()  # the switch remembers everybody who ever called
        call = _Call(self, channel)
        channel.party = call
        self._live.add(call)
        return call

    def heard(self) -> None:
        """A waiting caller's sound begins; whoever waits for all is not woken by each."""
        self._to_hear -= 1
        if self._to_hear <= 0:
            self.changed.set()

    def ended(self, call: _Call, cause: str) -> None:
        self._live.discard(call)
        if call.answered:
            self._delays.append(call.answered - call.began)
        if not call.answered or cause != "NORMAL_CLEARING":
            self._lost[cause if call.answered else f"{cause}, not answered"] += 1
        self._to_hear -= call in self._waiting
        self.changed.set()

    def _report(self, placed: int, began: float) -> dict[str, Any]:
        """What became of the calls since the last report.  Those that are under way are given up."""
        for call in self._live - self._waiting:
            self._live.discard(call)
            self._lost["no end"] += 1
        delays, self._delays = self._delays, []
        lost, self._lost = self._lost, Counter()
        return {"placed": placed, "delays": delays, "lost": dict(lost), "seconds": time.monotonic() - began}

    def _until(self, holds: Callable[[], bool], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not holds():
            self.changed.clear()
            if not self.changed.wait(max(0.0, end - time.monotonic())):
                return holds()
        return True

    def calls(self, to: str, count: int, rate: float) -> dict[str, Any]:
        """``count`` calls at ``rate`` a second, each to its end."""
        began = time.monotonic()
        for n in range(count):
            gevent.sleep(max(0.0, began + n / rate - time.monotonic()))
            self._place(to)
        self._until(lambda: len(self._live) == len(self._waiting), PATIENCE)
        return self._report(count, began)

    def stream(self, to: str, count: int, at_once: int) -> dict[str, Any]:
        """``count`` calls as fast as they end, ``at_once`` at a time."""
        began = time.monotonic()
        for _ in range(count):
            if not self._until(lambda: len(self._live) - len(self._waiting) < at_once, PATIENCE):
                break
            self._place(to)
        self._until(lambda: len(self._live) == len(self._waiting), PATIENCE)
        return self._report(count, began)

    def park(self, to: str, count: int, rate: float) -> dict[str, Any]:
        """``count`` calls more that hear ``long.wav`` and stay."""
        began = time.monotonic()
        self._to_hear = count
        new = []
        for n in range(count):
            gevent.sleep(max(0.0, began + n / rate - time.monotonic()))
            new.append(call := self._place(to))
            self._waiting.add(call)
        self._until(lambda: self._to_hear <= 0, PATIENCE)
        self._waiting = {call for call in self._waiting & self._live if call.heard}
        self._delays += [call.answered - call.began for call in new if call in self._waiting]
        return self._report(count, began)

    def again(self, since: float, count: int) -> dict[str, Any]:
        """Wait until ``count`` of the waiting callers have heard their sound begin after ``since``."""
        began = time.monotonic()
        self._to_hear = count - sum(call.heard > since or call not in self._live for call in self._waiting)
        self._until(lambda: self._to_hear <= 0, PATIENCE)
        self._waiting &= self._live
        self._delays = sorted(call.heard - since for call in self._waiting if call.heard > since)
        lost = count - len(self._delays)
        self._lost = Counter({"not taken over": lost} if lost else {})
        return self._report(count, began)


def main(config: dict[str, Any]) -> None:
    """Do what stdin says until it ends."""
    switch = Switch(
        [("127.0.0.1", config["controller"])], password=config["password"], sounds=config["sounds"], name="switch1"
    )
    with switch:
        load = _Load(switch)
        commands: dict[str, Callable[..., dict[str, Any]]]
        commands = {"calls": load.calls, "stream": load.stream, "park": load.park, "again": load.again}
        print(json.dumps({"esl": switch.esl_address[1]}), flush=True)
        for line in FileObject(sys.stdin.fileno(), "rb", close=False):
            asked = json.loads(line)
            print(json.dumps(commands[asked.pop("do")](**asked)), flush=True)


class StandIn:
    """The bench's end of one such process.  ``controller`` is the port its calls are brought to; a context manager."""

    #: The program that runs in the process.
    program = "scripts.bench.callers"

    def __init__(self, controller: int, log: Path, sounds: Mapping[str, float]) -> None:
        self.controller = controller
        self.password = secrets.token_hex(12)
        self.esl_port = 0
        self._log = log
        self._config = {"controller": controller, "password": self.password, "sounds": dict(sounds)}
        self._process: subprocess.Popen[bytes] | None = None
        self._said = b""

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.program, json.dumps(self._config)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                preexec_fn=die_with_parent,
                process_group=0,
            )
        try:
            self.esl_port = int(self._answer(30.0)["esl"])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def calls(self, to: str, count: int, rate: float) -> Outcome:
        """See :meth:`_Load.calls`."""
        return self._ask(count / rate, do="calls", to=to, count=count, rate=rate)

    def stream(self, to: str, count: int, at_once: int) -> Outcome:
        """See :meth:`_Load.stream`."""
        return self._ask(count / 20, do="stream", to=to, count=count, at_once=at_once)

    def park(self, to: str, count: int, rate: float) -> Outcome:
        """See :meth:`_Load.park`."""
        return self._ask(count / min(rate, 20), do="park", to=to, count=count, rate=rate)

    def again(self, since: float, count: int) -> Outcome:
        """See :meth:`_Load.again`; the delays are from ``since`` to each call's sound."""
        return self._ask(0.0, do="again", since=since, count=count)

    def _ask(self, expected: float, **command: Any) -> Outcome:
        return Outcome(**self.ask(expected, **command))

    def ask(self, expected: float, **command: Any) -> dict[str, Any]:
        """Have the process do something, which takes it ``expected`` seconds and some; what it answers."""
        if self._process is None or self._process.stdin is None:
            raise BenchError("the stand-in switch does not run")
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer(expected + 2 * PATIENCE + 15)

    def _answer(self, seconds: float) -> dict[str, Any]:
        """The next line that the process says, within so many seconds."""
        if self._process is None or self._process.stdout is None:
            raise BenchError("the stand-in switch does not run")
        fd = self._process.stdout.fileno()
        deadline = time.monotonic() + seconds
        while b"\n" not in self._said:
            ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(fd, 2**20) if ready else b""
            if not data:
                last = self._log.read_text(errors="replace")[-2000:]
                raise BenchError(
                    f"the stand-in switch {'ended' if ready else f'said nothing for {seconds:.0f} s'}: {last}"
                )
            self._said += data
        line, _, self._said = self._said.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
