"""What a worker of webhooks does a second: deliveries that are due already, to a subscriber that answers at once.

One worker, in this process, as it is: claimed, signed, sent over a connection of its own, written on SQLite on this
machine's disk.  The subscriber is a process of its own, so that the CPU here is the worker's.

    python -m scripts.bench.deliveries      the subscriber; says its port
"""

from __future__ import annotations

import contextlib
import socketserver
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from callcontrol.settings import networks
from callcontrol.supervisor import die_with_parent
from scripts.bench.outcome import BenchError
from workers.delivery import endpoints
from workers.delivery.jobs import Deliverer
from workers.delivery.owing import owe
from workers.delivery.reaching import Reach
from workers.delivery.sending import attempt
from workers.journal.database import Database
from workers.journal.migrating import migrate
from workers.journal.tables import Event


def measure(directory: Path, count: int, to: int) -> dict[str, Any]:
    """Send ``count`` deliveries to ``to`` endpoints.  Raises BenchError if they are not all delivered."""
    directory.mkdir()
    database = Database(f"sqlite:///{directory / 'journal.db'}")
    migrate(database)
    with _subscriber() as port:
        _owe(database, count, to, f"http://127.0.0.1:{port}/")
        reach = Reach(networks("127.0.0.0/8"))
        sent = 0

        def send(claimed: Any) -> Any:
            nonlocal sent
            outcome = attempt(reach, claimed.letter)
            sent += outcome.delivered
            return outcome

        worker = Deliverer(database, send, seconds=60.0)
        began, cpu = time.monotonic(), time.process_time()
        worker.drain()
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    database.close()
    if sent != count:
        raise BenchError(f"{sent} of {count} deliveries arrived")
    return {"endpoints": to, "deliveries": count, "per_second": count / seconds, "cpu_ms": 1000 * cpu / count}


def _owe(database: Database, count: int, to: int, url: str) -> None:
    with database.writing() as session:
        for n in range(to):
            endpoints.create(session, f"company{n}", url, [], "", time.time())
    with database.writing() as session:
        for n in range(count):
            now = time.time()
            event = Event(
                id=f"evt_{n:024x}",
                company=f"company{n % to}",
                type="call.started",
                occurred_at=now,
                created_at=now,
                data={"caller": "+79161112233", "called": "+78432000000"},
            )
            session.add(event)
            session.flush()
            owe(session, [event], now)


@contextlib.contextmanager
def _subscriber() -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.bench.deliveries"], stdout=subprocess.PIPE, preexec_fn=die_with_parent
    )
    try:
        said = process.stdout.readline() if process.stdout else b""
        if not said:
            raise BenchError("the subscriber did not start")
        yield int(said)
    finally:
        process.kill()
        process.communicate()


class _Answers(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        length = 0
        while (line := self.rfile.readline().strip().lower()) != b"":
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        self.rfile.read(length)  # what is left unread when a connection is closed resets it
        self.wfile.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 200


if __name__ == "__main__":
    with _Server(("127.0.0.1", 0), _Answers) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
