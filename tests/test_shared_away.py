"""What controllers share, with a Redis of straw: copies that stay fresh, and shares while Redis is away."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import gevent
import gevent.event
import pytest

from callcontrol import shared
from callcontrol.shared import Counts, Switches


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


class TestCounts:
    @pytest.mark.parametrize(("most", "share"), [(8, 2), (4, 1), (2, 1), (1, 1)])
    def test_while_redis_is_away_a_process_has_its_share_and_nobody_is_cut_off(self, most: int, share: int) -> None:
        board = SimpleNamespace(claim_out=lambda *given: None, release_out=lambda *given: None)
        counts = Counts(cast(Any, board), processes=4)
        caps = (("acme", most),)
        claimed = [counts.claim(f"leg-{n}", 1, "switch1", caps, 60.0) for n in range(most + 1)]
        assert claimed == [True] * share + [False] * (most + 1 - share)
        counts.release("leg-0", 1, "switch1")
        assert counts.claim("another", 1, "switch1", caps, 60.0)
