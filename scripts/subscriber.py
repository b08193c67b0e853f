"""A subscriber as a customer would write one: takes webhooks, checks them with the reference library, keeps account.

``python -m scripts.subscriber DIRECTORY`` listens on a free port of loopback and says where in ``DIRECTORY/url``; the
secret is read from ``DIRECTORY/secret``.  What comes is kept in ``DIRECTORY/received.jsonl``, a line for each, written
before it is answered: so what was confirmed is there, whatever happens to this process.

Two troubles can be ordered by a file with the type of an event in it.  ``DIRECTORY/fails``: the next of that type is
answered with 503, as by one who is just being deployed, and the file goes.  ``DIRECTORY/holds``: those of that type are
written down, and answered when the file is gone.

It knows nothing of Cordboard but what Standard Webhooks and the catalogue say.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from callcontrol.supervisor import die_with_parent

#: No event is longer, bytes.
LONGEST = 256 * 1024
#: Nothing is held for longer, seconds.
HELD = 20.0


@dataclass(frozen=True, slots=True)
class Account:
    """What came: how many events, how often one came again, what was refused, and which numbers of calls are missing.

    ``gaps``: by call, the numbers (``sequence``) below the highest that never came.
    """

    events: int
    repeats: int
    refused: int
    types: Mapping[str, int]
    gaps: Mapping[str, tuple[int, ...]]


def account(received: Iterable[Mapping[str, Any]]) -> Account:
    """The account of what was received, line by line."""
    seen: dict[str, Mapping[str, Any]] = {}
    repeats = refused = 0
    for one in received:
        if one["refused"]:
            refused += 1
        elif one["id"] in seen:
            repeats += 1
        else:
            seen[one["id"]] = one
    numbers: dict[str, set[int]] = defaultdict(set)
    for one in seen.values():
        if one["call"] is not None and one["sequence"] is not None:
            numbers[one["call"]].add(one["sequence"])
    missing = {call: tuple(sorted({*range(1, max(had) + 1)} - had)) for call, had in numbers.items()}
    types = Counter(one["type"] for one in seen.values())
    return Account(len(seen), repeats, refused, types, {call: gap for call, gap in missing.items() if gap})


def read(directory: Path) -> list[dict[str, Any]]:
    """What was received so far."""
    try:
        text = (directory / "received.jsonl").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines()]


def judge(headers: Mapping[str, str], body: bytes, secret: str) -> dict[str, Any]:
    """What is kept of one delivery; ``refused`` says why it is not to be believed, or is empty."""
    kept: dict[str, Any] = {"at": time.time(), "id": headers.get("webhook-id", ""), "refused": ""}
    kept |= {"type": "", "call": None, "sequence": None}
    try:
        event = Webhook(secret).verify(body, dict(headers))
        kept |= {name: event[name] for name in ("type", "call", "sequence")}
        if event["id"] != kept["id"]:
            kept["refused"] = "the event has another id than the delivery"
    except (WebhookVerificationError, ValueError, KeyError, TypeError) as error:
        kept["refused"] = f"{type(error).__name__}: {error}"[:200]
    return kept


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Taker)
        self.directory = directory
        self.lock = threading.Lock()

    def answer(self, headers: Mapping[str, str], body: bytes) -> int:
        """Take one, or be in the trouble that was ordered; the status."""
        if self._ordered("fails", body):
            with suppress(FileNotFoundError):
                (self.directory / "fails").unlink()
                return 503
        good = self.keep(headers, body)
        end = time.monotonic() + HELD
        while self._ordered("holds", body) and time.monotonic() < end:
            time.sleep(0.02)
        return 204 if good else 401

    def _ordered(self, trouble: str, body: bytes) -> bool:
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            return bool((self.directory / trouble).read_text() == json.loads(body)["type"])
        return False

    def keep(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Judge and write down; whether it was good."""
        try:
            secret = (self.directory / "secret").read_text().strip()
        except FileNotFoundError:
            secret = ""
        kept = judge(headers, body, secret)
        with self.lock, (self.directory / "received.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(kept) + "\n")
        return not kept["refused"]


class _Taker(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_POST(self) -> None:
        """Take a webhook."""
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LONGEST:
            self._answer(413)
            return
        body = self.rfile.read(int(length))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._answer(self.server.answer(headers, body))

    def _answer(self, code: int) -> None:
        with suppress(OSError):  # whoever asked may be gone meanwhile
            self.send_response(code)
            if code == 413:
                self.close_connection = True
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Its account says it better."""


def main() -> None:
    """Serve until killed, or until the parent is gone."""
    directory = Path(sys.argv[1])
    die_with_parent()
    server = _Server(directory)
    unborn = directory / ".url"
    unborn.write_text(f"http://127.0.0.1:{server.server_address[1]}/events")
    os.replace(unborn, directory / "url")
    server.serve_forever()


if __name__ == "__main__":
    main()
