"""An upgrade of a running system under calls: ``make chaos ONLY=upgrade``, and a short form in ``make test``.

Two releases stand side by side.  While calls come in and are in menus, in a queue, ringing and talking, ``current`` is
moved to the next and ``cordboard upgrade`` has ``work``, ``web`` and ``serve`` become it.  What must hold: no caller is
refused or loses the call, each call has one end, no request of the API fails, and every process says that it runs the
next release; a release that does not start changes nothing at all; and the way back is the same way.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import gevent
import redis
from gevent.threadpool import ThreadPool

from callcontrol.switchboard import STREAM
from freeswitch.simulator import Answers, Caller, NeverAnswers
from scripts.releases import link, make_release
from scripts.rig import Rig, free_port

MENU, QUEUE, RINGING, TALK = (f"+7495000000{n}" for n in range(1, 5))
COMPANY = """\
cordboard: 1
company: Acme
country: RU
timezone: Europe/Moscow
languages: [en]
numbers:
  "+74950000001": {flow: asked}
  "+74950000002": {flow: waits}
  "+74950000003": {flow: rings}
  "+74950000004": {flow: talks}
people: {301: {name: Anna}, 302: {name: Boris}, 303: {name: Chiara}}
queues: {desk: {agents: [303], max_callers: 1000, max_wait: 30m, ring: 30s}}
flows:
  asked: {ask: {menu: Press 1., keys: {1: talks/go}, wait: 30s, tries: 5, otherwise: hangup}}
  waits: {go: {queue: desk, otherwise: hangup}}
  rings: {go: {dial: 301, ring: 5m, otherwise: hangup}}
  talks: {go: {dial: 302, ring: 30s, otherwise: hangup}}
"""
OLD, NEXT = "1.0.0", "2.0.0"


@dataclass(slots=True)
class Outcome:
    """What came of it; ``wrong`` is empty if all that must hold held."""

    wrong: list[str] = field(default_factory=list)
    calls: int = 0
    requests: int = 0
    #: Seconds from ``cordboard upgrade`` to its end.
    seconds: float = 0.0
    #: Calls that were live when it began, by what they were doing.
    during: Counter[str] = field(default_factory=Counter)
    #: What ``cordboard processes`` says at the end: role → release.
    releases: dict[str, set[str]] = field(default_factory=dict)
    #: Calls that more than one controller had.
    handed_over: int = 0


class _Storm:
    """The calls: so many a second, of each kind in turn, until told to stop."""

    #: What each kind has come to when it is where it is to be.
    REACHED: ClassVar[dict[str, Callable[[Caller], bool]]] = {
        MENU: lambda caller: caller.has("heard:speech"),
        QUEUE: lambda caller: caller.answered,
        RINGING: lambda caller: bool(caller.journal) and any("ringing" in str(entry) for entry in caller.journal),
        TALK: lambda caller: caller.has("talking"),
    }
    NAMES: ClassVar[dict[str, str]] = {MENU: "in a menu", QUEUE: "in a queue", RINGING: "ringing", TALK: "talking"}

    def __init__(self, rig: Rig, rate: float, most: int) -> None:
        self.rig = rig
        self.callers: list[Caller] = []
        #: Those who have hung up, having been where they were to be.
        self.left: set[str] = set()
        self._most = most
        self._pause = 1.0 / rate
        self._going = True

    def run(self) -> None:
        """Place calls until ``stop``."""
        while self._going:
            number = (MENU, QUEUE, RINGING, TALK)[len(self.callers) % 4]
            self.callers.append(self.rig.switch.call(f"+7903{len(self.callers):07}", number))
            if len(self.callers) - len(self.left) > self._most:  # one who has been there for the longest leaves
                leaving = next((one for one in self.callers if one.uuid not in self.left and self.there(one)), None)
                if leaving is not None:
                    self.left.add(leaving.uuid)
                    leaving.hangup()
            gevent.sleep(self._pause)

    def stop(self) -> None:
        """No more calls."""
        self._going = False

    def doing(self) -> Counter[str]:
        """How many of each kind are where they are to be."""
        return Counter(self.NAMES[one.to] for one in self.callers if self.there(one))

    def there(self, caller: Caller) -> bool:
        """Whether a caller is where they are to be."""
        return caller.state != "ended" and self.REACHED[caller.to](caller)


class _Web:
    """Asks the API again and again, each time on a connection of its own."""

    def __init__(self, port: int) -> None:
        self.asked = 0
        self.failed: list[str] = []
        self._url = f"http://127.0.0.1:{port}/healthz"
        self._going = True

    def run(self) -> None:
        """In a thread: urllib blocks."""
        while self._going:
            self.asked += 1
            try:
                with urllib.request.urlopen(self._url, timeout=10) as answer:  # noqa: S310 - our own, on loopback
                    if answer.status != 200:
                        self.failed.append(str(answer.status))
            except OSError as error:
                self.failed.append(str(error))
            time.sleep(0.02)

    def stop(self) -> None:
        """No more requests."""
        self._going = False


class _House:
    """Two releases, a rig that runs ``current``, and ``work`` and ``web`` beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.releases = {name: directory / "releases" / name for name in (OLD, NEXT)}
        for name, path in self.releases.items():
            make_release(path, name)
        self.current = directory / "current"
        link(self.current, self.releases[OLD])
        self.program = self.current / "bin" / "cordboard"
        (directory / "routing").mkdir()
        (directory / "routing/acme.yaml").write_text(COMPANY)
        self.rig = Rig(directory / "rig", routing=directory / "routing", clock=None, program=self.program)
        self.web_port = free_port()
        self.log_path = directory / "behind.log"
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start everything, of the old release."""
        self.rig.start()
        for name in ("work", "web"):
            with self.log_path.open("ab") as log:
                self._processes.append(
                    subprocess.Popen([str(self.program), name], env=self.environment(), stdout=log, stderr=log)
                )
        self.rig.until(lambda: {"work", "web", "answering", "journal"} <= self.roles().keys(), 60, "work and web")

    def stop(self) -> None:
        """End what was started."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.rig.stop()

    def environment(self) -> dict[str, str]:
        """As every command is told."""
        return {**self.rig.environment(), "CORDBOARD_WEB": f"127.0.0.1:{self.web_port}", "CORDBOARD_SERVERS": "1"}

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command of ``current``; what it says."""
        run: Any = gevent.get_hub().threadpool.apply
        done: subprocess.CompletedProcess[str] = run(
            subprocess.run,
            ([str(self.program), *command],),
            {"env": self.environment(), "capture_output": True, "text": True, "timeout": 300},
        )
        return done

    def roles(self) -> dict[str, set[str]]:
        """Every process's release, by role."""
        found: dict[str, set[str]] = {}
        for one in json.loads(self.run("processes", "--json").stdout or "[]"):
            found.setdefault(one["role"], set()).add(one["release"])
        return found


def play(directory: Path, *, rate: float = 4.0, least: int = 12, back: bool = False) -> Outcome:
    """Upgrade a running system once ``least`` calls are in the midst of everything; ``back``: and go back again."""
    outcome = Outcome()
    house = _House(directory)
    pool = ThreadPool(2)
    try:
        house.start()
        _upgrade_under_calls(house, pool, outcome, rate, least, back)
    finally:
        house.stop()
        pool.kill()
    return outcome


def _upgrade_under_calls(
    house: _House, pool: ThreadPool, outcome: Outcome, rate: float, least: int, back: bool
) -> None:
    rig, wrong = house.rig, outcome.wrong
    rig.switch.phone("301", NeverAnswers())
    rig.switch.phone("302", Answers(after=0.2))
    rig.switch.phone("303", NeverAnswers())
    storm, web = _Storm(rig, rate, least + least // 2), _Web(house.web_port)
    asking = pool.spawn(web.run)
    calling = gevent.spawn(storm.run)
    try:
        rig.until(lambda: sum(storm.doing().values()) >= least and len(storm.doing()) == 4, 120, "calls of each kind")
        before = rig.server_pid, rig.children()
        _refuse_what_cannot_start(house, wrong)
        outcome.during = storm.doing()
        for release in (NEXT, OLD, NEXT)[: 3 if back else 1]:
            link(house.current, house.releases[release])
            began = time.monotonic()
            done = house.run("upgrade")
            outcome.seconds = time.monotonic() - began
            if done.returncode:
                wrong.append(f"cordboard upgrade ended with {done.returncode}: {done.stdout}{done.stderr}")
            outcome.releases = house.roles()
            if {one for found in outcome.releases.values() for one in found} != {release}:
                wrong.append(f"some process does not run {release}: {outcome.releases}")
            stray = [pid for pid in rig.children() if str(house.releases[release]) not in _command(pid)]
            if stray:
                wrong.append(f"the command lines of {stray} are not those of {release}")
        if rig.server_pid != before[0] or {*rig.children()} & {*before[1]}:
            wrong.append("the supervisor is another process, or a controller is not")
        more = len(storm.callers) + 4
        rig.until(lambda: len(storm.callers) >= more, 60, "calls after the upgrade")
    finally:
        storm.stop()
        web.stop()
        calling.join()
        asking.get()
    outcome.calls, outcome.requests = len(storm.callers), web.asked
    wrong += [f"a request of the API failed: {why}" for why in web.failed]
    _end_calls(rig, storm, outcome)
    _judge_journal(house, outcome)


def _refuse_what_cannot_start(house: _House, wrong: list[str]) -> None:
    """A next release that is broken: nobody may be replaced."""
    broken = house.directory / "releases" / "broken"
    (broken / "bin").mkdir(parents=True)
    (broken / "bin/cordboard").write_text("#!/bin/sh\nexit 7\n")
    (broken / "bin/cordboard").chmod(0o755)
    before = house.rig.children()
    asked = house.rig.log().count("nothing is replaced")
    link(house.current, broken)
    house.rig.signal_server(signal.SIGUSR2)
    house.rig.until(lambda: house.rig.log().count("nothing is replaced") > asked, 30, "the refusal")
    link(house.current, house.releases[OLD])
    if house.rig.children() != before:
        wrong.append("a release that cannot start has replaced somebody")


def _end_calls(rig: Rig, storm: _Storm, outcome: Outcome) -> None:
    """Everybody is where they are to be, and still served; then they hang up, and each call has one end."""
    wrong = outcome.wrong
    for caller in storm.callers:
        if caller.state == "ended" and caller.uuid not in storm.left:
            wrong.append(f"lost: {caller.from_} to {caller.to}: {caller.hangup_cause}\n{caller.story()}")
    rig.until(
        lambda: all(storm.there(one) or one.state == "ended" for one in storm.callers), 60, "every caller's place"
    )
    in_menus = [one for one in storm.callers if one.to == MENU and one.state != "ended"]
    for caller in in_menus:
        caller.press("1")
    rig.until(lambda: all(one.has("talking") or one.state == "ended" for one in in_menus), 60, "who pressed 1")
    wrong += [f"a key was lost: {one.story()}" for one in in_menus if not one.has("talking")]
    ids = [caller.uuid for caller in storm.callers]
    for caller in storm.callers:
        caller.hangup()
    ends: Counter[str] = Counter()

    def all_ended() -> bool:
        ends.clear()
        ends.update(_ends_in_stream(rig))
        return all(ends[call] for call in ids)

    rig.until(all_ended, 60, "an end of every call")
    wrong += [f"{call} has {ends[call]} ends" for call in ids if ends[call] != 1]
    epochs: dict[str, int] = {}
    for fact in rig.facts():
        if fact.get("call"):
            epochs[fact["call"]] = max(epochs.get(fact["call"], 0), fact["epoch"])
    outcome.handed_over = sum(epoch > 1 for epoch in epochs.values())


def _ends_in_stream(rig: Rig) -> Iterator[str]:
    """The calls that have an end, once for each.

    In the stream and not in the files: while Redis takes too long to say who tells an end, two may write it, and the
    second is dropped as it is shipped.
    """
    with redis.Redis.from_url(rig.redis_url, socket_timeout=10) as client:
        for _, entry in client.xrange(STREAM):
            fact = json.loads(entry[b"fact"])
            if fact["type"] == "call.ended":
                yield fact["call"]


def _judge_journal(house: _House, outcome: Outcome) -> None:
    """What the calls left behind has come to the journal, by workers of both releases."""

    def ended() -> int:
        said = json.loads(house.run("journal", "--json").stdout or "{}")
        return int(said.get("calls", 0)) - int(said.get("live", 0))

    end = time.monotonic() + 60
    while (found := ended()) < outcome.calls and time.monotonic() < end:
        gevent.sleep(0.2)
    if found != outcome.calls:
        outcome.wrong.append(f"the journal has {found} ended calls of {outcome.calls}")


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def main(arguments: Sequence[str]) -> int:
    """The long form: hundreds of calls, there and back and there again."""
    parser = argparse.ArgumentParser(prog="make chaos ONLY=upgrade")
    parser.add_argument("--rate", type=float, default=8.0, help="calls a second")
    parser.add_argument("--least", type=int, default=200, help="calls that are live when it begins")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        outcome = play(Path(directory), rate=given.rate, least=given.least, back=True)
    doing = ", ".join(f"{number} {name}" for name, number in sorted(outcome.during.items()))
    print(f"upgraded from {OLD} to {NEXT}, back and again, with calls: {doing}")
    print(f"  calls in all {outcome.calls}, handed over {outcome.handed_over}; requests of the API {outcome.requests}")
    print(f"  the last upgrade took {outcome.seconds:.1f} s")
    for line in outcome.wrong:
        print(f"  WRONG {line}")
    print("  nothing was lost" if not outcome.wrong else f"  {len(outcome.wrong)} things are wrong")
    return 1 if outcome.wrong else 0
