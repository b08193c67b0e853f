"""The queue hour itself: what is drawn, what is left in Redis, and a short hour with a kill over TCP."""

from __future__ import annotations

from pathlib import Path

import pytest

from callcontrol import queueing
from callcontrol.messages import Enter, Miss
from callcontrol.queueboard import QueueBoard
from callcontrol.routing.files import check_directory, load_directory
from callcontrol.routing.model import Routing
from callcontrol.switchboard import Switchboard
from scripts.queue_hour import COMPANY, NAMES, ROUTING, Hour, draw, left_behind, play, tell


def company() -> Routing:
    (loaded,) = load_directory(ROUTING)
    assert loaded.routing is not None, loaded.problems
    return loaded.routing


#: As many as three agents can serve in a while.
SHORT = Hour(callers=20, minutes=8.0, agents=("401", "402", "407"), kill_at=3.0, told_every=2.0)


def test_the_same_seed_draws_the_same_hour_and_another_a_different_one() -> None:
    assert draw(Hour()) == draw(Hour())
    assert draw(Hour()) != draw(Hour(seed=5))


def test_the_hour_is_what_it_is_said_to_be() -> None:
    plans = draw(Hour())
    assert len(plans) == len({plan.number for plan in plans}) == 200
    assert [plan.at for plan in plans] == sorted(plan.at for plan in plans)
    assert 0.0 < plans[0].at < plans[-1].at < 60.0
    assert 2.0 < sum(plan.talk for plan in plans) / 200 < 3.0
    assert len(Hour().agents) == 8


def test_the_hours_company_has_the_agents_that_are_told_of() -> None:
    assert {extension: person.name for extension, person in company().people.items()} == NAMES
    assert {agent.agent for agent in company().queues["desk"].agents} == set(NAMES)
    assert [problem for problem in check_directory(ROUTING) if problem.severity == "error"] == []


class TestLeftBehind:
    @pytest.fixture
    def queues(self, board: Switchboard) -> QueueBoard:
        queues = QueueBoard(board)
        assert queues.enrol(COMPANY, "v1", queueing.memberships(company()))
        return queues

    def enter(self, queues: QueueBoard) -> None:
        command = Enter("desk", 0, (), 0, 0.0, 1, 5.0)
        assert queues.enter(COMPANY, "c1", command, owner="p1", switch="switch1", caller="+7", op="1")

    def test_nothing_is_left_when_nobody_waits_and_everybody_is_free(
        self, queues: QueueBoard, board: Switchboard
    ) -> None:
        self.enter(queues)
        queues.leave(COMPANY, "c1")
        assert left_behind(board._redis, COMPANY) == []

    def test_an_entry_is_seen(self, queues: QueueBoard, board: Switchboard) -> None:
        self.enter(queues)
        found = " ".join(left_behind(board._redis, COMPANY))
        for key in ("callers", "line:desk:0", "priorities:desk", "seek:desk:0", "seeks:desk"):
            assert key in found

    def test_an_agent_who_is_not_free_is_seen(self, queues: QueueBoard, board: Switchboard) -> None:
        self.enter(queues)
        assert queues.claim(COMPANY, "c1", "401")
        assert "401 is offered c1" in left_behind(board._redis, COMPANY)
        queues.miss(COMPANY, "c1", Miss(1, "401", "declined", delay=60.0))
        queues.leave(COMPANY, "c1")
        assert left_behind(board._redis, COMPANY) == ["401 is delayed"]

    def test_another_company_is_none_of_our_business(self, queues: QueueBoard, board: Switchboard) -> None:
        self.enter(queues)
        assert left_behind(board._redis, "another") == []


@pytest.mark.tcp
def test_a_short_hour_with_a_kill_comes_to_a_good_end(tmp_path: Path) -> None:
    (tmp_path / "routing").mkdir()
    text = (ROUTING / f"{COMPANY}.yaml").read_text(encoding="utf-8")
    before, line, after = text.partition("    agents: [401, ")
    assert line
    fewer = before + "    agents: [401, 402, 407]\n" + after.partition("\n")[2]
    (tmp_path / "routing" / f"{COMPANY}.yaml").write_text(fewer, encoding="utf-8")
    said: list[str] = []
    account = play(Hour(**{**vars(SHORT), "routing": tmp_path / "routing"}), said.append, tmp_path / "rig")
    assert tell(account, said.append), "\n".join(said)
    assert len(account.journeys) == 20
    assert sum("kill -9" in line for line in said) == 2  # as it happens, and in the table
    assert sum("have called" in line for line in said) >= 3
