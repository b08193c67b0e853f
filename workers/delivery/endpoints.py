"""Endpoints: where a company wants its events, for which of them, and signed with what.

Every function is for a transaction of the caller's, and asks for the company: an endpoint of another one is as unknown
as one that never was.  An address is judged here for what can be seen of it; whether it leads to a private network is
decided anew at every attempt (``reaching``), since a name server may change its mind.

Where the surprise lies: resolving a name takes time, and only ``http`` needs it; look into it
(:func:`checked_url`) before the transaction begins, not in it.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import secrets
from collections.abc import Sequence
from urllib.parse import urlsplit

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from webhooks.events.catalogue import CATALOGUE
from workers.delivery.reaching import Reach, Unreached
from workers.delivery.settling import alarm_key, cancel_pending
from workers.journal.tables import Alarm, Endpoint, Secret
from workers.journal.telling import tell

#: Endpoints of one company that are not deleted.
MOST_ENDPOINTS = 20
#: Characters of an address and of a description, filters of an endpoint, secrets that are live.
LONGEST_URL, LONGEST_DESCRIPTION = 1000, 200
MOST_FILTERS = 50
MOST_SECRETS = 4
#: How long a secret goes on signing after a new one was made, seconds; the default and the most.
OVERLAP, LONGEST_OVERLAP = 24 * 3600.0, 7 * 24 * 3600.0

_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?", re.IGNORECASE)
#: What resolvers take for an IPv4 address: its last part is a number, also an octal or a hexadecimal one.
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)\.?", re.IGNORECASE)


class UnknownEndpoint(Exception):
    """The company has no such endpoint."""


class RefusedEndpoint(Exception):
    """What was asked for cannot be; ``field`` says what is wrong (``url events description state overlap``)."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field


# ------------------------------------------------------------------------------------------------- the rules


def checked_url(url: str, reach: Reach) -> str:
    """The address, if an endpoint may have it.  Raises RefusedEndpoint; may take as long as a name server."""
    if len(url) > LONGEST_URL:
        raise RefusedEndpoint("url", f"an address has {LONGEST_URL} characters at most")
    if not url.isascii() or not url.isprintable() or set(url) & set(' "<>\\^`{|}'):
        raise RefusedEndpoint("url", "write the address in plain ASCII: others as %XX, names of hosts as xn--…")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise RefusedEndpoint("url", "this is no web address") from None
    if parts.scheme not in ("https", "http") or not host or port == 0:
        raise RefusedEndpoint("url", "write an address such as https://crm.example.com/hooks")
    if "@" in parts.netloc:
        raise RefusedEndpoint("url", "an address has no user and no password: check the signature instead")
    if "[" in parts.netloc and ":" not in host:  # an address of a version that there is not yet (RFC 3986)
        raise RefusedEndpoint("url", "its host is neither a name nor an IP address in its usual form")
    if "#" in url:
        raise RefusedEndpoint("url", "an address has no fragment (#)")
    address = _literal(host)
    if address is not None:
        if not reach.admits(address, secure=parts.scheme == "https"):
            raise RefusedEndpoint("url", _refusal(parts.scheme))
    elif parts.scheme == "http":
        try:
            found = reach.resolve(host, port or 80)
        except Unreached:
            found = []
        if not found or not all(reach.allows(one) for one in found):
            raise RefusedEndpoint("url", _refusal("http"))
    return url


def _literal(host: str) -> str | None:
    """The IP address that a host is; None: a name.  Raises RefusedEndpoint for what only looks like one of them."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    if ":" in host or "%" in host or not _NAME.fullmatch(host) or _NUMBER.fullmatch(host.rstrip(".").split(".")[-1]):
        raise RefusedEndpoint("url", "its host is neither a name nor an IP address in its usual form")
    return None


def _refusal(scheme: str) -> str:
    if scheme == "http":
        return "write https: without TLS only networks are reached that the operator allows (webhooks: private)"
    return "this address is not public, and the operator does not allow it (webhooks: private)"


def checked_events(events: Sequence[str]) -> list[str]:
    """The filters, each once: types of the catalogue or ``queue.*``; empty: everything.  Raises RefusedEndpoint."""
    if len(events) > MOST_FILTERS:
        raise RefusedEndpoint("events", f"an endpoint has {MOST_FILTERS} filters at most")
    families = {f"{type_.partition('.')[0]}.*" for type_ in CATALOGUE}
    for one in events:
        if one not in CATALOGUE and one not in families:
            raise RefusedEndpoint("events", f"there is no event {one[:80]!r}")
    return list(dict.fromkeys(events))


def _checked_description(text: str) -> str:
    if len(text) > LONGEST_DESCRIPTION or not (text.isprintable() or not text):
        raise RefusedEndpoint("description", f"a description is one line of {LONGEST_DESCRIPTION} characters at most")
    return text


# -------------------------------------------------------------------------------------------- what can be done


def new_secret() -> str:
    """32 random bytes, as Standard Webhooks writes them."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode("ascii")


def create(
    session: Session, company: str, url: str, events: Sequence[str], description: str, now: float
) -> tuple[Endpoint, str]:
    """A new endpoint and its first secret.  ``url`` is from :func:`checked_url`.  Raises RefusedEndpoint."""
    endpoint = Endpoint(
        id=f"ep_{secrets.token_hex(12)}",
        company=company,
        url=url,
        description=_checked_description(description),
        events=checked_events(events),
        created_at=now,
    )
    count = select(func.count()).where(Endpoint.company == company, Endpoint.state != "deleted")
    if (session.scalar(count) or 0) >= MOST_ENDPOINTS:
        raise RefusedEndpoint("url", f"{company} has {MOST_ENDPOINTS} endpoints already")
    session.add(endpoint)
    session.flush()
    secret = new_secret()
    session.add(Secret(endpoint=endpoint.id, secret=secret, created_at=now))
    return endpoint, secret


def listed(session: Session, company: str | None) -> Sequence[Endpoint]:
    """The endpoints of a company in the order they were made; None, for the operator: of all of them."""
    query = select(Endpoint).where(Endpoint.state != "deleted").order_by(Endpoint.company, Endpoint.created_at)
    return session.scalars(query if company is None else query.where(Endpoint.company == company)).all()


def find(session: Session, company: str, id_: str, *, lock: bool = False) -> Endpoint:
    """An endpoint of the company.  Raises UnknownEndpoint."""
    query = select(Endpoint).where(Endpoint.id == id_, Endpoint.company == company, Endpoint.state != "deleted")
    found = session.scalar(query.with_for_update(key_share=True) if lock else query)
    if found is None:
        raise UnknownEndpoint(id_)
    return found


def change(
    session: Session,
    company: str,
    id_: str,
    *,
    url: str | None = None,
    events: Sequence[str] | None = None,
    description: str | None = None,
) -> Endpoint:
    """Change what is given.  What is owed already goes to the new address.  Raises UnknownEndpoint, RefusedEndpoint."""
    endpoint = find(session, company, id_, lock=True)
    if events is not None:
        endpoint.events = checked_events(events)
    if description is not None:
        endpoint.description = _checked_description(description)
    if url is not None and url != endpoint.url:
        endpoint.url = url
        _well(endpoint)
    return endpoint


def pause(session: Session, company: str, id_: str, why: str, now: float) -> Endpoint:
    """Send nothing until it is resumed; what comes meanwhile is owed.  Raises UnknownEndpoint, RefusedEndpoint."""
    endpoint = find(session, company, id_, lock=True)
    if endpoint.state == "disabled":
        raise RefusedEndpoint("state", "it is disabled: there is nothing to pause")
    if endpoint.state == "active":
        endpoint.state, endpoint.why = "paused", why[:LONGEST_DESCRIPTION]
        data = {"endpoint": endpoint.id, "url": endpoint.url, "why": endpoint.why}
        tell(session, "endpoint.paused", data, company=company, about=f"{endpoint.id}/paused/{now:.3f}", at=now)
    return endpoint


def resume(session: Session, company: str, id_: str, now: float) -> Endpoint:
    """Go on, also after a 410: what is owed is sent, oldest first; the alarm is over.  Raises UnknownEndpoint."""
    endpoint = find(session, company, id_, lock=True)
    if endpoint.state != "active":
        endpoint.state, endpoint.why = "active", None
        _well(endpoint)
        _clear_alarm(session, endpoint, now)
    return endpoint


def delete(session: Session, company: str, id_: str, now: float) -> None:
    """Send nothing any more and forget the secrets; the log stays until it is pruned.  Raises UnknownEndpoint."""
    endpoint = find(session, company, id_, lock=True)
    endpoint.state, endpoint.why = "deleted", None
    for secret in session.scalars(select(Secret).where(Secret.endpoint == endpoint.id)):
        session.delete(secret)
    session.flush()
    cancel_pending(session, endpoint.id, "the endpoint was deleted")
    _clear_alarm(session, endpoint, now)


def rotate(session: Session, company: str, id_: str, now: float, overlap: float = OVERLAP) -> str:
    """A new secret; those before go on signing beside it for ``overlap`` seconds, 0: not at all.

    Raises UnknownEndpoint, RefusedEndpoint.
    """
    endpoint = find(session, company, id_, lock=True)
    if not 0 <= overlap <= LONGEST_OVERLAP:
        raise RefusedEndpoint("overlap", f"the overlap is from 0 to {LONGEST_OVERLAP / 86400:.0f} days")
    live = 0
    for secret in session.scalars(select(Secret).where(Secret.endpoint == endpoint.id)):
        secret.expires_at = min(now + overlap, secret.expires_at or now + overlap)
        if secret.expires_at <= now:
            session.delete(secret)
        else:
            live += 1
    if live >= MOST_SECRETS:
        raise RefusedEndpoint("overlap", f"{live} secrets sign already: wait until one expires, or say overlap 0")
    made = new_secret()
    session.add(Secret(endpoint=endpoint.id, secret=made, created_at=now))
    return made


def _well(endpoint: Endpoint) -> None:
    """Nothing is held against it."""
    endpoint.failures, endpoint.failing_since, endpoint.open_until = 0, None, None


def _clear_alarm(session: Session, endpoint: Endpoint, now: float) -> None:
    session.execute(
        update(Alarm).where(Alarm.key == alarm_key(endpoint.id), Alarm.cleared_at.is_(None)).values(cleared_at=now)
    )
