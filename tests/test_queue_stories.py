"""Queues over TCP: the real server, the stand-in switch, Redis.  One story for each way in which a queue gets stuck.

Every test waits for something that happens, never for a time; the time limits are only there to fail.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from callcontrol.queueboard import QueueBoard
from callcontrol.switchboard import Switchboard
from freeswitch.simulator import Answers, Busy, Caller, NeverAnswers, Rejects, Unregistered
from scripts.rig import Rig

pytestmark = pytest.mark.tcp
#: Who answers which number: one queue each.
ONE, ALL, LONE, SLOW, KEYS = (f"+7495000000{n}" for n in range(1, 6))
COMPANY = """\
cordboard: 1
company: Desk
country: RU
timezone: Europe/Moscow
languages: [en]
numbers:
  "+74950000001": {flow: one}
  "+74950000002": {flow: all}
  "+74950000003": {flow: lone}
  "+74950000004": {flow: slow}
  "+74950000005": {flow: keys}
people:
  301: {name: Anna}
  302: {name: Boris}
  303: {name: Chiara}
  304: {name: Dora}
  305: {name: Egon}
queues:
  one: {agents: [301, 302], strategy: in-order, ring: 8s, max_callers: 30}
  all: {agents: [301, 302], strategy: ring-all, ring: 8s}
  lone: {agents: [303], ring: 8s, priority: 5, delays: {declined: 1s, no_answer: 1s}}
  slow: {agents: [304], ring: 8s, wrap_up: 2s, pause_after: 2, delays: {declined: 0s}}
  keys:
    agents: [305]
    ring: 8s
    pause_after: 2
    delays: {no_answer: 1s}
    unstaffed: 30s
    keys: {star: left, 1: one/go}
    announce: {every: 10s, say: "You are number {position}."}
agents: {log_in: "*41", log_out: "*42", pause: {lunch: "*43"}, resume: "*44"}
flows:
  one: {go: {queue: one, otherwise: sorry}, sorry: {hangup: busy}}
  all: {go: {queue: all, otherwise: one/sorry}}
  lone: {go: {queue: lone, otherwise: one/sorry}}
  slow: {go: {queue: slow, otherwise: one/sorry}}
  keys: {go: {queue: keys, left: one/sorry, otherwise: hangup}}
"""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    directory = tmp_path_factory.mktemp("queues")
    (directory / "routing").mkdir()
    (directory / "routing/acme.yaml").write_text(COMPANY)
    with Rig(directory / "rig", routing=directory / "routing", clock=None) as started:
        yield started


@pytest.fixture(scope="module")
def board(rig: Rig) -> Iterator[QueueBoard]:
    switchboard = Switchboard(rig.redis_url, name="test")
    yield QueueBoard(switchboard)
    switchboard.close()


@pytest.fixture(autouse=True)
def quiet(rig: Rig, board: QueueBoard) -> Iterator[None]:
    """Nobody answers until told to; at the end of each story nothing is left, and everybody is free again."""
    for extension in ("301", "302", "303", "304", "305"):
        rig.switch.phone(extension, NeverAnswers())
        rig.switch.phone(extension).history.clear()
    rig.until(lambda: len(rig.children()) == rig.processes, 20, "every controller")
    yield
    for caller in rig.switch.callers:
        if caller.state != "ended":
            caller.hangup()
    for agent in ("301", "302", "303", "304", "305"):
        board.duty("acme", agent, "pause")  # which ends delays
        board.duty("acme", agent, "log_in")
    rig.until(partial(settled, board), 40, f"a settled state, not {board.look('acme')}")


def settled(board: QueueBoard) -> bool:
    """Nobody waits, and every agent is free."""
    seen = board.look("acme")
    if seen is None or seen["waiting"]:
        return False
    return all(member["doing"] == "idle" and member["duty"] == "on" for member in seen["members"])


def agent(board: QueueBoard, extension: str) -> dict[str, Any]:
    seen = board.look("acme")
    assert seen is not None
    return next(dict(member) for member in seen["members"] if member["agent"] == extension)


def doing(board: QueueBoard, extension: str, what: str) -> bool:
    return bool(agent(board, extension)["doing"] == what)


def waits(rig: Rig, number: str, from_: str = "+79031234567") -> Caller:
    """A caller who stands in a queue."""
    caller = rig.switch.call(from_, number)
    rig.wait_fact(caller.uuid, "queue.joined", 10)
    return caller


def ended(rig: Rig, caller: Caller) -> dict[str, Any]:
    """The one end of a call, as it is told to the world: of two who heard it as they were joined one is left out."""
    caller.wait("ended", 30)
    rig.until(lambda: bool(ends(rig, caller)), 15, "the end of the call")
    (end,) = ends(rig, caller)
    return dict(end["data"])


def ends(rig: Rig, caller: Caller) -> list[dict[str, Any]]:
    return [fact for fact in shipped(rig) if fact["type"] == "call.ended" and fact["call"] == caller.uuid]


def hears(caller: Caller, what: str) -> bool:
    """Whether the caller has heard this, as people would say it."""
    return any(entry.what == "hears" and what in entry.detail for entry in caller.journal)


def rung(rig: Rig, extension: str) -> int:
    return len([entry for entry in rig.switch.phone(extension).history if entry.what == "rings"])


def rings(rig: Rig, extension: str) -> bool:
    return rig.switch.phone(extension).ringing


class TestServing:
    def test_a_caller_hears_music_is_offered_and_talks(self, rig: Rig, board: QueueBoard) -> None:
        caller = waits(rig, ONE)
        caller.wait(lambda c: hears(c, "music: moh"), 10)
        rig.switch.wait(lambda: rings(rig, "301"), 10)
        assert doing(board, "301", "offered")
        rig.switch.phone("301").behaviour = Answers(after=0.1, talk=0.5)
        rig.switch.phone("302").behaviour = Answers(after=0.1, talk=0.5)
        caller.wait("talking", 20)  # 301 lets it ring, 302 is asked next
        assert ended(rig, caller)["by"] == "cordboard"
        kinds = [f["type"] for f in rig.facts(caller.uuid) if f["type"].startswith(("queue.", "talk."))]
        assert kinds == [
            *("queue.joined", "queue.offered", "queue.missed", "queue.offered", "queue.answered"),
            *("talk.started", "talk.ended"),
        ]

    def test_the_earliest_caller_gets_the_agent_who_gets_free(self, rig: Rig, board: QueueBoard) -> None:
        rig.switch.phone("303", Answers(after=0.05, talk=0.3))
        callers = [waits(rig, LONE, f"+7903000000{n}") for n in range(4)]
        for caller in callers:
            ended(rig, caller)
        order = sorted(callers, key=lambda c: float(rig.facts(c.uuid, "queue.answered")[0]["at"]))
        assert order == callers
        rig.until(lambda: doing(board, "303", "idle"), 10, "Chiara to be free")

    def test_one_who_declines_is_left_alone_and_the_next_is_asked(self, rig: Rig, board: QueueBoard) -> None:
        rig.switch.phone("301", Rejects(0.1))
        rig.switch.phone("302", Answers(after=0.1, talk=0.3))
        caller = waits(rig, ONE)
        ended(rig, caller)
        (missed,) = rig.facts(caller.uuid, "queue.missed")
        assert missed["data"]["result"] == "declined"
        assert rung(rig, "301") == 1
        assert agent(board, "301")["doing"] == "delayed"

    @pytest.mark.parametrize(("behaviour", "result"), [(Busy(), "busy"), (Unregistered(), "unreachable")])
    def test_what_the_telephone_says_is_told(self, rig: Rig, board: QueueBoard, behaviour: Any, result: str) -> None:
        rig.switch.phone("301", behaviour)
        rig.switch.phone("302", Answers(after=0.1, talk=0.3))
        caller = waits(rig, ONE)
        ended(rig, caller)
        (missed,) = rig.facts(caller.uuid, "queue.missed")
        assert (missed["data"]["agent"], missed["data"]["result"]) == ("301", result)

    def test_wrap_up_is_kept_and_then_the_next_caller_comes(self, rig: Rig, board: QueueBoard) -> None:
        rig.switch.phone("304", Answers(after=0.05, talk=0.2))
        first, second = waits(rig, SLOW), waits(rig, SLOW, "+79030000002")
        ended(rig, first)
        ended(rig, second)
        states = [fact for fact in shipped(rig) if fact["type"] == "agent.state" and fact["data"]["agent"] == "304"]
        told = [(fact["data"]["state"], float(fact["at"])) for fact in states]
        at = [when for state, when in told if state == "wrap_up"]
        again = [when for state, when in told if state == "offered" and when > at[0]]
        assert again[0] - at[0] >= 2.0

    def test_too_many_misses_pause_the_agent_until_a_code_is_dialled(self, rig: Rig, board: QueueBoard) -> None:
        rig.switch.phone("304", Rejects(0.05))
        caller = waits(rig, SLOW)
        assert ended(rig, caller)["cause"] == "USER_BUSY"  # everybody has paused: its own edge
        assert [f["data"]["outcome"] for f in rig.facts(caller.uuid, "queue.unstaffed")] == ["paused"]
        known = agent(board, "304")
        assert (known["duty"], known["why"]) == ("paused", "missed calls")
        dora = rig.switch.call("304", "*44", company="acme", extension="304")
        dora.wait("heard:speech", 10)
        rig.until(lambda: agent(board, "304")["duty"] == "on", 10, "Dora to be back")
        dora.wait("ended", 20)

    @pytest.mark.parametrize("holds", [0.0, 0.02, 0.04])
    def test_a_telephone_that_answers_and_drops_at_once_is_paused_like_one_that_does_not_answer(
        self, rig: Rig, board: QueueBoard, holds: float
    ) -> None:
        """Whether it drops before the joining or in its middle."""
        rig.switch.phone("305", Answers(after=0.05, hangs_up=holds))
        caller = waits(rig, KEYS)
        rig.until(lambda: agent(board, "305")["duty"] == "paused", 20, "Egon to be paused")
        caller.hangup()
        ended(rig, caller)
        results = [fact["data"]["result"] for fact in rig.facts(caller.uuid, "queue.missed")]
        assert results == ["no_answer"] * 2

    def test_a_talk_that_is_not_from_a_queue_counts_as_busy(self, rig: Rig, board: QueueBoard) -> None:
        rig.switch.phone("301", Answers(after=0.1))
        rig.switch.phone("302", Answers(after=0.1, talk=0.3))
        colleague = rig.switch.call("305", "301", company="acme", extension="305")
        colleague.wait("talking", 15)
        rig.until(lambda: doing(board, "301", "elsewhere"), 10, "Anna to be known as busy")
        rig.until(lambda: doing(board, "305", "elsewhere"), 10, "Egon, who called, too")
        caller = waits(rig, ONE)
        ended(rig, caller)
        assert [f["data"]["agent"] for f in rig.facts(caller.uuid, "queue.offered")] == ["302"]
        colleague.hangup()
        rig.until(lambda: doing(board, "301", "idle") and doing(board, "305", "idle"), 10, "both to be free")

    def test_nobody_logged_in_and_a_key_have_edges_of_their_own(self, rig: Rig, board: QueueBoard) -> None:
        board.duty("acme", "303", "log_out")
        refused = rig.switch.call("+79031234567", LONE)
        assert ended(rig, refused)["cause"] == "USER_BUSY"
        assert [f["data"]["outcome"] for f in rig.facts(refused.uuid, "queue.refused")] == ["no_agents"]
        leaves = waits(rig, KEYS)
        leaves.press("*")
        assert ended(rig, leaves)["cause"] == "USER_BUSY"
        assert [f["data"]["outcome"] for f in rig.facts(leaves.uuid, "queue.left")] == ["left"]
        rig.until(lambda: not rings(rig, "305"), 10, "Egon's telephone to be quiet")

    def test_the_place_in_the_queue_is_told(self, rig: Rig, board: QueueBoard) -> None:
        board.duty("acme", "305", "pause")
        first, second = waits(rig, KEYS), waits(rig, KEYS, "+79030000002")
        second.wait(lambda c: hears(c, "“You are number 2.”"), 25)
        first.wait(lambda c: hears(c, "“You are number 1.”"), 25)


def shipped(rig: Rig) -> list[dict[str, Any]]:
    """Every fact in the stream."""
    with closing(redis.Redis.from_url(rig.redis_url)) as client:
        entries: list[tuple[bytes, dict[bytes, bytes]]] = client.xrange("cordboard:facts")  # type: ignore[assignment]
        return [json.loads(entry[b"fact"]) for _, entry in entries]


class TestHealing:
    def test_a_caller_who_leaves_while_the_agent_rings_frees_the_agent_at_once(
        self, rig: Rig, board: QueueBoard
    ) -> None:
        caller = waits(rig, LONE)
        rig.switch.wait(lambda: rings(rig, "303"), 10)
        rig.switch.phone("303").behaviour = Answers(after=0.1, talk=0.3)
        caller.hangup()
        rig.switch.wait(lambda: not rings(rig, "303"), 10)
        assert ended(rig, caller)["by"] == "caller"
        assert len(rig.facts(caller.uuid, "queue.abandoned")) == 1
        following = waits(rig, LONE, "+79030000002")
        ended(rig, following)
        assert len(rig.facts(following.uuid, "queue.answered")) == 1

    @pytest.mark.parametrize("later", [-0.02, 0.0, 0.01, 0.02, 0.03, 0.045, 0.06])
    def test_an_agent_who_answers_as_the_caller_leaves_is_free_again(
        self, rig: Rig, board: QueueBoard, later: float
    ) -> None:
        rig.switch.phone("303", Answers(after=0.4))
        caller = waits(rig, LONE)
        rig.switch.wait(lambda: rings(rig, "303"), 10)
        rig.switch.sleep(0.4 + later)
        caller.hangup()
        ended(rig, caller)
        rig.until(lambda: doing(board, "303", "idle"), 15, "Chiara to be free")
        rig.until(lambda: not rig.switch.phone("303").calls, 5, "Chiara's telephone to be quiet")

    @pytest.mark.parametrize("apart", [0.0, 0.005, 0.02, 0.05])
    def test_two_agents_who_answer_together_make_one_talk_and_the_other_takes_the_next(
        self, rig: Rig, board: QueueBoard, apart: float
    ) -> None:
        rig.switch.phone("301", Answers(after=0.3, talk=0.6))
        rig.switch.phone("302", Answers(after=0.3 + apart, talk=0.6))
        first, second = waits(rig, ALL), waits(rig, ALL, "+79030000002")
        first.wait("talking", 15)
        second.wait("talking", 15)
        for caller in (first, second):
            ended(rig, caller)
            assert len(rig.facts(caller.uuid, "queue.answered")) == 1
            assert len(rig.facts(caller.uuid, "talk.started")) <= 1
        talks = {f["data"]["agent"] for c in (first, second) for f in rig.facts(c.uuid, "queue.answered")}
        assert len(talks) == 2

    def test_a_controller_killed_while_callers_join_keeps_their_places(self, rig: Rig, board: QueueBoard) -> None:
        board.duty("acme", "303", "pause", reason="for the story")
        seen = waits_unstaffed(rig, board)
        assert seen

    def test_five_restarts_in_one_waiting_call_keep_the_place(self, rig: Rig, board: QueueBoard) -> None:
        rig.switch.phone("303", Answers(after=0.1))
        talker = waits(rig, LONE)
        talker.wait("talking", 15)
        first, second = waits(rig, LONE, "+79030000001"), waits(rig, LONE, "+79030000002")
        joined = places(board)
        for times in range(1, 6):
            rig.until(lambda: len(rig.children()) == rig.processes, 20, "every controller")
            rig.until(partial(owned, rig, board, first), 15, "an owner")
            rig.kill(rig.owner_of(first.uuid))
            rig.until(partial(taken, rig, first, times), 20, "the takeover")
        assert places(board) == joined
        rig.switch.phone("303").behaviour = Answers(after=0.05, talk=0.3)
        talker.hangup()
        ended(rig, talker)
        for caller in (first, second):
            ended(rig, caller)
        assert answered_at(rig, first) < answered_at(rig, second)

    def test_a_controller_killed_while_the_agent_rings_makes_no_second_offer(self, rig: Rig, board: QueueBoard) -> None:
        rig.switch.phone("303", Answers(after=2.0, talk=0.4))
        caller = waits(rig, LONE)
        rig.switch.wait(lambda: rings(rig, "303"), 10)
        rig.wait_fact(caller.uuid, "leg.rung")
        rig.kill(rig.owner_of(caller.uuid))
        caller.wait("talking", 20)
        ended(rig, caller)
        assert rung(rig, "303") == 1
        assert len({f["data"]["offer"] for f in rig.facts(caller.uuid, "queue.offered")}) == 1

    def test_every_controller_killed_while_the_agent_rings_and_answers_joins_them(
        self, rig: Rig, board: QueueBoard
    ) -> None:
        rig.switch.phone("303", Answers(after=0.5, talk=0.4))
        caller = waits(rig, LONE)
        rig.switch.wait(lambda: rings(rig, "303"), 10)
        rig.wait_fact(caller.uuid, "leg.rung")
        for pid in rig.children():
            rig.kill(pid)
        caller.wait("talking", 20)
        ended(rig, caller)
        assert rung(rig, "303") == 1

    def test_a_controller_killed_while_they_talk_frees_the_agent_when_the_talk_ends(
        self, rig: Rig, board: QueueBoard
    ) -> None:
        rig.switch.phone("303", Answers(after=0.1))
        caller = waits(rig, LONE)
        caller.wait("talking", 15)
        rig.until(lambda: doing(board, "303", "talking"), 10, "Chiara to talk")
        seen = len(rig.log())
        for pid in rig.children():
            rig.kill(pid)
        rig.until(lambda: rig.log()[seen:].count("connected to the switch") >= rig.processes, 30, "new controllers")
        assert caller.state == "talking"
        assert doing(board, "303", "talking")
        caller.hangup()
        rig.until(lambda: doing(board, "303", "idle"), 20, "Chiara to be free")
        ended(rig, caller)

    def test_a_killed_controller_whose_caller_leaves_at_the_same_time_leaves_no_ghost(
        self, rig: Rig, board: QueueBoard
    ) -> None:
        caller = waits(rig, LONE)
        rig.switch.wait(lambda: rings(rig, "303"), 10)
        for pid in rig.children():
            rig.kill(pid)
        caller.hangup()
        rig.until(lambda: doing(board, "303", "idle") and not places(board), 30, "no ghost")
        ended(rig, caller)

    def test_redis_restarted_keeps_everybody_in_the_queue(self, rig: Rig, board: QueueBoard) -> None:
        rig.switch.phone("303", Answers(after=0.1))
        talker = waits(rig, LONE)
        talker.wait("talking", 15)
        waiting = [waits(rig, LONE, f"+7903000000{n}") for n in range(3)]
        before = places(board)
        rig.stop_redis()
        late = rig.switch.call("+79030000009", LONE)  # joins while nobody keeps a queue
        late.wait("answered", 10)
        rig.switch.phone("303").behaviour = Answers(after=0.05, talk=0.2)
        talker.hangup()
        rig.start_redis()
        for caller in (*waiting, late):
            ended(rig, caller)
        times = [answered_at(rig, caller) for caller in (*waiting, late)]
        assert times == sorted(times), before

    def test_redis_that_lost_everything_gets_it_again(self, rig: Rig, board: QueueBoard) -> None:
        rig.switch.phone("303", Answers(after=0.1))
        talker = waits(rig, LONE)
        talker.wait("talking", 15)
        waiting = [waits(rig, LONE, f"+7903000000{n}") for n in range(3)]
        with closing(redis.Redis.from_url(rig.redis_url)) as client:
            client.flushall()
        rig.until(lambda: len(places(board)) == 3, 20, "everybody to stand in the queue again")
        rig.switch.phone("303").behaviour = Answers(after=0.05, talk=0.2)
        talker.hangup()
        for caller in waiting:
            ended(rig, caller)
        times = [answered_at(rig, caller) for caller in waiting]
        assert times == sorted(times)

    def test_a_switch_that_restarts_leaves_no_ghosts(self, rig: Rig, board: QueueBoard) -> None:
        rig.switch.phone("303", Answers(after=0.1))
        talker = waits(rig, LONE)
        talker.wait("talking", 15)
        waits(rig, LONE, "+79030000001")
        rig.until(lambda: doing(board, "303", "talking"), 10, "Chiara to talk")
        seen = len(rig.log())
        rig.switch.crash()
        rig.switch.callers.clear()
        rig.until(lambda: doing(board, "303", "idle") and not places(board), 30, "no ghosts")
        assert "repaired" in rig.log()[seen:]
        rig.switch.phone("303", Answers(after=0.05, talk=0.2))
        rig.until(lambda: "connected to the switch" in rig.log()[seen:], 15, "the switch")
        ended(rig, waits(rig, LONE, "+79030000002"))

    def test_an_agent_left_as_talking_by_nobody_is_repaired_counted_and_an_alarm(
        self, rig: Rig, board: QueueBoard
    ) -> None:
        with closing(redis.Redis.from_url(rig.redis_url)) as client:
            record = json.loads(client.hget("cordboard:queue:acme:agents", "303"))  # type: ignore[arg-type]
            client.zrem("cordboard:queue:acme:free:lone:", "303")
            ghost = {"doing": "talking", "leg": "99999999-ghost", "call": "8888-ghost", "switch": "switch1"}
            free = {"free": False, "queue": "lone"}
            client.hset("cordboard:queue:acme:agents", "303", json.dumps({**record, **ghost, **free}))
        seen = len(rig.log())
        rig.until(lambda: doing(board, "303", "idle"), 30, "Chiara to be free")
        assert "repaired" in rig.log()[seen:]
        rig.switch.phone("303", Answers(after=0.05, talk=0.2))
        ended(rig, waits(rig, LONE))

    def test_a_free_agent_and_a_caller_whom_nobody_brought_together_are_brought_together(
        self, rig: Rig, board: QueueBoard
    ) -> None:
        board.duty("acme", "303", "pause")
        board.duty("acme", "305", "pause")
        rig.switch.phone("305", Answers(after=0.05, talk=0.2))
        caller = waits(rig, KEYS)
        board.duty("acme", "305", "resume")  # by somebody who then dies: nobody decides on the answer
        ended(rig, caller)

    def test_a_hung_controller_is_killed_and_its_callers_keep_their_places(self, rig: Rig, board: QueueBoard) -> None:
        rig.switch.phone("303", Answers(after=0.1))
        talker = waits(rig, LONE)
        talker.wait("talking", 15)
        caller = waits(rig, LONE, "+79030000001")
        joined = places(board)
        os.kill(rig.owner_of(caller.uuid), signal.SIGSTOP)
        rig.wait_fact(caller.uuid, "call.taken_over", 20)
        assert places(board) == joined
        rig.switch.phone("303").behaviour = Answers(after=0.05, talk=0.2)
        talker.hangup()
        ended(rig, caller)

    def test_a_rolling_restart_keeps_everybody_in_place(self, rig: Rig, board: QueueBoard) -> None:
        rig.switch.phone("303", Answers(after=0.1))
        talker = waits(rig, LONE)
        talker.wait("talking", 15)
        callers = [waits(rig, LONE, f"+7903000000{n}") for n in range(5)]
        joined, before = places(board), set(rig.children())
        os.kill(rig.server_pid, signal.SIGUSR2)
        rig.until(lambda: not before & set(rig.children()), 30, "new controllers")
        for caller in callers:
            rig.wait_fact(caller.uuid, "call.taken_over", 15)
        assert places(board) == joined
        assert talker.state == "talking"
        rig.switch.phone("303").behaviour = Answers(after=0.05, talk=0.2)
        talker.hangup()
        for caller in callers:
            ended(rig, caller)
        times = [answered_at(rig, caller) for caller in callers]
        assert times == sorted(times)


def places(board: QueueBoard) -> list[tuple[int, str]]:
    """Who waits, by joining time."""
    seen = board.look("acme")
    return sorted((int(caller["joined"]), str(caller["call"])) for caller in seen["waiting"]) if seen else []


def owned(rig: Rig, board: QueueBoard, caller: Caller) -> bool:
    """Whether a living controller has written of the call and holds its place."""
    try:
        return rig.owner_of(caller.uuid) in rig.children() and any(call == caller.uuid for _, call in places(board))
    except Exception:  # between two controllers
        return False


def taken(rig: Rig, caller: Caller, times: int) -> bool:
    return len(rig.facts(caller.uuid, "call.taken_over")) >= times


def answered_at(rig: Rig, caller: Caller) -> float:
    return float(rig.facts(caller.uuid, "queue.answered")[0]["at"])


def waits_unstaffed(rig: Rig, board: QueueBoard) -> bool:
    """Callers who join as every controller dies stand in the order in which they called."""
    board.duty("acme", "305", "pause")
    callers = []
    for number in range(6):
        callers.append(rig.switch.call(f"+7903000001{number}", KEYS))
        callers[-1].wait("answered", 15)
        if number in (1, 3):
            rig.until(lambda: len(rig.children()) == rig.processes, 20, "every controller")
            for pid in rig.children():
                rig.kill(pid)
    rig.until(lambda: len(places(board)) == 6, 30, "all six in the queue")
    order = [call for _, call in places(board)]
    return order == [caller.uuid for caller in callers]


def test_a_pause_by_code_stops_the_ringing_and_the_caller_goes_to_the_next(tmp_path: Path) -> None:
    """In a server of its own: a telephone of the company that dials while it rings."""
    (tmp_path / "routing").mkdir()
    (tmp_path / "routing/acme.yaml").write_text(COMPANY)
    with Rig(tmp_path / "rig", routing=tmp_path / "routing", clock=None, processes=1) as rig:
        rig.switch.phone("301", NeverAnswers())
        rig.switch.phone("302", Answers(after=0.1, talk=0.3))
        caller = waits(rig, ONE)
        rig.switch.wait(lambda: rings(rig, "301"), 10)
        anna = rig.switch.call("301", "*43", company="acme", extension="301")
        rig.switch.wait(lambda: not rings(rig, "301"), 15)
        ended(rig, caller)
        anna.wait("ended", 20)
        assert [f["data"]["agent"] for f in rig.facts(caller.uuid, "queue.answered")] == ["302"]
        assert not rig.facts(caller.uuid, "queue.missed")
