"""Events at 50 a second to subscribers of whom 30 % fail, and a worker killed every 20 s: what came through?

    python -m scripts.chaos.deliveries                the whole: 10,000 events, some four minutes (``make chaos``)
    python -m scripts.chaos.deliveries worker DB …    one of the workers: drains what is due, again and again

Twenty companies have an endpoint each, events go round.  Six of them fail, each in its way, two of three times (one
every time): 500, connection reset, silence, 429 with Retry-After, an answer cut short.  Two workers share the work; one
after the other is killed with -9.

After the storm everybody is well, and time is made to pass: workers are stopped, what waits for its next attempt or for
a dead worker's lease is due at once, and the rest is delivered.  The account is the subscribers' own: what they got, by
id, verified by the reference library.  The delay of the first attempt is from the event's row to the attempt.
"""

from __future__ import annotations

import argparse
import dataclasses
import http.server
import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from standardwebhooks import Webhook

from callcontrol.settings import networks
from callcontrol.supervisor import die_with_parent
from workers.delivery import endpoints
from workers.delivery.jobs import Deliverer
from workers.delivery.owing import owe
from workers.delivery.reaching import Reach
from workers.delivery.sending import attempt
from workers.journal.database import Database
from workers.journal.migrating import migrate
from workers.journal.tables import Attempt, Delivery, Endpoint, Event

#: How the failing ones fail; the last fails every time.
KINDS = ("500", "reset", "silence", "429", "cut", "dead")
LOCAL = "127.0.0.0/8"
#: Healthy endpoints' first attempts shall have begun so soon, 95 of 100; seconds.
GOAL = 0.5


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything.  The defaults are what ``make chaos`` does."""

    events: int = 10_000
    rate: float = 50.0
    companies: int = 20
    kill_every: float = 20.0
    #: An attempt's deadline, seconds.
    whole: float = 15.0
    #: How long the rest may take.
    patience: float = 120.0


SHORT = Sizes(events=150, kill_every=0.7, whole=1.5, patience=60.0)


@dataclass(slots=True)
class Figures:
    """What came of it."""

    events: int = 0
    received: int = 0
    missing: int = 0
    strange: int = 0
    unverified: int = 0
    repeats: int = 0
    kills: int = 0
    attempts: int = 0
    failed_attempts: int = 0
    first_p50: float = 0.0
    first_p95: float = 0.0
    first_worst: float = 0.0
    seconds: float = 0.0

    @property
    def whole(self) -> bool:
        """Everything arrived, and nothing that was not sent."""
        return not (self.missing or self.strange or self.unverified)

    def text(self) -> str:
        """For people."""
        return (
            f"{self.events} events in {self.seconds:.0f} s, {self.kills} workers killed\n"
            f"  arrived: {self.received} of {self.events} ({self.missing} missing, {self.strange} strange, "
            f"{self.unverified} with a wrong signature), {self.repeats} repeats, all under the same id\n"
            f"  attempts: {self.attempts}, of which {self.failed_attempts} failed\n"
            f"  first attempt at healthy endpoints: median {1000 * self.first_p50:.0f} ms, "
            f"p95 {1000 * self.first_p95:.0f} ms, slowest {1000 * self.first_worst:.0f} ms (goal: p95 under 500 ms)"
        )


# ------------------------------------------------------------------------------------------------ subscribers


@dataclass(slots=True)
class _Account:
    """What subscribers got: of each event how often, and whether it was verified."""

    got: Counter[tuple[int, str]] = field(default_factory=Counter)
    unverified: int = 0
    well: bool = False
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
            if kind and not account.well and (kind == "dead" or rng.random() < 2 / 3):
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
                self.connection.settimeout(60)
                self.connection.recv(1)  # until the other side gives up
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


class _Workers:
    """Two workers, of which one after the other is killed.  A context manager."""

    def __init__(self, database: str, whole: float) -> None:
        self._command = [sys.executable, "-m", "scripts.chaos.deliveries", "worker", database, str(whole)]
        self._processes: list[subprocess.Popen[bytes]] = []
        self.kills = 0

    def __enter__(self) -> _Workers:
        self._processes = [self._start() for _ in range(2)]
        for process in self._processes:
            if process.stdout is None or not select.select([process.stdout], [], [], 60)[0]:
                raise RuntimeError("a worker did not start")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def kill_one(self) -> bool:
        """Kill -9 one, and start another in its place, as a supervisor does.  False: the other does not work yet."""
        place = self.kills % len(self._processes)
        other = self._processes[place - 1].stdout
        if other is None or not select.select([other], [], [], 0)[0]:
            return False
        self._processes[place].send_signal(signal.SIGKILL)
        self._processes[place].communicate()
        self._processes[place] = self._start()
        self.kills += 1
        return True

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdout=subprocess.PIPE, preexec_fn=die_with_parent)


def work(database: str, whole: float) -> None:
    """One worker: what RQ's would do at each ring, without RQ."""
    reach = Reach(networks(LOCAL), whole=whole)
    deliverer = Deliverer(Database(database), lambda claimed: attempt(reach, claimed.letter))
    print("ready", flush=True)
    while True:
        deliverer.drain()
        time.sleep(0.02)


# ------------------------------------------------------------------------------------------------- the storm


def run(sizes: Sizes, directory: Path, say: Any = print) -> Figures:
    """The storm, and the account.  ``directory``: for the database."""
    began = time.monotonic()
    database = Database(f"sqlite:///{directory / 'journal.db'}")
    migrate(database)
    rng = random.Random(5)
    numbers = range(sizes.companies)
    failing = dict(
        zip(rng.sample(numbers, max(1, round(0.3 * sizes.companies))), KINDS * sizes.companies, strict=False)
    )
    account = _Account()
    server = _subscribers(account, failing, rng)
    ids = {}
    with database.writing() as session:
        for number in numbers:
            url = f"http://127.0.0.1:{server.server_address[1]}/{number}"
            made, secret = endpoints.create(session, f"company{number}", url, [], "", time.time())
            ids[number], account.secrets[number] = made.id, secret
    sent: set[tuple[int, str]] = set()
    try:
        with _Workers(str(database.url), sizes.whole) as workers:
            kill_at = time.monotonic() + sizes.kill_every
            start = time.monotonic()
            for n in range(sizes.events):
                time.sleep(max(0.0, start + n / sizes.rate - time.monotonic()))
                sent.add(_happen(database, n, n % sizes.companies))
                if time.monotonic() >= kill_at and workers.kill_one():
                    kill_at = time.monotonic() + sizes.kill_every
                    say(f"{n + 1} events, {len(account.got)} arrived, {workers.kills} workers killed")
            kills = workers.kills
        account.well = True
        _time_passes(database)
        with _Workers(str(database.url), sizes.whole):
            deadline = time.monotonic() + sizes.patience
            while not sent <= set(account.got) and time.monotonic() < deadline:
                time.sleep(0.1)
    finally:
        server.shutdown()
        server.server_close()
    figures = _figures(database, [ids[number] for number in numbers if number not in failing])
    figures.events, figures.kills, figures.seconds = len(sent), kills, time.monotonic() - began
    figures.received = len(sent & set(account.got))
    figures.missing = len(sent - set(account.got))
    figures.strange = len(set(account.got) - sent)
    figures.unverified = account.unverified
    figures.repeats = account.got.total() - len(account.got)
    database.close()
    return figures


def _happen(database: Database, n: int, number: int) -> tuple[int, str]:
    """An event, as the journal writes it."""
    with database.writing() as session:
        now = time.time()
        event = Event(
            id=f"evt_{n:024x}",
            company=f"company{number}",
            call=None,
            type="call.started",
            sequence=None,
            occurred_at=now,
            created_at=now,
            data={"n": n, "caller": "+79161112233"},
        )
        session.add(event)
        session.flush()
        owe(session, event, now)
    return number, event.id


def _time_passes(database: Database) -> None:
    """What waits for a moment is due; nobody is at work."""
    now = time.time()
    with database.writing() as session:
        waiting = sa.update(Delivery).where(Delivery.state == "pending")
        session.execute(waiting.values(next_at=now, leased_until=0.0))
        session.execute(sa.update(Endpoint).values(open_until=None, failures=0))


def _figures(database: Database, healthy: Sequence[str]) -> Figures:
    figures = Figures()
    with database.reading() as session:
        delays = sorted(
            float(first or 0.0) - created
            for first, created in session.execute(
                sa.select(Delivery.first_attempt_at, Delivery.created_at).where(
                    Delivery.endpoint.in_(healthy), Delivery.first_attempt_at.is_not(None)
                )
            )
        )
        figures.attempts = session.scalar(sa.select(sa.func.count()).select_from(Attempt)) or 0
        good = Attempt.error.is_(None) & (Attempt.status >= 200) & (Attempt.status < 300)
        figures.failed_attempts = session.scalar(sa.select(sa.func.count()).select_from(Attempt).where(~good)) or 0
    if delays:
        figures.first_p50 = delays[len(delays) // 2]
        figures.first_p95 = delays[int(len(delays) * 0.95)]
        figures.first_worst = delays[-1]
    return figures


def main(arguments: Sequence[str]) -> int:
    """0: everything came through in time; 1: it did not."""
    if arguments[:1] == ["worker"]:
        work(arguments[1], float(arguments[2]))
    parser = argparse.ArgumentParser(prog="python -m scripts.chaos.deliveries")
    parser.add_argument("--events", type=int, default=Sizes().events)
    parser.add_argument("--short", action="store_true", help="the form that make test runs")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(list(arguments))
    sizes = SHORT if given.short else Sizes(events=given.events)
    print(
        f"about {sizes.events / sizes.rate / 60:.1f} minutes and some; load {os.getloadavg()[0]:.1f}", file=sys.stderr
    )
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
