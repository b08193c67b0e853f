"""``make bench-queue`` in its smallest form: figures come out, and nothing is left running.  No test asserts a time.

What the figures rest on is tested for itself: that the telephones see what reaches them, and that a double offer would
be found.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from callcontrol.embedded import EmbeddedRedis
from callcontrol.queueboard import QueueBoard
from callcontrol.steps.queue import Queue
from callcontrol.switchboard import Switchboard, connect
from scripts.bench import machine, queue_decisions, queue_switch
from scripts.bench.queue_decisions import Account, Load
from scripts.bench.queue_phones import VOICES, Agent, Caller, Desk, Joinings, rush, singles
from scripts.bench.queue_seen import EXTENSIONS, Rush, Seen
from scripts.bench.queues import PARTS, Report, Sizes, main, measure

pytestmark = pytest.mark.tcp
TINY = Sizes(
    Rush(rounds=1, callers=5, talks=6, talk=0.2, ring=0.05, singles=1, short=0.1),
    Load(agents=12, waiting=(8, 40), measured=20, processes=(2, 3), decisions=300, busy_agents=8, busy_callers=12),
)
LOOPBACK = "127.0.0.1"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the bench works.  Afterwards no process of it lives, and no file of it is left."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    yield tmp_path
    assert not list((tmp_path / "temporary").iterdir())
    mine = str(tmp_path).encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                said = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            assert mine not in said, said


# --------------------------------------------------------------------------------------------------- parts


@pytest.mark.skipif(getattr(Queue, "not_yet", None) is not None, reason="the step queue is not built yet")
def test_agents_on_the_stand_in_switch_get_one_caller_after_the_other() -> None:
    report = measure(["calls"], TINY)
    assert "no FreeSWITCH was named: ours alone" in report.text()
    (row,) = report.parts["calls"]
    assert row["contestant"] == "Cordboard, stand-in switch"
    assert row["lost"] == {}
    assert row["talks"] >= TINY.rush.talks
    assert 0 < row["idle_ms"] <= row["idle_p95_ms"]
    assert 0 < row["joined_ms"] <= row["joined_p95_ms"]
    assert math.isfinite(row["offer_ms"])
    assert math.isnan(row["voice_ms"])


def test_a_decision_is_timed_with_few_and_with_many_who_wait_and_with_free_agents() -> None:
    few, many, join = measure(["decisions"], TINY).parts["decisions"]
    assert "8 callers wait" in few["what"]
    assert "40 callers wait" in many["what"]
    assert "12 agents are free" in join["what"]
    for row in (few, many, join):
        assert row["decisions"] == TINY.load.measured
        assert 0 < row["median_ms"] <= row["p95_ms"]
        assert not row["cpu_ms"] <= 0  # not a number: a kernel that does not count
    assert few["of_first"] == 1.0
    assert many["of_first"] == many["median_ms"] / few["median_ms"]


def test_several_processes_decide_together_and_nobody_is_offered_twice() -> None:
    found = measure(["together"], TINY).parts["together"]
    assert [row["processes"] for row in found] == [2, 3]
    for row in found:
        assert row["decisions"] >= 150
        assert row["claimed"] + row["refused"] == row["decisions"]
        assert row["did"]["taken"] > 0
        assert row["did"]["ended"] > 0
        assert row["did"]["missed"] > 0
        assert row["lost"] == {}
        assert row["doubled"] == 0


# --------------------------------------------------------------------------------------------- telephones


def _phones(talk: float, callers: int = 1, ring: float = 0.0) -> tuple[Desk, Agent, list[Caller]]:
    """An agent whom callers call without any switch."""
    desk = Desk()
    agent = Agent(desk, LOOPBACK, ring, talk)
    return desk, agent, [Caller(desk, LOOPBACK, (LOOPBACK, agent.port), voice) for voice in VOICES[:callers]]


def test_a_telephone_knows_whose_voice_it_hears_and_hangs_up_after_the_talk() -> None:
    desk, agent, (caller,) = _phones(talk=0.1)
    joinings = Joinings()
    seen = singles(desk, [agent], caller, "101", 2, 0.0, joinings)
    assert seen.lost == {}
    assert len(seen.voice) == 2
    assert all(seconds > 0 for seconds in seen.voice)
    assert [call.result for call in caller.calls] == ["", ""]
    assert all(call.placed < call.answered < call.ended for call in caller.calls)
    assert seen.joined == []  # there is no switch that says anything of joining


def test_the_time_between_two_calls_of_an_agent_is_measured() -> None:
    desk, agent, callers = _phones(talk=0.05)
    seen = rush(desk, [agent], callers, "101", 3, Joinings())
    assert seen.lost == {}
    assert len(seen.idle) >= 2
    assert all(seconds >= 0.05 for seconds in seen.idle)  # the caller calls again after so long


def test_a_second_offer_to_an_agent_is_noticed_at_the_telephone() -> None:
    desk, agent, (first, second) = _phones(talk=0.2, callers=2)
    first.call("101")
    assert desk.run(lambda: first.calls[-1].answered, 5.0)
    second.call("101")
    assert desk.run(lambda: not second.busy, 5.0)
    assert second.calls[-1].result == "refused: 486"
    assert agent.doubled == 1
    assert desk.run(lambda: not first.busy, 5.0)


def test_silence_is_nobodys_voice() -> None:
    desk, agent, _ = _phones(talk=0.1)
    silent = Caller(desk, LOOPBACK, (LOOPBACK, agent.port), 0xD5)
    silent.call("101")
    assert desk.run(lambda: silent.calls[-1].answered, 5.0)
    desk.rest(0.2)
    assert not agent.now.heard
    silent.hang_up()
    assert desk.run(lambda: not agent.busy, 5.0)
    assert agent.now.result == "BYE"


def test_a_joining_is_the_first_of_this_caller_after_the_answer() -> None:
    desk, agent, (caller,) = _phones(talk=0.1)
    caller.call("101")
    assert desk.run(lambda: agent.calls and agent.now.heard, 5.0)
    joinings, call = Joinings(), agent.now
    said = ((-1.0, caller.voice), (0.2, caller.voice), (0.1, caller.voice), (0.05, caller.voice + 1))
    for took, (after, voice) in enumerate(said):
        joinings.said(f"+4420794600{voice}", call.answered + after, took)
    joinings.said("+15550100", call.answered, 9.0)
    assert joinings.of(call) == [2.0]
    assert desk.run(lambda: not caller.busy, 5.0)


def test_mod_callcenter_is_set_up_for_the_same_telephones_in_a_copy_of_our_configuration(place: Path) -> None:
    queue_switch._configure(place / "conf", place / "music.wav")
    context = ElementTree.parse(place / "conf" / "dialplan" / "cordboard.xml").find("context")
    assert context is not None
    assert [extension.get("name") for extension in context][:1] == ["callcenter"]
    found = ElementTree.parse(place / "conf" / "autoload_configs" / "callcenter.conf.xml").getroot()
    agents = found.findall("agents/agent")
    assert [agent.get("contact") for agent in agents] == [f"user/{one}@bench.cordboard.test" for one in EXTENSIONS]
    assert {agent.get("wrap-up-time") for agent in agents} == {"0"}
    assert [tier.get("agent") for tier in found.findall("tiers/tier")] == list(EXTENSIONS)


# ------------------------------------------------------------------------------------------------ the proof


def wrong(*lines: tuple[str, str, str, int]) -> dict[str, int]:
    account = Account(["1", "2"])
    for n, line in enumerate(lines):
        account.follow(n, *line)
    return dict(account.wrong)


def test_what_may_happen_to_an_agent_is_not_wrong() -> None:
    assert not wrong(
        ("claimed", "1", "a", 1),
        ("taken", "1", "a", 1),
        ("ended", "1", "a", 1),
        ("claimed", "1", "b", 1),
        ("missed", "1", "b", 1),
        ("claimed", "1", "b", 2),
        ("left", "-", "b", 0),
        ("claimed", "1", "c", 1),
        ("paused", "1", "-", 0),
        ("claimed", "2", "c", 2),
        ("expired", "2", "-", 0),
        ("claimed", "2", "d", 1),
        ("taken", "1", "d", 1),  # late: the offer to the other ends
        ("claimed", "2", "e", 1),
    )


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ((("claimed", "1", "a", 1), ("claimed", "1", "b", 1)), "an agent with two offers"),
        (
            (("claimed", "1", "a", 1), ("taken", "1", "a", 1), ("claimed", "1", "b", 1)),
            "an offer to an agent who talks",
        ),
        ((("claimed", "1", "a", 1), ("claimed", "2", "a", 2)), "a caller with two agents"),
        ((("claimed", "1", "a", 1), ("taken", "1", "a", 1), ("taken", "1", "b", 1)), "an agent with two talks"),
        ((("ended", "1", "a", 1),), "an end of another talk"),
        ((("claimed", "1", "a", 1), ("missed", "1", "a", 2)), "a miss of no offer"),
    ],
)
def test_what_must_never_happen_to_an_agent_is_found(lines: Any, what: str) -> None:
    assert wrong(*lines) == {what: 1}


@pytest.fixture
def redis(place: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(place / "redis") as server:
        yield server


def test_a_double_offer_that_stands_in_redis_is_found(redis: EmbeddedRedis) -> None:
    board = QueueBoard(Switchboard(redis.url, name="test"))
    assert board.enrol("c", "1", queue_decisions._members(2))
    for n in (0, 8):
        answer = queue_decisions._enter(board, "c", f"call-{n}", n)
        ((_, agent, claimed),) = queue_decisions.decide(board, "c", answer)
        assert claimed.done
    assert not queue_decisions._wrong_in_redis(board, "c")

    connection: Any = connect(redis.url, name="test")
    caller = json.loads(connection.hget("cordboard:queue:c:callers", "call-0"))
    caller["offers"][agent] = 7
    connection.hset("cordboard:queue:c:callers", "call-0", json.dumps(caller))
    assert queue_decisions._wrong_in_redis(board, "c")["an agent among the offers of two callers"] == 1


def test_a_script_that_lets_anybody_be_claimed_does_not_pass(redis: EmbeddedRedis, place: Path) -> None:
    refused = "if not agent or not agent.free then\n"
    assert refused in queue_decisions.NUMBERED
    script = queue_decisions.NUMBERED.replace(refused, "if not agent then\n")
    board = QueueBoard(Switchboard(redis.url, name="test"), script=script)
    assert board.enrol("c", "1", queue_decisions._members(1))
    account = Account(["1000"])
    for n in (0, 8):
        assert queue_decisions._enter(board, "c", f"call-{n}", n)
        claimed = board.claim("c", f"call-{n}", "1000")
        assert claimed is not None
        assert claimed.data["claims"] == 1 + n // 8
        account.follow(claimed.data["n"], "claimed" if claimed.done else "refused", "1000", f"call-{n}", 1)
    assert account.wrong == {"an agent with two offers": 1}


# ----------------------------------------------------------------------------------------------- the command


def test_what_is_measured_is_said_before_and_printed_after(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "together", "--decisions", "200"], TINY) == 0
    printed = capsys.readouterr()
    assert "minute" in printed.err
    assert "make bench-queue ONLY=together DECISIONS=200" in printed.out
    assert machine.machine() in printed.out
    assert "no switch" in printed.out
    assert "double offers" in printed.out


def test_json_has_what_the_tables_have(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "decisions", "--json", "-"], TINY) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["decisions"] for row in told["parts"]["decisions"]] == [20, 20, 20]
    assert told["parts"]["decisions"][2]["of_first"] is None
    assert told["commit"]


@pytest.mark.parametrize("given", [["--only", "nothing"], ["--decisions", "3"], ["--freeswitch", "/nowhere"]])
def test_what_cannot_be_measured_is_a_mistake_of_usage(given: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(given, TINY)
    assert ended.value.code == 2


def test_what_was_lost_on_the_way_stands_in_the_table() -> None:
    row: dict[str, Any] = {"contestant": "x", "talks": 0, "lost": {"two offers at once": 2}}
    times = {f"{name}_{share}ms": math.nan for name in ("idle", "offer", "joined", "voice") for share in ("", "p95_")}
    report = Report("m", "c", "make bench-queue", "now", "s", 0.0, {"calls": [{**row, **times}]})
    assert "2 two offers at once" in report.text()


def test_what_was_seen_in_several_rounds_is_one() -> None:
    one, other = Seen([1.0], [2.0], [3.0], [4.0], {"a": 1}), Seen([5.0], lost={"a": 1, "b": 2})
    one.lose("c", 0)
    one.add(other)
    assert one == Seen([1.0, 5.0], [2.0], [3.0], [4.0], {"a": 2, "b": 2})


def test_the_parts_are_described() -> None:
    for real in (False, True):
        assert all(part.title and part.goal and part.seconds(Sizes(), real) > 0 for part in PARTS.values())
