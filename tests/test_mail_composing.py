"""How a mail reads: in whose language, and what a caller cannot do to it."""

from __future__ import annotations

import email
import email.policy
import re
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from callcontrol import phrases
from workers.mail import composing
from workers.mail.composing import Owed, Sound, compose

DATA: dict[str, Any] = {
    "title": "Acme Windows",
    "timezone": "Europe/Moscow",
    "language": "en",
    "name": "Anna Petrova",
    "caller": "+79161234567",
    "called": "+74951234567",
    "recording": "rec_1",
    "seconds": 83.4,
    "at": 1_795_304_552.0,
}


def owed(kind: str = "message", **data: Any) -> Owed:
    return Owed("mail_0123", kind, "anna@acme.test", {**DATA, **data}, 1_795_304_560.0)


def read(mail: EmailMessage) -> EmailMessage:
    """The mail as whoever gets it reads it."""
    found = email.message_from_bytes(mail.as_bytes(), policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def text(mail: EmailMessage, kind: str = "plain") -> str:
    part = read(mail).get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def test_a_message_is_attached_and_says_who_called_when_and_for_how_long() -> None:
    mail = read(compose(owed(), "pbx@example.com", Sound(data=b"RIFF")))
    assert mail["Subject"] == "Message from +79161234567 (1:23)"
    assert mail["From"] == "Acme Windows <pbx@example.com>"
    assert mail["To"] == "Anna Petrova <anna@acme.test>"
    assert "+79161234567 left a message for Anna Petrova." in text(mail)
    assert "Time: 2026-11-22 02:42 (Europe/Moscow)\nNumber called: +74951234567\nLength: 1:23" in text(mail)
    (sound,) = mail.iter_attachments()
    assert (sound.get_content(), sound.get_content_type()) == (b"RIFF", "audio/wav")
    assert sound.get_filename() == "message-2026-11-22-0242.wav"


def test_a_message_that_is_long_is_linked() -> None:
    link = "https://s3.example.com/a.wav?X-Amz-Signature=1&b=2"
    mail = compose(owed(), "pbx@example.com", Sound(link=link, days=7))
    assert f"for 7 days:\n{link}\n" in text(mail)
    assert 'href="https://s3.example.com/a.wav?X-Amz-Signature=1&amp;b=2"' in text(mail, "html")
    assert not list(read(mail).iter_attachments())


def test_a_message_without_its_sound_says_where_it_is() -> None:
    assert "kept with the company's recordings" in text(compose(owed(), "pbx@example.com", Sound()))


def test_a_missed_call_has_no_sound_to_speak_of() -> None:
    mail = compose(owed("missed_call"), "pbx@example.com")
    assert read(mail)["Subject"] == "Missed call from +79161234567"
    assert "nobody took the call" in text(mail)
    assert "Length" not in text(mail)


def test_a_withheld_number_is_called_so() -> None:
    assert read(compose(owed(caller=None), "pbx@example.com"))["Subject"] == "Message from a withheld number (1:23)"


def test_an_alarm_is_for_the_operator() -> None:
    data = {"key": "endpoint/ep_1", "kind": "endpoint.paused", "text": "webhooks are\r\npaused", "at": 1_795_304_552.0}
    mail = compose(Owed("mail_1", "alarm", "ops@example.com", data, 1_795_304_560.0), "pbx@example.com")
    assert read(mail)["Subject"] == "Alarm: webhooks are paused"
    assert "endpoint/ep_1" in text(mail)


def test_the_same_row_is_the_same_mail() -> None:
    one, two = (compose(owed(), "pbx@example.com", Sound(data=b"x")) for _ in range(2))
    assert one["Message-ID"] == two["Message-ID"] == "<mail_0123@example.com>"
    assert one["Date"] == two["Date"]


def test_no_machine_is_to_answer() -> None:
    assert compose(owed(), "pbx@example.com")["Auto-Submitted"] == "auto-generated"


def test_every_language_that_cordboard_speaks_has_its_words() -> None:
    assert set(composing._WORDS) == {language for said in phrases.PHRASES.values() for language in said}


@pytest.mark.parametrize("language", sorted(composing._WORDS))
def test_every_language_fills_in_everything(language: str) -> None:
    for sound in (Sound(data=b"x"), Sound(link="https://x.test/", days=7), Sound()):
        mail = compose(owed(language=language), "pbx@example.com", sound)
        assert not re.search(r"[{}]", text(mail) + read(mail)["Subject"])
        assert "+79161234567" in read(mail)["Subject"]
        assert "Anna Petrova" in text(mail)
        assert f'<html lang="{language}">' in text(mail, "html")
    assert "+79161234567" in text(compose(owed("missed_call", language=language), "pbx@example.com"))


def test_a_language_without_words_reads_english_and_a_region_its_language() -> None:
    assert "left a message" in text(compose(owed(language="ja"), "pbx@example.com"))
    assert read(compose(owed(language="de-AT"), "pbx@example.com"))["Subject"].startswith("Nachricht von")


HOSTILE = st.text(max_size=80) | st.sampled_from(
    [
        "+7\r\nBcc: everybody@evil.test\r\n\r\nbody",
        "x\nSubject: y",
        "\u2028Bcc: a@b.test",
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "{name}{caller.__class__}%s",
        "\ud800\udfff",
        "\u202egnp.exe",
        "=?utf-8?q?=0D=0ABcc:_a=40b.test?=",
        "a" * 3000,
    ]
)


@settings(max_examples=40)
@example("\xc0" * 40 + " " * 9 + "x" * 70, "", "\xe9 \xe9" * 30, "a" * 79 + "\xe9", " ")
@given(caller=HOSTILE, called=HOSTILE, name=HOSTILE, title=HOSTILE, alarm=HOSTILE)
def test_no_caller_adds_a_header_a_recipient_or_a_tag(
    caller: str, called: str, name: str, title: str, alarm: str
) -> None:
    more = {"caller": caller, "called": called, "name": name, "title": title, "text": alarm, "key": alarm}
    for kind in ("message", "missed_call", "alarm"):
        mail = read(compose(owed(kind, **more), "pbx@example.com", Sound()))
        usual = {"from", "to", "subject", "date", "message-id", "auto-submitted", "x-auto-response-suppress"}
        assert {key.lower() for key in mail} == usual | {"mime-version", "content-type"}
        assert mail["To"].addresses[0].addr_spec == "anna@acme.test"
        assert len(mail["To"].addresses) == 1
        assert mail["From"].addresses[0].addr_spec == "pbx@example.com"
        assert "\n" not in str(mail["Subject"])
        tags = set(re.findall(r"<[^>]*>", text(mail, "html")))
        assert tags == {"<!doctype html>", '<html lang="en">', '<meta charset="utf-8">', "<body>", "<p>", "<br>"} | {
            "</p>",
            "</body>",
            "</html>",
        }


@given(
    data=st.dictionaries(
        st.sampled_from(sorted(DATA)),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
    )
)
def test_a_row_with_nonsense_is_a_mail_all_the_same(data: dict[str, Any]) -> None:
    for kind in ("message", "missed_call", "alarm"):
        assert read(compose(owed(kind, **data), "pbx@example.com", Sound()))["Subject"]
