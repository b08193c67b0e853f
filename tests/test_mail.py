"""Mail: who is owed which, and how it reaches a real server that is slow, wrong, dead, or suspicious of us."""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from sqlalchemy import select

from callcontrol import settings as s
from callcontrol.routing.load import load_text
from callcontrol.routing.model import Routing
from workers.context import Context
from workers.journal.database import Database
from workers.journal.tables import Alarm, Base, Call, Leg, Mail, QueueVisit, Recording, Segment
from workers.mail import jobs, owing
from workers.mail.jobs import GIVE_UP, LEASE, PAUSES, Sender
from workers.mail.sending import Patience
from workers.mail.sound import MOST

NOW = 1_795_304_552.0
TLS = Path(__file__).parent / "tls"
#: Whoever answers at all does so at once.
QUICK = Patience(answer=2.0, whole=5.0)


# -------------------------------------------------------------------------------------------- the catching server


@dataclass
class Catcher:
    """A real SMTP server, and what it does with whom: ``says`` an answer to a recipient, or to ``DATA``."""

    tls: ssl.SSLContext | None = None
    starttls: bool = False
    password: str | None = None
    says: dict[str, str] = field(default_factory=dict)
    caught: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    were_tls: list[bool] = field(default_factory=list)
    port: int = 0

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, sender: str, options: Any) -> str:
        if "MAIL" in self.says:
            return self.says["MAIL"]
        envelope.mail_from = sender
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, to: str, options: Any) -> str:
        if to in self.says:
            return self.says[to]
        envelope.rcpt_tos.append(to)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if "DATA" in self.says:
            return self.says["DATA"]
        assert isinstance(envelope.content, bytes)
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.caught.append(mail)
        self.recipients += envelope.rcpt_tos
        self.were_tls.append(server.transport is not None and bool(server.transport.get_extra_info("ssl_object")))
        return "250 OK"

    def authenticated(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=data.password == (self.password or "").encode())

    def protocol(self) -> SMTP:
        auth: dict[str, Any] = {}
        if self.password is not None:
            auth = {"authenticator": self.authenticated, "auth_required": True, "auth_require_tls": False}
        context = self.tls if self.starttls else None
        return SMTP(self, tls_context=context, require_starttls=self.starttls, hostname="crm.test", **auth)

    @contextlib.contextmanager
    def running(self) -> Iterator[Catcher]:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        made = loop.create_server(self.protocol, "127.0.0.1", self.port, ssl=None if self.starttls else self.tls)
        server = asyncio.run_coroutine_threadsafe(made, loop).result(10)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(server.close)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()


@pytest.fixture
def catcher() -> Iterator[Catcher]:
    with Catcher().running() as server:
        yield server


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'journal.db'}")
    Base.metadata.create_all(database.engine)
    yield database
    database.close()


def context(database: Database, port: int, **mail: Any) -> Context:
    """A company's mail server is at this port."""
    known = {"host": "127.0.0.1", "sender": "pbx@example.com", "port": port, **mail}
    config = s.Config(switches=(), mail=s.Mail(**known), storage=s.Storage("sounds"), alarms="ops@example.com")
    root = Path(str(database.url.database)).parent
    return Context(config=config, redis_url="", database=database, state=root, spool=root)


def owe(database: Database, id_: str = "mail_1", to: str = "anna@acme.test", at: float = NOW, **more: Any) -> None:
    """A mail of a missed call is owed."""
    data = {"title": "Acme", "name": "Anna", "timezone": "Europe/Moscow", "language": "en", "caller": "+7916", "at": at}
    known = {"kind": "missed_call", "data": data, "company": "acme", "call": "c1", "created_at": at, "next_at": at}
    with database.writing() as session:
        session.add(Mail(id=id_, recipient=to, **{**known, **more}))


def mails(database: Database) -> dict[str, Mail]:
    with database.reading() as session:
        return {mail.id: mail for mail in session.scalars(select(Mail))}


def alarms(database: Database) -> list[str]:
    with database.reading() as session:
        return [f"{alarm.kind}: {alarm.text}" for alarm in session.scalars(select(Alarm))]


def drain(where: Context, now: float = NOW, **more: Any) -> bool:
    return Sender(where, now=lambda: now, patience=QUICK, **more).drain()


# ------------------------------------------------------------------------------------------------------- sending


class TestSending:
    """What is due reaches the server, and what the server says is understood."""

    def test_what_is_due_is_sent_and_marked(self, database: Database, catcher: Catcher) -> None:
        owe(database)
        owe(database, "mail_2", "boris@acme.test")
        assert not drain(context(database, catcher.port))
        assert sorted(catcher.recipients) == ["anna@acme.test", "boris@acme.test"]
        assert {mail["Message-ID"] for mail in catcher.caught} == {f"<mail_{n}@example.com>" for n in (1, 2)}
        assert {(mail.state, mail.sent_at) for mail in mails(database).values()} == {("sent", NOW)}

    def test_what_was_sent_is_not_sent_again(self, database: Database, catcher: Catcher) -> None:
        owe(database)
        for later in (0, LEASE + 1, GIVE_UP):
            drain(context(database, catcher.port), NOW + later)
        assert len(catcher.caught) == 1

    def test_what_is_not_due_waits(self, database: Database, catcher: Catcher) -> None:
        owe(database, next_at=NOW + 5)
        drain(context(database, catcher.port))
        assert not catcher.caught

    def test_a_recipient_who_is_refused_has_failed_with_an_alarm_and_the_next_is_sent(
        self, database: Database, catcher: Catcher
    ) -> None:
        catcher.says["anna@acme.test"] = "550 no such user"
        owe(database)
        owe(database, "mail_2", "boris@acme.test", at=NOW - 0.5)
        owe(database, "mail_3", "boris@acme.test")
        drain(context(database, catcher.port))
        assert catcher.recipients == ["boris@acme.test", "boris@acme.test"]
        assert mails(database)["mail_1"].state == "failed"
        assert alarms(database) == [
            "mail: mail of acme to anna@acme.test could not be sent: the server said 550 no such user"
        ]

    def test_a_mail_that_is_refused_has_failed(self, database: Database, catcher: Catcher) -> None:
        catcher.says["DATA"] = "554 we think that this is spam"
        owe(database)
        drain(context(database, catcher.port))
        assert (mails(database)["mail_1"].state, len(alarms(database))) == ("failed", 1)

    @pytest.mark.parametrize(
        ("answer", "state"), [("553 you are not pbx@example.com", "pending"), ("552 too big", "failed")]
    )
    def test_a_sender_who_is_refused_fails_no_mail_but_one_that_is_too_big(
        self, database: Database, catcher: Catcher, answer: str, state: str
    ) -> None:
        catcher.says["MAIL"] = answer
        owe(database)
        assert not drain(context(database, catcher.port))
        assert mails(database)["mail_1"].state == state

    def test_an_alarm_that_cannot_be_mailed_makes_no_alarm(self, database: Database, catcher: Catcher) -> None:
        catcher.says["ops@example.com"] = "550 no"
        owe(database, to="ops@example.com", kind="alarm", data={"text": "x", "key": "y", "at": NOW})
        drain(context(database, catcher.port))
        assert mails(database)["mail_1"].state == "failed"
        assert not alarms(database)

    def test_a_server_that_says_later_is_asked_later_and_later(self, database: Database, catcher: Catcher) -> None:
        catcher.says["anna@acme.test"] = "451 try again later"
        owe(database)
        now, pauses = NOW, []
        while (mail := mails(database)["mail_1"]).state == "pending":
            pauses.append(mail.next_at - now)
            now = mail.next_at
            drain(context(database, catcher.port), now)
        assert tuple(pauses[1 : len(PAUSES) + 1]) == PAUSES
        assert set(pauses[len(PAUSES) + 1 :]) == {PAUSES[-1]}
        assert GIVE_UP - PAUSES[-1] < now - NOW <= GIVE_UP
        assert "two days were not enough: the server said 451" in alarms(database)[0]

    def test_a_greylisted_mail_keeps_no_other_waiting(self, database: Database, catcher: Catcher) -> None:
        catcher.says["anna@acme.test"] = "451 try again later"
        owe(database)
        owe(database, "mail_2", "boris@acme.test", at=NOW)
        drain(context(database, catcher.port))
        assert catcher.recipients == ["boris@acme.test"]
        del catcher.says["anna@acme.test"]
        drain(context(database, catcher.port), NOW + PAUSES[0])
        assert catcher.recipients == ["boris@acme.test", "anna@acme.test"]

    def test_a_dead_server_costs_one_try_and_no_mail(self, database: Database, catcher: Catcher) -> None:
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            dead = free.getsockname()[1]
        for n in range(3):
            owe(database, f"mail_{n}")
        assert not drain(context(database, dead))
        assert sorted(mail.attempts for mail in mails(database).values()) == [0, 0, 1]
        assert "ConnectionRefusedError" in (mails(database)["mail_0"].why or "")
        drain(context(database, catcher.port), NOW + PAUSES[0])
        assert len(catcher.caught) == 3

    def test_a_server_that_trickles_is_left_alone_in_the_end(self, database: Database) -> None:
        """Each of its bytes comes in time, and they would never end."""
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
            port, stop = listener.getsockname()[1], threading.Event()

            def trickle() -> None:
                peer, _ = listener.accept()
                with contextlib.closing(peer), contextlib.suppress(OSError):
                    while not stop.wait(0.05):
                        peer.sendall(b"2")

            thread = threading.Thread(target=trickle, daemon=True)
            thread.start()
            owe(database)
            slow = Sender(context(database, port), now=lambda: NOW, patience=Patience(answer=30.0, whole=0.4))
            assert not slow.drain()
            stop.set()
            thread.join(10)
        assert (mails(database)["mail_1"].state, mails(database)["mail_1"].leased_until) == ("pending", 0.0)

    def test_a_server_that_says_nothing_is_left_alone(self, database: Database) -> None:
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
            owe(database)
            mute = Patience(answer=0.2, whole=30.0)
            assert not Sender(context(database, listener.getsockname()[1]), now=lambda: NOW, patience=mute).drain()
        assert mails(database)["mail_1"].state == "pending"

    def test_a_server_that_speaks_no_smtp_is_a_trouble_and_no_crash(self, database: Database) -> None:
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:

            def answer() -> None:
                peer, _ = listener.accept()
                with contextlib.closing(peer):
                    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

            thread = threading.Thread(target=answer, daemon=True)
            thread.start()
            owe(database)
            assert not drain(context(database, listener.getsockname()[1]))
            thread.join(10)
        assert mails(database)["mail_1"].state == "pending"

    def test_an_address_that_is_none_has_failed(self, database: Database, catcher: Catcher) -> None:
        owe(database, to="anna@acme.test\r\nRCPT TO:<x@y.test>")
        drain(context(database, catcher.port))
        assert mails(database)["mail_1"].state == "failed"
        assert not catcher.recipients

    def test_without_a_server_nothing_is_kept_for_another_day(self, database: Database) -> None:
        owe(database)
        where = context(database, 1)
        where.config = replace(where.config, mail=None)
        assert not drain(where)
        assert mails(database)["mail_1"].why == "cordboard.yaml names no mail server"


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
class TestSecurity:
    """TLS is verified, and a password is given to nobody else."""

    @pytest.fixture(autouse=True)
    def _crm_test(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """``crm.test`` is here, and the authority of the tests is trusted."""
        real = socket.getaddrinfo

        def here(host: Any, *args: Any, **kwargs: Any) -> Any:
            return real("127.0.0.1" if host == "crm.test" else host, *args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", here)
        monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "ca.pem"))

    @pytest.fixture
    def certificate(self) -> ssl.SSLContext:
        found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        found.load_cert_chain(TLS / "crm.pem")
        return found

    @pytest.mark.parametrize("security", ["starttls", "tls"])
    def test_a_mail_goes_by_tls(self, database: Database, certificate: ssl.SSLContext, security: str) -> None:
        owe(database)
        with Catcher(tls=certificate, starttls=security == "starttls").running() as server:
            drain(context(database, server.port, host="crm.test", security=security))
        assert server.were_tls == [True]

    @pytest.mark.parametrize("security", ["starttls", "tls"])
    def test_a_certificate_that_nobody_vouches_for_gets_no_mail(
        self, database: Database, certificate: ssl.SSLContext, security: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("SSL_CERT_FILE")
        owe(database)
        with Catcher(tls=certificate, starttls=security == "starttls").running() as server:
            assert not drain(context(database, server.port, host="crm.test", security=security))
        assert not server.caught
        assert "CERTIFICATE_VERIFY_FAILED" in (mails(database)["mail_1"].why or "")

    def test_a_certificate_of_somebody_else_gets_no_mail(self, database: Database, certificate: ssl.SSLContext) -> None:
        owe(database)
        with Catcher(tls=certificate, starttls=True).running() as server:
            drain(context(database, server.port, host="127.0.0.1", security="starttls"))
        assert not server.caught

    def test_a_server_without_starttls_gets_no_mail_in_the_clear(self, database: Database, catcher: Catcher) -> None:
        owe(database)
        assert not drain(context(database, catcher.port, host="crm.test", security="starttls"))
        assert not catcher.caught
        assert mails(database)["mail_1"].state == "pending"

    def password(self, tmp_path: Path, text: str, mode: int = 0o600) -> Path:
        path = tmp_path / "smtp-password"
        path.write_text(text)
        path.chmod(mode)
        return path

    def test_the_user_and_the_password_are_given(self, database: Database, tmp_path: Path) -> None:
        owe(database)
        with Catcher(password="geheim").running() as server:
            file = self.password(tmp_path, "geheim\n")
            drain(context(database, server.port, user="pbx", password=file))
        assert len(server.caught) == 1

    def test_a_password_that_is_refused_is_the_operators_to_mend_and_fails_no_mail(
        self, database: Database, tmp_path: Path
    ) -> None:
        owe(database)
        with Catcher(password="geheim").running() as server:
            wrong = context(database, server.port, user="pbx", password=self.password(tmp_path, "wrong"))
            assert not drain(wrong)
            assert mails(database)["mail_1"].state == "pending"
            drain(context(database, server.port, user="pbx", password=self.password(tmp_path, "geheim")), NOW + 60)
        assert len(server.caught) == 1

    def test_a_password_that_others_can_read_is_not_used(self, database: Database, tmp_path: Path) -> None:
        owe(database)
        with Catcher(password="geheim").running() as server:
            drain(context(database, server.port, user="pbx", password=self.password(tmp_path, "geheim", 0o644)))
        assert not server.caught
        assert "chmod 600" in (mails(database)["mail_1"].why or "")


# ---------------------------------------------------------------------------------------------- leases and kills

_KILLED = """
import os, signal, sys
from pathlib import Path
from callcontrol import settings as s
from workers.context import Context
from workers.journal.database import Database
from workers.mail.jobs import Sender

config = s.Config(switches=(), mail=s.Mail(host="127.0.0.1", sender="pbx@example.com", port=int(sys.argv[2])))
where = Context(config, "", Database(sys.argv[1]), Path("."), Path("."))
sender = Sender(where, now=lambda: float(sys.argv[3]))
sender._mark = lambda *args, **more: os.kill(os.getpid(), signal.SIGKILL)
sender.drain()
"""


class TestKills:
    """A lease: who has a mail has it alone, and not for ever."""

    def test_who_is_killed_between_sending_and_marking_sends_the_same_mail_again(
        self, database: Database, catcher: Catcher
    ) -> None:
        owe(database)
        command = [sys.executable, "-c", _KILLED, str(database.url), str(catcher.port), str(NOW)]
        killed = subprocess.run(command, cwd=Path(__file__).parent.parent, timeout=60, check=False, env=os.environ)
        assert killed.returncode == -signal.SIGKILL
        assert len(catcher.caught) == 1
        drain(context(database, catcher.port), NOW + LEASE - 1)
        assert len(catcher.caught) == 1
        drain(context(database, catcher.port), NOW + LEASE)
        assert [mail["Message-ID"] for mail in catcher.caught] == ["<mail_1@example.com>"] * 2
        assert (mails(database)["mail_1"].state, mails(database)["mail_1"].attempts) == ("sent", 2)

    def test_two_senders_never_have_the_same_mail(self, database: Database, catcher: Catcher) -> None:
        owe(database)
        one, two = (Sender(context(database, catcher.port), now=lambda: NOW) for _ in range(2))
        assert one._take() is not None
        assert two._take() is None

    def test_who_is_so_late_that_another_has_the_mail_marks_nothing(self, database: Database, catcher: Catcher) -> None:
        owe(database)
        where = context(database, catcher.port)
        late = Sender(where, now=lambda: NOW)
        mail = late._take()
        assert mail is not None
        assert Sender(where, now=lambda: NOW + LEASE)._take() is not None
        late._failed(mail, "too late")
        assert (mails(database)["mail_1"].state, alarms(database)) == ("pending", [])

    def test_a_job_rings_again_if_there_is_more_than_it_has_time_for(
        self, database: Database, catcher: Catcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        owe(database, at=1.0)
        rings: list[str] = []
        monkeypatch.setattr(jobs, "current", lambda: context(database, catcher.port))
        monkeypatch.setattr("workers.bell.ring", lambda where, queue: rings.append(queue))
        monkeypatch.setattr(jobs, "DRAIN", 0.0)
        assert jobs.send()
        monkeypatch.setattr(jobs, "DRAIN", 20.0)
        assert not jobs.send()
        assert rings == ["mail"]


# ------------------------------------------------------------------------------------------------- who is owed what

COMPANY = """
cordboard: 1
company: Acme Windows
country: RU
timezone: Europe/Moscow
languages: [en, ru]
numbers: {"+74951234567": {flow: reception}}
people:
  301: {name: Anna Petrova, email: anna@acme.test, notify: [messages, missed], language: ru}
  302: {name: Boris Orlov, email: boris@acme.test}
  303: {name: Chiara Rossi, email: chiara@acme.test, notify: []}
  304: {name: Denis Popov}
flows: {reception: {all: {dial: [{to: [301, 302, 303, 304], ring: 20s}], otherwise: hangup}}}
"""


@pytest.fixture(scope="module")
def routing() -> Routing:
    loaded = load_text(COMPANY, path="acme.yaml", company="acme")
    assert loaded.routing is not None, loaded.problems
    return loaded.routing


@pytest.fixture
def known(routing: Routing) -> Callable[[str], Routing | None]:
    return {"acme": routing}.get


AVAILABLE = {"type": "recording.available", "company": "acme", "call": "c1"}


def fact(**data: Any) -> dict[str, Any]:
    return {**AVAILABLE, "data": {"recording": "rec_1", "kind": "message", **data}}


def ended(company: str = "acme") -> dict[str, Any]:
    return {"type": "call.ended", "company": company, "call": "c1", "data": {}}


def a_call(**more: Any) -> Call:
    known = {"company": "acme", "caller": "+79161234567", "called": "+74951234567", "began": NOW, "missed": True}
    return Call(id="c1", **{**known, **more})


@dataclass
class Owing:
    """What is owed for a fact, with rows beside it."""

    database: Database
    routing_of: Callable[[str], Routing | None]

    def __call__(self, fact: dict[str, Any], call: Call | None, *rows: Any) -> list[tuple[str, str]]:
        with self.database.writing() as session:
            for row in (call, *rows):
                if row is not None:
                    session.merge(row)
            session.flush()
            owing.owe(session, fact, call, self.routing_of, NOW)
        return sorted((mail.kind, mail.recipient) for mail in mails(self.database).values())


@pytest.fixture
def owed(database: Database, known: Callable[[str], Routing | None]) -> Owing:
    return Owing(database, known)


def message(people: list[str], company: str = "acme") -> Recording:
    return Recording(id="rec_1", company=company, call="c1", kind="message", people=people, began=NOW, seconds=23.4)


def rang(person: str, n: int = 1, rung_at: float | None = NOW) -> Leg:
    return Leg(id=f"l{n}", call="c1", company="acme", person=person, address=person, rung_at=rung_at)


class TestMessages:
    """A message that is stored."""

    def test_everybody_it_is_for_gets_it_who_has_an_address_and_wants_it(self, owed: Owing) -> None:
        found = owed(fact(), a_call(), message(["301", "302", "303", "304", "999"]))
        assert found == [("message", "anna@acme.test"), ("message", "boris@acme.test")]

    def test_the_row_has_what_the_text_is_made_of(self, owed: Owing) -> None:
        owed(fact(), a_call(), message(["301"]))
        (mail,) = mails(owed.database).values()
        assert mail.data == {
            "title": "Acme Windows",
            "timezone": "Europe/Moscow",
            "language": "ru",
            "name": "Anna Petrova",
            "caller": "+79161234567",
            "called": "+74951234567",
            "recording": "rec_1",
            "seconds": 23.4,
            "at": NOW,
        }
        assert (mail.created_at, mail.next_at, mail.call) == (NOW, NOW, "c1")

    def test_it_is_owed_once_however_often_it_is_told(self, owed: Owing) -> None:
        assert owed(fact(), a_call(), message(["301"])) == owed(fact(), a_call()) == [("message", "anna@acme.test")]

    def test_the_recording_of_a_talk_is_no_message(self, owed: Owing) -> None:
        assert owed(fact(kind="talk"), a_call(), message(["301"])) == []

    def test_another_companys_message_is_nobodys(self, owed: Owing) -> None:
        assert owed(fact(), a_call(), message(["301"], company="volga")) == []

    def test_a_company_that_is_gone_has_nobody(self, owed: Owing) -> None:
        gone = replace(owed, routing_of=lambda company: None)
        assert gone(fact(), a_call(), message(["301"])) == []

    @pytest.mark.parametrize("data", [None, [], {"kind": "message"}, {"kind": "message", "recording": ["rec_1"]}])
    def test_a_fact_that_says_nonsense_owes_nothing(self, owed: Owing, data: Any) -> None:
        assert owed({**AVAILABLE, "data": data}, a_call(), message(["301"])) == []


class TestMissedCalls:
    """A call from outside that nobody took."""

    def test_the_one_whose_telephones_rang_gets_it_if_they_asked_for_it(self, owed: Owing) -> None:
        assert owed(ended(), a_call(), rang("301"), rang("301", 2)) == [("missed_call", "anna@acme.test")]

    def test_nobody_gets_it_by_default(self, owed: Owing) -> None:
        assert owed(ended(), a_call(), rang("302")) == []

    def test_a_call_that_rang_several_is_nobodys_own(self, owed: Owing) -> None:
        assert owed(ended(), a_call(), rang("301"), rang("302", 2)) == []

    def test_a_number_outside_that_rang_too_counts_as_somebody(self, owed: Owing) -> None:
        assert owed(ended(), a_call(), rang("301"), rang("", 2)) == []

    def test_a_telephone_that_was_barred_did_not_ring(self, owed: Owing) -> None:
        assert owed(ended(), a_call(), rang("301"), rang("302", 2, rung_at=None)) == [("missed_call", "anna@acme.test")]

    def test_an_offer_of_a_queue_is_not_a_persons_own_call(self, owed: Owing) -> None:
        visit = QueueVisit(id=1, call="c1", company="acme", queue="sales", joined_at=NOW, offers=1)
        assert owed(ended(), a_call(), rang("301"), visit) == []

    def test_who_waited_in_a_queue_that_had_nobody_has_missed_the_person_before_it(self, owed: Owing) -> None:
        visit = QueueVisit(id=1, call="c1", company="acme", queue="sales", joined_at=NOW, offers=0)
        assert owed(ended(), a_call(), rang("301"), visit) == [("missed_call", "anna@acme.test")]

    def test_a_call_with_a_message_has_its_mail_with_the_message(self, owed: Owing) -> None:
        assert owed(ended(), a_call(message=True), rang("301")) == []

    def test_a_call_that_was_taken_is_not_missed(self, owed: Owing) -> None:
        assert owed(ended(), a_call(missed=False), rang("301")) == []

    def test_an_end_that_claims_another_company_owes_nothing(self, owed: Owing) -> None:
        assert owed(ended("volga"), a_call(), rang("301")) == []


class TestAlarms:
    """What must not go unnoticed reaches the operator."""

    def raised(self, database: Database, at: float, cleared: float | None = None) -> None:
        with database.writing() as session:
            session.merge(
                Alarm(key="endpoint/ep_1", company="acme", kind="x", text="y", raised_at=at, cleared_at=cleared)
            )

    def owe(self, database: Database) -> int:
        with database.writing() as session:
            return owing.owe_alarms(session, "ops@example.com", NOW)

    def test_an_alarm_is_mailed_once(self, database: Database) -> None:
        self.raised(database, NOW - 60)
        assert (self.owe(database), self.owe(database)) == (1, 0)

    def test_raised_again_it_is_mailed_again(self, database: Database) -> None:
        self.raised(database, NOW - 60)
        self.owe(database)
        self.raised(database, NOW - 5)
        assert self.owe(database) == 1

    def test_a_hundred_alarms_at_once_are_one_mail_and_each_is_told_once(
        self, database: Database, catcher: Catcher
    ) -> None:
        with database.writing() as session:
            for n in range(120):
                session.add(
                    Alarm(key=f"endpoint/{n}", company="acme", kind="endpoint.paused", text=f"<{n}> is paused",
                          raised_at=NOW - 120 + n, cleared_at=None)
                )  # fmt: skip
        assert (self.owe(database), self.owe(database)) == (120, 0)
        drain(context(database, catcher.port))
        (mail,) = catcher.caught
        assert mail["Subject"] == "120 alarms: <0> is paused"
        body = mail.get_body(("plain",))
        assert body is not None
        text = body.get_content()
        assert [n for n in range(120) if f": <{n}> is paused" in text] == list(range(100))
        assert "And 20 more." in text
        self.raised(database, NOW - 5)
        assert self.owe(database) == 1
        drain(context(database, catcher.port))
        assert len(catcher.caught) == 2

    def test_what_is_over_or_old_is_no_news(self, database: Database) -> None:
        self.raised(database, NOW - 60, cleared=NOW - 5)
        assert self.owe(database) == 0
        self.raised(database, NOW - 3 * 24 * 3600)
        assert self.owe(database) == 0

    def test_the_housekeeper_owes_them_and_rings(
        self, database: Database, catcher: Catcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rings: list[str] = []
        monkeypatch.setattr("workers.bell.ring", lambda where, queue: rings.append(queue))
        where = context(database, catcher.port)
        self.raised(database, NOW - 60)
        owed = [jobs.owe_alarms(where, lambda: NOW) for _ in range(2)]
        assert (owed, rings) == ([1, 0], ["mail"])
        drain(where)
        assert catcher.recipients == ["ops@example.com"]
        where.config = replace(where.config, alarms=None)
        self.raised(database, NOW - 5)
        assert jobs.owe_alarms(where, lambda: NOW) == 0


# ------------------------------------------------------------------------------------------------------- the sound


@dataclass
class FakeStore:
    """A store, as ``workers.recordings.store.Store`` is one."""

    sounds: dict[str, bytes] = field(default_factory=lambda: {"acme/c1/m1.wav": b"RIFF sound"})
    away: bool = False

    def fetch(self, key: str, sha256: str | None = None) -> bytes:
        if self.away:
            raise OSError("the store is away")
        return self.sounds[key]

    def presigned(self, key: str, seconds: int, filename: str) -> str:
        return f"https://s3.example.com/{key}?X-Amz-Expires={seconds}&name={filename}"


class TestSound:
    """Attached, linked, or neither."""

    @pytest.fixture(autouse=True)
    def _stored(self, database: Database) -> None:
        data = {"title": "Acme", "name": "Anna", "recording": "rec_1", "seconds": 3, "caller": "+7916", "at": NOW}
        owe(database, kind="message", data=data)
        with database.writing() as session:
            session.add(message(["301"]))
            session.flush()
            segment = {"file": "m1.wav", "recording": "rec_1", "company": "acme", "call": "c1", "number": 1}
            session.add(Segment(**segment, state="stored", expected_at=NOW, key="acme/c1/m1.wav", bytes=10))

    def change(self, database: Database, table: Any, key: str, **values: Any) -> None:
        with database.writing() as session:
            row = session.get_one(table, key)
            for name, value in values.items():
                setattr(row, name, value)

    def test_a_message_comes_with_its_sound(self, database: Database, catcher: Catcher) -> None:
        drain(context(database, catcher.port), store=FakeStore)
        (sound,) = catcher.caught[0].iter_attachments()
        assert sound.get_content() == b"RIFF sound"

    def test_a_long_one_is_linked(self, database: Database, catcher: Catcher) -> None:
        self.change(database, Segment, "m1.wav", bytes=MOST + 1)
        drain(context(database, catcher.port), store=FakeStore)
        assert not list(catcher.caught[0].iter_attachments())
        plain = catcher.caught[0].get_body(("plain",))
        assert plain is not None
        assert "acme/c1/m1.wav?X-Amz-Expires=604800&name=message-2026-11-21.wav" in plain.get_content()

    def test_a_store_that_is_away_is_asked_again_and_then_the_mail_goes_without(
        self, database: Database, catcher: Catcher
    ) -> None:
        now = NOW
        for _ in range(3):
            drain(context(database, catcher.port), now, store=lambda: FakeStore(away=True))
            now = mails(database)["mail_1"].next_at
            assert not catcher.caught
        drain(context(database, catcher.port), now, store=lambda: FakeStore(away=True))
        assert len(catcher.caught) == 1

    def test_a_store_that_comes_back_gives_the_sound(self, database: Database, catcher: Catcher) -> None:
        drain(context(database, catcher.port), store=lambda: FakeStore(away=True))
        drain(context(database, catcher.port), NOW + PAUSES[0], store=FakeStore)
        assert len(list(catcher.caught[0].iter_attachments())) == 1

    def test_a_message_that_was_deleted_meanwhile_is_not_told(self, database: Database, catcher: Catcher) -> None:
        self.change(database, Recording, "rec_1", state="deleted")
        drain(context(database, catcher.port), store=FakeStore)
        assert not catcher.caught
        assert (mails(database)["mail_1"].state, alarms(database)) == ("failed", [])

    def test_without_a_store_the_mail_says_where_the_message_is(self, database: Database, catcher: Catcher) -> None:
        where = context(database, catcher.port)
        where.config = replace(where.config, storage=None)
        drain(where)
        assert not list(catcher.caught[0].iter_attachments())
