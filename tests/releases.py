"""Publishing as a person has it done: what must be asked is said yes to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from callcontrol import asking, outcomes
from callcontrol.asking import Answer, Request
from callcontrol.outcomes import Outcome
from callcontrol.publishing import Publisher, answer_requests
from callcontrol.versions import VersionStore


def request(verb: str, *companies: str, by: str = "anna", why: str = "because", **more: Any) -> Request:
    return asking.new(verb, by, why, 60.0, companies=list(companies), **more)


def asked(publisher: Publisher, wanted: Request) -> Answer:
    """Have it done by way of STATE, as the server does."""
    (publisher.store.state / "requests").mkdir(parents=True, exist_ok=True)
    asking.leave(publisher.store.state, wanted)
    answer_requests(publisher)
    answer = asking.answer_to(publisher.store.state, wanted)
    assert answer is not None
    asking.withdraw(publisher.store.state, wanted)
    return answer


def publish_yes(directory: Path, store: VersionStore, companies: Sequence[str] = (), **more: Any) -> Outcome:
    """Publish, with a yes to all that is asked."""
    publisher = Publisher(directory, store, **more)
    plan = asked(publisher, request("plan", *companies))
    done = asked(publisher, request("publish", *companies, confirmed=list(plan.needs)))
    assert not done.refused, done.refused
    outcome = outcomes.read_outcome(store.state)
    assert outcome is not None
    return outcome
