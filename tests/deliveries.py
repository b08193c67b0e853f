"""What tests of deliveries share: a database with endpoints and events, a worker whose subscribers are functions."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import select

from workers.delivery import endpoints
from workers.delivery.claims import Claimed
from workers.delivery.jobs import Deliverer
from workers.delivery.owing import owe
from workers.delivery.sending import Outcome
from workers.journal.database import Database
from workers.journal.tables import Attempt, Delivery, Endpoint, Event

NOW = 1_795_600_000.0
#: What a subscriber answers: a status, or an outcome made of what was claimed.
Answers = Callable[[Claimed], int | Outcome]


class House:
    """A database, its endpoints, and a clock that only tests move."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = NOW
        self.sent: list[Claimed] = []
        self._events = 0
        self._rng = random.Random(1)

    def clock(self) -> float:
        return self.now

    def endpoint(
        self, url: str = "https://crm.test/hooks", *, company: str = "acme", events: Sequence[str] = ()
    ) -> str:
        with self.database.writing() as session:
            made, _ = endpoints.create(session, company, url, events, "", self.now)
            return made.id

    def event(self, type_: str = "call.started", *, company: str = "acme", data: dict[str, Any] | None = None) -> str:
        """An event that has just happened, owed to whoever wants it; its id."""
        self._events += 1
        with self.database.writing() as session:
            event = Event(
                id=f"evt_{self._events:024x}",
                company=company,
                call="c1",
                type=type_,
                sequence=self._events,
                occurred_at=self.now,
                created_at=self.now,
                data=data or {},
            )
            session.add(event)
            session.flush()
            owe(session, [event], self.now)
            return event.id

    def worker(
        self, answers: Answers, seconds: float = 20.0, stopping: Callable[[], bool] = lambda: False
    ) -> Deliverer:
        """A worker; each attempt takes no time on the clock."""

        def send(claimed: Claimed) -> Outcome:
            self.sent.append(claimed)
            answer = answers(claimed)
            return answer if isinstance(answer, Outcome) else outcome(self.now, answer)

        return Deliverer(self.database, send, clock=self.clock, rng=self._rng, seconds=seconds, stopping=stopping)

    def deliver(self, answers: Answers) -> int:
        """Drain once by a new worker; how many attempts there were."""
        before = len(self.sent)
        self.worker(answers).drain()
        return len(self.sent) - before

    def deliveries(self) -> list[Delivery]:
        with self.database.reading() as session:
            return list(session.scalars(select(Delivery).order_by(Delivery.created_at, Delivery.id)))

    def delivery(self) -> Delivery:
        (one,) = self.deliveries()
        return one

    def attempts(self) -> list[Attempt]:
        with self.database.reading() as session:
            return list(session.scalars(select(Attempt).order_by(Attempt.id)))

    def at(self, endpoint: str) -> Endpoint:
        with self.database.reading() as session:
            return session.get_one(Endpoint, endpoint)


def outcome(at: float, status: int | None = 200, **more: Any) -> Outcome:
    """What came of an attempt that took no time."""
    return Outcome(
        at=at, seconds=0.0, url="https://crm.test/", request_headers={}, request_body="{}", status=status, **more
    )
