"""Sends the mails that are due, one after the other, for at most 20 s.  A job of RQ: see ``workers.bell``.

A mail is leased before it is sent and marked after it: who is killed between leaves it to the next, who sends it again
under the same Message-ID.  At least once, and rarely twice; never not at all and not said: after two days, or a word of
the server that is final, the mail has failed, and an alarm says so.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from callcontrol.settings import Mail as Settings
from workers import bell
from workers.context import Context, current
from workers.journal.tables import Alarm, Mail
from workers.mail import owing
from workers.mail.composing import Owed, Sound, compose
from workers.mail.sending import PATIENCE, NotSent, Patience, Refused
from workers.mail.sending import send as send_one
from workers.mail.sound import Deleted, Store, Unfetched, sound_of
from workers.stopping import told

#: A job goes on for so long, seconds; the bell's own limit is 60.
DRAIN = 20.0
#: Nobody else takes a mail that is being sent, seconds: longer than a job may live.
LEASE = 90.0
#: Seconds to the next try; the last again and again, until GIVE_UP after the mail was owed.
PAUSES = (30.0, 120.0, 600.0, 1800.0, 3600.0, 2 * 3600.0, 4 * 3600.0)
GIVE_UP = 48 * 3600.0
#: So often the sound is attached; then it is left out or linked, in case it is what cannot be sent.
ATTACHED = 3


def send() -> bool:
    """Send what is due; True: there is more, and the bell was rung for it."""
    context = current()
    more = Sender(context).drain()
    if more:
        bell.ring(context.redis_url, "mail")
    return more


def owe_alarms(context: Context, now: Callable[[], float] = time.time) -> int:
    """Owe the operator the alarms that were not mailed yet, and ring; how many.  For the housekeeper, each minute."""
    address = context.config.alarms
    if address is None or context.config.mail is None:
        return 0
    with context.database.writing() as session:
        owed = owing.owe_alarms(session, address, now())
    if owed:
        bell.ring(context.redis_url, "mail")
    return owed


class Sender:
    """One drain.  ``store``: made when a sound is wanted; ``now``: the clock."""

    def __init__(
        self,
        context: Context,
        *,
        store: Callable[[], Store] | None = None,
        patience: Patience = PATIENCE,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._context = context
        self._store = store or (lambda: _store(context))
        self._patience = patience
        self._now = now

    def drain(self) -> bool:
        """Send what is due; whether more is.  Raises SQLAlchemyError."""
        settings = self._context.config.mail
        if settings is None:
            self._nobody_to_send()
            return False
        until = time.monotonic() + DRAIN
        while time.monotonic() < until and not told():
            mail = self._take()
            if mail is None:
                return False
            if not self._send(settings, mail):
                return False  # the next would meet the same; the sweeper rings when one is due
        return not told()  # whoever comes after this process is rung for by the sweeper

    # -------------------------------------------------------------------------------------------------- one mail

    def _take(self) -> Mail | None:
        """Lease the mail that has been due longest."""
        now = self._now()
        due = (Mail.state == "pending", Mail.next_at <= now, Mail.leased_until <= now)
        first = select(Mail).where(*due).order_by(Mail.next_at, Mail.id).limit(1).with_for_update(skip_locked=True)
        with self._context.database.writing() as session:
            mail = session.scalars(first).first()
            if mail is not None:
                mail.leased_until = now + LEASE
                mail.attempts += 1
            return mail

    def _send(self, settings: Settings, mail: Mail) -> bool:
        """Send it and mark it.  False: the server is not to be had."""
        log = structlog.get_logger("mail").bind(mail=mail.id, kind=mail.kind, attempt=mail.attempts)
        try:
            owed = Owed(mail.id, mail.kind, mail.recipient, mail.data, mail.created_at)
            send_one(settings, compose(owed, settings.sender, self._sound(mail)), mail.recipient, self._patience)
        except Deleted:
            self._mark(mail, state="failed", why="the message was deleted before the mail was sent")
        except (Refused, ValueError) as error:
            log.error("a mail was refused", why=str(error))
            self._failed(mail, str(error))
        except (NotSent, Unfetched) as error:
            log.warning("a mail was not sent", why=str(error))
            self._again(mail, str(error))
            return not (isinstance(error, NotSent) and error.theirs)
        else:
            self._mark(mail, state="sent", sent_at=self._now(), why=None)
        return True

    def _sound(self, mail: Mail) -> Sound | None:
        recording = mail.data.get("recording")
        if mail.kind != "message" or not isinstance(recording, str):
            return None
        try:
            return sound_of(self._context, self._store, recording, attach=mail.attempts <= ATTACHED)
        except Unfetched:
            if mail.attempts <= ATTACHED:
                raise
            return Sound()  # a mail without its sound is better than none

    # -------------------------------------------------------------------------------------------------- its row

    def _again(self, mail: Mail, why: str) -> None:
        next_at = self._now() + PAUSES[min(mail.attempts, len(PAUSES)) - 1]
        if next_at > mail.created_at + GIVE_UP:
            self._failed(mail, f"two days were not enough: {why}")
        else:
            self._mark(mail, next_at=next_at, why=why)

    def _failed(self, mail: Mail, why: str) -> None:
        self._mark(mail, alarm=mail.kind != "alarm", state="failed", why=why)

    def _mark(self, mail: Mail, *, alarm: bool = False, **values: Any) -> None:
        """Write what became of it, with its alarm; whoever had the lease after us has the last word."""
        ours = (Mail.id == mail.id, Mail.state == "pending", Mail.leased_until == mail.leased_until)
        with self._context.database.writing() as session:
            marked = session.execute(update(Mail).where(*ours).values(leased_until=0.0, **values).returning(Mail.id))
            if marked.first() is not None and alarm:
                self._alarm(session, mail, str(values["why"]))

    def _alarm(self, session: Session, mail: Mail, why: str) -> None:
        """One for each recipient: an address that is wrong is wrong for every mail."""
        text = f"mail of {mail.company or 'nobody'} to {mail.recipient} could not be sent: {why}"
        key = f"mail/{mail.company or ''}/{mail.recipient}"[:200]
        known = session.get(Alarm, key)
        if known is None:
            session.add(
                Alarm(key=key, company=mail.company, kind="mail", text=text, raised_at=self._now(), cleared_at=None)
            )
        elif known.cleared_at is not None:
            known.text, known.raised_at, known.cleared_at = text, self._now(), None

    def _nobody_to_send(self) -> None:
        """There is no server: what is owed is not kept for the day on which there is one."""
        with self._context.database.writing() as session:
            session.execute(
                update(Mail)
                .where(Mail.state == "pending")
                .values(state="failed", why="cordboard.yaml names no mail server")
            )


def _store(context: Context) -> Store:
    """The store of recordings: boto3 is loaded when there is a sound to fetch, and not before."""
    module = importlib.import_module("workers.recordings.store")
    found: Store = module.Store(context.config.storage, module.Patience(5.0, 8.0, 500_000.0))
    return found
