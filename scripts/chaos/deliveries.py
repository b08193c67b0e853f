"""Facts at 50 a second, subscribers of whom 30 % fail, a process of ``cordboard work`` killed every 20 s: what arrives?

    python -m scripts.chaos.deliveries                the whole: 10,000 facts, some four minutes (``make chaos``)

The whole road is the real one: facts come into the stream, as the shipper puts them there; ``cordboard work`` (watcher,
journal, two workers of webhooks, sweeper …) does all the rest, and any of its processes is killed with -9, each once
before one is killed twice.  Twenty companies have an endpoint each, and calls of four facts, each of which makes one
event.  Six of them fail, each in its way, two of three times (one every time): 500, connection reset, silence, 429 with
Retry-After, an answer cut short.

After the storm everybody is well, and time is made to pass: what waits for its next attempt is due at once.  The
account is the subscribers' own: what they got, by id, verified by the reference library.  The delay of the first
attempt is from the fact's moment to the attempt.
"""

from __future__ import annotations

import argparse
import dataclasses
import http.server
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
import sqlalchemy as sa
from standardwebhooks import Webhook

from callcontrol.embedded import EmbeddedRedis
from callcontrol.supervisor import die_with_parent
from callcontrol.switchboard import STREAM
from workers.delivery import endpoints
from workers.journal.database import Database
from workers.journal.ingest import event_id
from workers.journal.migrating import migrate
from workers.journal.tables import Attempt, Delivery, Endpoint, Event

#: How the failing ones fail; the last fails every time.
KINDS = ("500", "reset", "silence", "429", "cut", "dead")
#: Healthy endpoints' first attempts shall have begun so soon after the fact, 95 of 100; seconds.
GOAL = 0.5
#: The processes that are killed.
ROLES = ("journal", "delivery-1", "delivery-2", "watcher", "sweeper", "housekeeper", "mail")
#: A call's facts, and the event that comes of each.
STORY: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("call.started", "call.started", {"from": "+79161112233", "to": "+78432000000", "version": "v1"}),
    ("call.answered", "call.answered", {}),
    ("talk.started", "call.connected", {"with": "301", "leg": "leg"}),
    ("call.ended", "call.ended", {"cause": "NORMAL_CLEARING", "by": "caller", "seconds": 6, "answered": True}),
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything.  The defaults are what ``make chaos`` does."""

    facts: int = 10_000
    rate: float = 50.0
    companies: int = 20
    kill_every: float = 20.0
    #: How long the rest may take, seconds.
    patience: float = 80.0


SHORT = Sizes(facts=160, kill_every=0.7, patience=60.0)


@dataclass(slots=True)
class Figures:
    """What came of it; times in seconds."""

    facts: int = 0
    received: int = 0
    missing: int = 0
    strange: int = 0
    unverified: int = 0
    repeats: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    failed_attempts: int = 0
    first_p50: float = 0.0
    first_p95: float = 0.0
    first_worst: float = 0.0
    #: Of that, from the fact to its event in the journal.
    journal_p95: float = 0.0
    storm: float = 0.0
    seconds: float = 0.0

    @property
    def whole(self) -> bool:
        """Everything arrived, and nothing that was not sent."""
        return not (self.missing or self.strange or self.unverified)

    def text(self) -> str:
        """For people."""
        killed = ", ".join(f"{role} {count}" for role, count in sorted(self.kills.items()))
        return (
            f"{self.facts} facts in {self.storm:.0f} s, all done after {self.seconds:.0f} s; killed: {killed}\n"
            f"  arrived: {self.received} of {self.facts} ({self.missing} missing, {self.strange} strange, "
            f"{self.unverified} with a wrong signature), {self.repeats} repeats, all under the same id\n"
            f"  attempts: {self.attempts}, of which {self.failed_attempts} failed\n"
            f"  from a fact to the first attempt at healthy endpoints: median {1000 * self.first_p50:.0f} ms, "
            f"p95 {1000 * self.first_p95:.0f} ms, slowest {1000 * self.first_worst:.0f} ms (goal: p95 under 500 ms); "
            f"to the journal: p95 {1000 * self.journal_p95:.0f} ms"
        )


# ------------------------------------------------------------------------------------------------ subscribers


@dataclass(slots=True)
class _Account:
    """What subscribers got: of each event how often, and whether it was verified."""

    got: Counter[tuple[int, str]] = field(default_factory=Counter)
    unverified: int = 0
    well: threading.Event = field(default_factory=threading.Event)
    secrets: dict[int, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 200

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A worker that was killed in the middle of something."""


def _subscribers(account: _Account, failing: dict[int, str], rng: random.Random) -> _Server:
    """All subscribers on one port: ``/7`` is the seventh's."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            number = int(self.path[1:])
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kind = failing.get(number)
            if kind and not account.well.is_set() and (kind == "dead" or rng.random() < 2 / 3):
                self._fail(kind)
                return
            try:
                event = Webhook(account.secrets[number]).verify(body, dict(self.headers))["id"]
            except Exception:
                event = None
            with account.lock:
                if event is None or event != self.headers["webhook-id"]:
                    account.unverified += 1
                else:
                    account.got[number, event] += 1
            self._answer(204)

        def _answer(self, status: int, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()

        def _fail(self, kind: str) -> None:
            self.close_connection = True
            if kind == "reset":
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            elif kind == "silence":
                account.well.wait(60)  # longer than anybody listens
            elif kind == "429":
                self._answer(429, Retry_After="1")
            elif kind == "cut":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            else:
                self._answer(500)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Nothing."""

    server = _Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


# ---------------------------------------------------------------------------------------------------- workers


class _Work:
    """``cordboard work`` itself, of whose processes one after the other is killed.  A context manager."""

    def __init__(self, directory: Path, redis_url: str, database: str, rng: random.Random) -> None:
        (directory / "esl.password").touch(0o600)
        (directory / "esl.password").write_text("secret")
        (directory / "cordboard.yaml").write_text(
            "switches: [{name: switch1, password_file: esl.password}]\nwebhooks: {private: [127.0.0.0/8]}\n"
        )
        self._log = directory / "work.log"
        self._command = [str(Path(sys.executable).parent / "cordboard"), "work", "--recordings", "none"]
        self._command += ["--config", str(directory / "cordboard.yaml"), "--redis", redis_url, "--database", database]
        self._command += ["--state", str(directory / "state"), "--spool", str(directory / "spool")]
        self._rng = rng
        self._turns: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self.kills: Counter[str] = Counter()

    def __enter__(self) -> _Work:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stderr=log, preexec_fn=die_with_parent)
        deadline = time.monotonic() + 60
        while not set(ROLES) <= set(self._pids()):
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"cordboard work did not start: {self.log()}")
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()  # its processes end with it
            self._process.wait()

    def kill_one(self) -> str:
        """Kill -9 one of the processes; its role.  "": it is not there just now."""
        self._turns = self._turns or self._rng.sample(ROLES, len(ROLES))
        role, pids = self._turns[-1], self._pids()
        if role not in pids:
            return ""
        os.kill(pids[role], signal.SIGKILL)
        self.kills[self._turns.pop()] += 1
        return role

    def log(self) -> str:
        """What they had to say, the last of it."""
        return self._log.read_text(errors="replace")[-2000:]

    def _pids(self) -> dict[str, int]:
        """The processes that live, by role."""
        told = re.findall(r"process started.* role=(\S+) pid=(\d+)", self._log.read_text(errors="replace"))
        pid = self._process.pid if self._process is not None else 0
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {role: int(child) for role, child in told if child in children}


# ------------------------------------------------------------------------------------------------- the storm


def run(sizes: Sizes, directory: Path, say: Any = print) -> Figures:
    """The storm, and the account.  ``directory``: for the database and all the rest."""
    began = time.monotonic()
    database = Database(f"sqlite:///{directory / 'journal.db'}")
    migrate(database)
    rng = random.Random(5)
    numbers = range(sizes.companies)
    some = rng.sample(numbers, max(1, round(0.3 * sizes.companies)))
    failing = dict(zip(some, KINDS * sizes.companies, strict=False))
    account = _Account()
    server = _subscribers(account, failing, rng)
    ids = {}
    with database.writing() as session:
        for number in numbers:
            url = f"http://127.0.0.1:{server.server_address[1]}/{number}"
            made, secret = endpoints.create(session, f"company{number}", url, [], "", time.time())
            ids[number], account.secrets[number] = made.id, secret
    try:
        with EmbeddedRedis(directory / "redis") as store, _Work(directory, store.url, str(database.url), rng) as work:
            stream = redis.Redis.from_url(store.url, socket_timeout=5)
            start = time.monotonic()
            expected = _storm(sizes, stream, work, account, say)
            storm = time.monotonic() - start
            stream.close()
            account.well.set()
            _rest(sizes, database, expected, account)
    finally:
        account.well.set()
        server.shutdown()
        server.server_close()
    figures = _figures(database, [ids[number] for number in numbers if number not in failing])
    figures.facts, figures.kills = len(expected), work.kills
    figures.storm, figures.seconds = storm, time.monotonic() - began
    figures.received = len(expected & set(account.got))
    figures.missing = len(expected - set(account.got))
    figures.strange = len(set(account.got) - expected)
    figures.unverified = account.unverified
    figures.repeats = account.got.total() - len(account.got)
    database.close()
    return figures


def _storm(sizes: Sizes, stream: Any, work: _Work, account: _Account, say: Any) -> set[tuple[int, str]]:
    """Facts, each at its moment, and kills; whose events, by number of the company, shall arrive."""
    expected: set[tuple[int, str]] = set()
    start = time.monotonic()
    kill_at = start + sizes.kill_every
    for n, (number, fact, type_) in enumerate(_facts(sizes)):
        time.sleep(max(0.0, start + n / sizes.rate - time.monotonic()))
        fact["at"] = round(time.time(), 3)
        stream.xadd(STREAM, {"fact": json.dumps(fact)})
        expected.add((number, event_id({**fact, "p": ""}, type_)))
        if time.monotonic() >= kill_at and (role := work.kill_one()):
            kill_at += sizes.kill_every
            say(f"{n + 1} facts, {len(account.got)} arrived, killed: {role}")
    return expected


def _facts(sizes: Sizes) -> Iterator[tuple[int, dict[str, Any], str]]:
    """Facts of calls, one of each company at a time: the company's number, the fact, and its event's type."""
    for n in range(sizes.facts):
        turn, number = divmod(n, sizes.companies)
        call, stage = divmod(turn, len(STORY))
        type_, event, data = STORY[stage]
        fact = {"v": 1, "type": type_, "company": f"company{number}", "epoch": 1, "n": stage + 1, "switch": "switch1"}
        yield number, {**fact, "call": str(uuid.UUID(int=call * 1000 + number + (4 << 76))), "data": data}, event


def _rest(sizes: Sizes, database: Database, expected: set[tuple[int, str]], account: _Account) -> None:
    """Wait until everything has arrived.  Meanwhile time is made to pass, again and again."""
    deadline = time.monotonic() + sizes.patience
    while not expected <= set(account.got) and time.monotonic() < deadline:
        now = time.time()
        with database.writing() as session:
            waiting = sa.update(Delivery).where(Delivery.state == "pending", Delivery.next_at > now)
            session.execute(waiting.values(next_at=now))
            alone = sa.update(Endpoint).where(Endpoint.open_until > now)
            session.execute(alone.values(open_until=None, failures=0))
        time.sleep(0.5)


def _figures(database: Database, healthy: Sequence[str]) -> Figures:
    figures = Figures()
    with database.reading() as session:
        first = (
            sa.select(sa.func.min(Attempt.at), Event.occurred_at, Event.created_at)
            .join(Delivery, Delivery.id == Attempt.delivery)
            .join(Event, Event.id == Delivery.event)
            .where(Delivery.endpoint.in_(healthy))
            .group_by(Delivery.id)
        )
        rows = session.execute(first).all()
        figures.attempts = session.scalar(sa.select(sa.func.count()).select_from(Attempt)) or 0
        good = Attempt.error.is_(None) & (Attempt.status >= 200) & (Attempt.status < 300)
        figures.failed_attempts = session.scalar(sa.select(sa.func.count()).select_from(Attempt).where(~good)) or 0
    if rows:
        delays = sorted(at - happened for at, happened, _ in rows)
        figures.first_p50 = delays[len(delays) // 2]
        figures.first_p95 = delays[int(len(delays) * 0.95)]
        figures.first_worst = delays[-1]
        figures.journal_p95 = sorted(journalled - happened for _, happened, journalled in rows)[int(len(rows) * 0.95)]
    return figures


def main(arguments: Sequence[str]) -> int:
    """0: everything came through in time; 1: it did not."""
    parser = argparse.ArgumentParser(prog="python -m scripts.chaos.deliveries")
    parser.add_argument("--facts", type=int, default=Sizes().facts)
    parser.add_argument("--short", action="store_true", help="the form that make test runs")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(list(arguments))
    sizes = SHORT if given.short else Sizes(facts=given.facts)
    print(f"about {sizes.facts / sizes.rate / 60:.1f} minutes and some; load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="cordboard-chaos-") as place:
        figures = run(sizes, Path(place), lambda text: print(text, file=sys.stderr, flush=True))
    if given.json:
        print(json.dumps(dataclasses.asdict(figures)))
    else:
        print(figures.text())
    return 0 if figures.whole and (given.short or figures.first_p95 < GOAL) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
