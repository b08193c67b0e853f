"""What controllers share, as one process sees it: copies that stay fresh, and shares while Redis is away."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import gevent
import gevent.event
import pytest

from callcontrol import shared
from callcontrol.shared import Switches


def switches(**board: Any) -> Switches:
    return Switches(cast(Any, SimpleNamespace(set_switch=lambda *given: True, **board)))


class TestSwitches:
    def test_a_reading_that_began_before_our_own_change_does_not_undo_it(self) -> None:
        answered = gevent.event.Event()
        made = switches(switches=lambda: {} if answered.wait(5) else None)
        reading = gevent.spawn(made.read)
        gevent.sleep(0)
        made.set("acme", "shut", True, "301", lambda told: None)
        answered.set()
        reading.join(5)
        assert made.of("acme")("shut")

    def test_while_redis_is_away_what_it_said_last_stays(self) -> None:
        answers: list[dict[str, Any] | None] = [{"acme/shut": None}, None]
        made = switches(switches=lambda: answers.pop(0))
        made.read()
        made.read()
        assert made.of("acme")("shut")
        assert not made.of("other")("shut")

    def test_one_that_is_not_kept_is_not_on(self) -> None:
        made = Switches(cast(Any, SimpleNamespace(set_switch=lambda *given: False)))
        told: list[Any] = []
        made.set("acme", "shut", True, "301", told.append)
        assert [event.kept for event in told] == [False]
        assert not made.of("acme")("shut")

    def test_a_reading_that_fails_is_not_the_last(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shared, "READ_EVERY", 0.0)
        again = gevent.event.Event()
        found: list[Any] = [{"acme/shut": None}, UnicodeDecodeError("utf-8", b"", 0, 1, "")]

        def read() -> Any:
            if not found:
                again.set()
                return None
            one = found.pop()
            if isinstance(one, Exception):
                raise one
            return one

        made = switches(switches=read)
        running = gevent.spawn(made.run)
        assert again.wait(5)
        running.kill()
        assert made.of("acme")("shut")
