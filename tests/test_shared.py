"""What processes share, as one of them sees it: switches, and counts while Redis is there and away."""

from __future__ import annotations

import gevent
import pytest

from callcontrol import messages as m
from callcontrol.embedded import EmbeddedRedis
from callcontrol.shared import Counts, Switches
from callcontrol.switchboard import Switchboard

LEG = "5b1c1f54-0000-4000-8000-000000000001"
OTHER = "5b1c1f54-0000-4000-8000-000000000002"


class TestSwitches:
    def test_a_change_is_seen_here_at_once_and_elsewhere_when_it_is_read(self, board: Switchboard) -> None:
        here, elsewhere = Switches(board), Switches(board)
        told: list[m.SwitchSet] = []
        here.set("acme", "shut", True, "301", told.append)
        assert told == [m.SwitchSet("shut", True)]
        assert here.of("acme")("shut")
        assert not elsewhere.of("acme")("shut")
        elsewhere.read()
        assert elsewhere.of("acme")("shut")
        assert not elsewhere.of("other")("shut")
        here.set("acme", "shut", False, "301", told.append)
        assert not here.of("acme")("shut")

    def test_while_redis_is_away_the_last_state_holds_and_nothing_is_said_to_be_kept(
        self, own_redis: EmbeddedRedis
    ) -> None:
        switches = Switches(Switchboard(own_redis.url, name="test"))
        told: list[m.SwitchSet] = []
        switches.set("acme", "shut", True, "301", told.append)
        own_redis.stop()
        switches.read()
        switches.set("acme", "shut", False, "301", told.append)
        assert switches.of("acme")("shut")
        assert told == [m.SwitchSet("shut", True), m.SwitchSet("shut", False)]


class TestCounts:
    CAPS = (("acme", 2), ("acme/301", 1))

    def test_a_place_is_given_back_by_whoever_hears_of_the_end(self, board: Switchboard) -> None:
        ours, theirs = Counts(board, 2), Counts(board, 2)
        assert ours.claim(LEG, 1, "switch1", self.CAPS, 60)
        assert not theirs.claim(OTHER, 1, "switch1", self.CAPS, 60)
        theirs.release(LEG, 1, "switch1")
        gevent.sleep(0.05)
        assert theirs.claim(OTHER, 1, "switch1", self.CAPS, 60)

    def test_the_next_try_of_a_leg_has_a_place_of_its_own(self, board: Switchboard) -> None:
        counts = Counts(board, 1)
        assert counts.claim(LEG, 1, "switch1", (("acme", 2),), 60)
        assert counts.claim(LEG, 2, "switch1", (("acme", 2),), 60)
        counts.release(LEG, 1, "switch1")  # heard late, and once more
        gevent.sleep(0.05)
        assert set(board.legs_out("switch1") or {}) == {f"{LEG}.2"}

    def test_the_next_try_of_a_leg_may_have_the_last_place_which_the_one_before_had(self, board: Switchboard) -> None:
        """A gateway that is down makes no channel whose end could be heard: the next trunk was refused."""
        counts = Counts(board, 1)
        assert counts.claim(LEG, 1, "switch1", (("acme", 1),), 60)
        counts.release(LEG, 1, "switch1")
        assert counts.claim(LEG, 2, "switch1", (("acme", 1),), 60)
        assert not counts.claim(OTHER, 1, "switch1", (("acme", 1),), 60)

    def test_what_is_no_more_is_forgotten(self, board: Switchboard, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("callcontrol.shared.SETTLED", 0.0)
        counts = Counts(board, 1)
        counts.claim(LEG, 1, "switch1", (("acme", 2),), 60)
        counts.claim(OTHER, 1, "switch1", (("acme", 2),), 60)
        assert counts.reconcile("switch1", frozenset({OTHER})) == 1
        assert set(board.legs_out("switch1") or {}) == {f"{OTHER}.1"}

    def test_while_redis_is_away_a_process_lets_its_share_out_and_no_more(self, own_redis: EmbeddedRedis) -> None:
        counts = Counts(Switchboard(own_redis.url, name="test"), 2)
        own_redis.stop()
        assert counts.claim(LEG, 1, "switch1", (("acme", 3),), 60)
        assert not counts.claim(OTHER, 1, "switch1", (("acme", 3),), 60)
        counts.release(LEG, 1, "switch1")
        assert counts.claim(OTHER, 1, "switch1", (("acme", 3),), 60)
