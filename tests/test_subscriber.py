"""The demo's subscriber and mailbox: an account that shows what is missing must itself be right."""

from __future__ import annotations

import datetime as dt
import json
import smtplib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from scripts import mailbox, subscriber

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def event(id_: str = "evt_1", sequence: int | None = 1, call: str | None = "c1") -> dict[str, Any]:
    return {"id": id_, "type": "call.started", "version": 1, "company": "acme", "call": call, "sequence": sequence}


def signed(what: dict[str, Any], secret: str = SECRET) -> tuple[dict[str, str], bytes]:
    body, now = json.dumps(what), dt.datetime.now(dt.UTC)
    signature = Webhook(secret).sign(what["id"], now, body)
    headers = {"webhook-id": what["id"], "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
    return headers, body.encode()


def came(*events: dict[str, Any]) -> subscriber.Account:
    return subscriber.account([subscriber.judge(*signed(one), SECRET) for one in events])


def test_what_is_signed_with_its_secret_is_believed() -> None:
    assert came(event()).types == {"call.started": 1}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (signed(event(), "whsec_" + "A" * 32)[0], signed(event())[1]),
        (signed(event())[0], signed(event())[1].replace(b"acme", b"evil")),
        ({**signed(event())[0], "webhook-id": "evt_2"}, signed(event())[1]),
        ({}, signed(event())[1]),
        signed({"id": "evt_1"}),
    ],
)
def test_what_is_not_is_refused_with_a_reason(headers: dict[str, str], body: bytes) -> None:
    kept = subscriber.judge(headers, body, SECRET)
    assert kept["refused"]
    assert subscriber.account([kept]).refused == 1


def test_an_event_that_comes_again_is_one_event_and_a_repeat() -> None:
    account = came(event(), event(), event("evt_2", 2))
    assert (account.events, account.repeats, account.gaps) == (2, 1, {})


def test_numbers_that_never_came_are_gaps_of_their_call() -> None:
    account = came(event("a", 1), event("b", 4), event("c", 1, "c2"), event("d", None, None))
    assert account.gaps == {"c1": (2, 3)}


@contextmanager
def serving(module: str, directory: Path, said: str) -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-m", module, str(directory)])
    try:
        end = time.monotonic() + 20
        while not (directory / said).exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        yield (directory / said).read_text()
    finally:
        process.kill()
        process.wait()


def test_over_http_the_good_are_confirmed_and_kept_and_the_bad_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    with serving("scripts.subscriber", tmp_path, "url") as url:

        def post(headers: dict[str, str], body: bytes) -> int:
            try:
                with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=5) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                return error.code

        assert [post(*signed(event())), post(signed(event())[0], b"{}")] == [204, 401]
    assert [bool(one["refused"]) for one in subscriber.read(tmp_path)] == [False, True]


def test_trouble_that_is_ordered_comes_once_and_a_held_event_is_kept_before_it_is_answered(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "fails").write_text("call.started")
    with serving("scripts.subscriber", tmp_path, "url") as url:
        headers, body = signed(event())
        asked = urllib.request.Request(url, body, headers)
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(asked, timeout=5)
        (tmp_path / "holds").write_text("call.started")
        with pytest.raises(TimeoutError):
            urllib.request.urlopen(asked, timeout=0.3)
        (tmp_path / "holds").unlink()
        with urllib.request.urlopen(asked, timeout=5) as answer:
            assert answer.status == 204
    account = subscriber.account(subscriber.read(tmp_path))
    assert (account.events, account.repeats, account.refused) == (1, 1, 0)


def test_mail_is_kept_as_it_came(tmp_path: Path) -> None:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "A message", "pbx@cordboard.test", "anna@acme.test"
    mail.set_content("Press play.")
    mail.add_attachment(b"RIFF", maintype="audio", subtype="wav", filename="message.wav")
    with serving("scripts.mailbox", tmp_path, "address") as address:
        host, port = address.split(":")
        with smtplib.SMTP(host, int(port), timeout=5) as server:
            server.send_message(mail)
    (caught,) = mailbox.read(tmp_path)
    assert (caught["Subject"], [part.get_filename() for part in caught.iter_attachments()]) == (
        "A message",
        ["message.wav"],
    )
