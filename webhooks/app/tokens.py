"""The tokens of the API: made and printed once, found by their hash, revoked.

A token is ``cbt_`` and 32 random bytes.  Only its SHA-256 is kept: whoever reads the database cannot use what they
find.  A fast hash is enough, since nobody can guess 256 bits; and finding by the hash takes as long for a wrong token
as for a right one, since what is compared is not what was sent.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from workers.journal.database import Database
from workers.journal.tables import Token

#: What each role is for is in ``door``.
ROLES = ("operator", "consumer", "agent")
#: How often it is noted that a token was used, seconds.
NOTED = 60.0

_FORM = re.compile(r"cbt_[A-Za-z0-9_-]{43}")


class TokenError(Exception):
    """A token that cannot be made; ``str()`` says why."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a token.  ``company`` None: an operator of every company; ``person``: the extension of an agent."""

    token: str
    name: str
    role: str
    company: str | None
    person: str | None


def create(
    database: Database,
    role: str,
    name: str,
    *,
    company: str | None = None,
    person: str | None = None,
    days: float | None = None,
    now: float | None = None,
) -> tuple[str, str]:
    """Make a token: its id, and itself, which nobody can be told again.  ``days``: it expires after so many.

    Raises TokenError.
    """
    if role not in ROLES:
        raise TokenError(f"a role is one of {', '.join(ROLES)}")
    if role != "operator" and company is None:
        raise TokenError(f"the token of a role {role} needs a company")
    if (role == "agent") != (person is not None):
        raise TokenError("an agent's token, and no other, needs a person: their extension")
    now = time.time() if now is None else now
    secret = f"cbt_{secrets.token_urlsafe(32)}"
    row = Token(
        id=f"tok_{uuid.uuid4().hex[:24]}",
        hash=_hash(secret),
        company=company,
        role=role,
        person=person,
        name=name,
        created_at=now,
        expires_at=None if days is None else now + days * 86_400,
    )
    with database.writing() as session:
        session.add(row)
    return row.id, secret


def find(database: Database, secret: str, now: float | None = None) -> Holder | None:
    """Whose token this is; None: nobody's, or it has expired or was revoked."""
    now = time.time() if now is None else now
    if _FORM.fullmatch(secret) is None:
        return None
    with database.reading() as session:
        row = session.scalar(select(Token).where(Token.hash == _hash(secret)))
    if row is None or row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
        return None
    if row.used_at is None or row.used_at <= now - NOTED:
        _note(database, row.id, now)
    return Holder(row.id, row.name, row.role, row.company, row.person)


def _note(database: Database, token: str, now: float) -> None:
    """Note that a token was used.  Nobody's request fails for it, or waits for who writes just now."""
    due = or_(Token.used_at.is_(None), Token.used_at <= now - NOTED)
    try:
        with database.writing(wait=False) as session:
            session.execute(update(Token).where(Token.id == token, due).values(used_at=now))
    except SQLAlchemyError:
        pass


def revoke(database: Database, token: str, now: float | None = None) -> bool:
    """Revoke the token with this id.  False: there is none, or it was revoked before."""
    with database.writing() as session:
        done = session.execute(
            update(Token)
            .where(Token.id == token, Token.revoked_at.is_(None))
            .values(revoked_at=time.time() if now is None else now)
            .returning(Token.id)
        )
        return done.first() is not None


def every(database: Database) -> Sequence[Token]:
    """Every token, the newest first."""
    with database.reading() as session:
        return session.scalars(select(Token).order_by(Token.created_at.desc(), Token.id)).all()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("ascii")).hexdigest()
