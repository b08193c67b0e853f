"""What comes of attempts: the delivery's next moment, the endpoint's health, the log, and who is told.

All of an attempt is written in one transaction, many attempts in one if they are there.  A worker that is killed before
has sent something of which nobody knows; it is sent again, under the same id.

==========================  =====================================================================================
a whole 2xx                 delivered; the endpoint is well
anything else               tried again after DELAYS (a 429 or 503 with Retry-After: not before), for three days
five failures in a row      the endpoint is left alone for a growing while, five minutes at most, then probed
410                         the endpoint is disabled, nothing is owed to it any more; alarm and fact
no success for five days    the endpoint is paused, what it is owed waits; alarm and fact
==========================  =====================================================================================
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import TypeVar

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from workers.delivery.claims import FAILURES, Claimed
from workers.delivery.sending import Outcome
from workers.journal.tables import Alarm, Attempt, Delivery, Endpoint
from workers.journal.telling import tell

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
#: Seconds between the attempts of a delivery; the last one goes on.
DELAYS = (5.0, 30.0, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 5 * HOUR, 10 * HOUR)
JITTER = 0.15
#: After its first attempt a delivery is tried so long; an endpoint without a success is paused after so long.
TRIED_FOR = 3 * DAY
PAUSED_AFTER = 5 * DAY
#: How long the breaker leaves an endpoint alone: at first, and at most.
LEFT_ALONE, LONGEST_ALONE = 10.0, 5 * MINUTE
#: What Retry-After may ask for, at most.
LONGEST_RETRY_AFTER = HOUR
#: What is kept of a reason.
LONGEST_WHY = 300

_Row = TypeVar("_Row", Endpoint, Delivery)


def delay(attempts: int, rng: random.Random) -> float:
    """Seconds to the next attempt after so many."""
    return DELAYS[min(max(attempts, 1), len(DELAYS)) - 1] * rng.uniform(1 - JITTER, 1 + JITTER)


def alone(failures: int) -> float:
    """Seconds that an endpoint is left alone after so many failures in a row; 0: not yet."""
    if failures < FAILURES:
        return 0.0
    return min(LONGEST_ALONE, LEFT_ALONE * 2.0 ** min(failures - FAILURES, 10))


def settle(session: Session, results: Sequence[tuple[Claimed, Outcome]], rng: random.Random) -> None:
    """Write what came of attempts, in the order in which they ended.  In a writing transaction.

    Rows are locked in an order that all keep, endpoints first, so that two workers never wait for each other.
    """
    if not results:
        return
    endpoints = {row.id: row for row in session.scalars(_locked(Endpoint, {one.endpoint for one, _ in results}))}
    deliveries = {row.id: row for row in session.scalars(_locked(Delivery, {one.delivery for one, _ in results}))}
    for claimed, outcome in sorted(results, key=lambda one: one[1].at + one[1].seconds):
        endpoint, delivery = endpoints.get(claimed.endpoint), deliveries.get(claimed.delivery)
        if endpoint is not None and delivery is not None:  # it may have been pruned
            _settle(session, endpoint, delivery, claimed, outcome, rng)
    session.flush()


def _locked(table: type[_Row], ids: Collection[str]) -> Select[_Row]:
    return select(table).where(table.id.in_(ids)).order_by(table.id).with_for_update(key_share=True)


def _settle(
    session: Session, endpoint: Endpoint, delivery: Delivery, claimed: Claimed, outcome: Outcome, rng: random.Random
) -> None:
    ended = outcome.at + outcome.seconds
    delivery.attempts += 1
    delivery.first_attempt_at = delivery.first_attempt_at or outcome.at
    session.add(_logged(delivery, outcome))
    ours = delivery.leased_until == claimed.leased_until
    if outcome.delivered:
        delivery.state, delivery.delivered_at, delivery.why = "delivered", ended, None
        delivery.leased_until = 0.0
        endpoint.failures, endpoint.failing_since, endpoint.open_until = 0, None, None
        return
    if delivery.state == "pending" and ours:  # not ours: it took longer than the lease, and somebody else has it
        wait = delay(delivery.attempts, rng)
        asked = min(outcome.retry_after or 0.0, LONGEST_RETRY_AFTER)
        delivery.leased_until = 0.0
        delivery.next_at = ended + max(wait, asked)
        delivery.why = outcome.why[:LONGEST_WHY]
        if outcome.status == 410 or delivery.next_at > delivery.first_attempt_at + TRIED_FOR:
            delivery.state = "failed"
    _failed(session, endpoint, outcome, ended)


def _logged(delivery: Delivery, outcome: Outcome) -> Attempt:
    return Attempt(
        delivery=delivery.id,
        company=delivery.company,
        number=delivery.attempts,
        at=outcome.at,
        seconds=outcome.seconds,
        url=outcome.url,
        request_headers=dict(outcome.request_headers),
        request_body=outcome.request_body,
        status=outcome.status,
        response_headers=dict(outcome.response_headers),
        response_body=outcome.response_body,
        error=outcome.error,
    )


# ----------------------------------------------------------------------------------------------- the endpoint


def _failed(session: Session, endpoint: Endpoint, outcome: Outcome, now: float) -> None:
    endpoint.failures += 1
    endpoint.failing_since = endpoint.failing_since or outcome.at
    quiet = max(alone(endpoint.failures), min(outcome.retry_after or 0.0, LONGEST_RETRY_AFTER))
    if quiet:
        endpoint.open_until = max(endpoint.open_until or 0.0, now + quiet)
    if endpoint.state != "active":
        return
    if outcome.status == 410:
        _stop(session, endpoint, "disabled", "it answered 410: it is gone for good", now)
        session.flush()
        cancel_pending(session, endpoint.id, "the endpoint was disabled: it answered 410")
    elif now - endpoint.failing_since >= PAUSED_AFTER:
        _stop(session, endpoint, "paused", f"it failed for five days, the last time because {outcome.why}", now)


def _stop(session: Session, endpoint: Endpoint, state: str, why: str, now: float) -> None:
    """Never silently: an alarm for people, a fact for the journal."""
    endpoint.state, endpoint.why = state, why[:LONGEST_WHY]
    kind = f"endpoint.{state}"
    data = {"endpoint": endpoint.id, "url": endpoint.url, "why": endpoint.why}
    tell(session, kind, data, company=endpoint.company, about=f"{endpoint.id}/{state}/{now:.3f}", at=now)
    text = f"the webhooks of {endpoint.company} to {endpoint.url} are {state}: {endpoint.why}"
    session.merge(
        Alarm(
            key=alarm_key(endpoint.id), company=endpoint.company, kind=kind, text=text, raised_at=now, cleared_at=None
        )
    )


def alarm_key(endpoint: str) -> str:
    """The alarm that an endpoint was stopped; it is over when the endpoint goes on, or is deleted."""
    return f"endpoint/{endpoint}"


def cancel_pending(session: Session, endpoint: str, why: str) -> None:
    """Owe an endpoint nothing any more.  What is just being sent may still arrive."""
    session.execute(
        update(Delivery)
        .where(Delivery.endpoint == endpoint, Delivery.state == "pending")
        .values(state="cancelled", why=why, leased_until=0.0)
        .execution_options(synchronize_session="fetch")
    )
