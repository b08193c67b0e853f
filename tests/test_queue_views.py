"""``cordboard agents`` and ``cordboard queue`` as people meet them: real Redis, real commands, told answers."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from callcontrol import queue_rows, queueing
from callcontrol import queue_views as views
from callcontrol.cli import main
from callcontrol.commands import Commands, Refused, performed_by
from callcontrol.queue_views import AgentList, AgentRow, AgentSet, CallerRow, QueueList, QueueRow, Why, WhyRow
from callcontrol.switchboard import Switchboard

CORDBOARD = str(Path(sys.executable).parent / "cordboard")
NOW = 1_800_000_000.0


def agent(extension: str, name: str, state: str, since: float = 0.0, **more: Any) -> AgentRow:
    row: AgentRow = {
        "company": "acme",
        "agent": extension,
        "name": name,
        "state": state,
        "duty": {"paused": "paused", "logged_out": "out"}.get(state, "on"),
        "since": NOW - since,
        "until": None,
        "reason": "",
        "queues": ["sales", "support"],
        "calls": 3,
        "talk": 240.0,
        "with": "",
        "queue": "",
        "misses": 0,
        "last": "",
        "last_at": None,
    }
    row.update(more)  # type: ignore[typeddict-item]
    return row


def why(extension: str, name: str, reason: str, text: str, seconds: float | None = None) -> WhyRow:
    return {"agent": extension, "name": name, "reason": reason, "text": text, "seconds": seconds}


def caller(number: str, waited: float, state: str = "waiting", **more: Any) -> CallerRow:
    row: CallerRow = {
        "call": f"call-{number}",
        "caller": number,
        "waited": waited,
        "priority": 0,
        "skills": [],
        "state": state,
        "agents": [],
    }
    row.update(more)  # type: ignore[typeddict-item]
    return row


def queue(company: str, name: str, waiting: int, longest: float | None, available: int = 1) -> QueueRow:
    staff: views.Staff = {"available": available, "busy": 2, "paused": 1, "out": 0}
    return {"company": company, "queue": name, "waiting": waiting, "longest": longest, "agents": staff}


AGENTS = [
    agent("301", "Anna Petrova", "talking", 125.0, queue="support", **{"with": "+79031234567"}),
    agent("302", "Boris Orlov", "paused", 723.0, reason="lunch", calls=12),
    agent("303", "Chiara", "wrap_up", 1.0, until=NOW + 4.0, queues=["sales"]),
    agent("304", "Дмитрий", "available", 9000.0, last="no_answer", last_at=NOW - 200.0, misses=2),
    agent("305", "", "offered", 6.0, queue="sales"),
    agent("306", "Eva", "elsewhere", 70.0),
    agent("307", "Fay", "logged_out", 90_000.0, reason="hours"),
    agent("308", "Gus", "delayed", 8.0, until=NOW + 7.2, last="unreachable", last_at=NOW - 8.0, misses=1),
]
WHY = [
    why("301", "Anna", "talking", "talking with +79031234567 for 2:05 (queue support)", 125.0),
    why("302", "Boris", "paused", "paused 12 min (lunch)", 723.0),
    why("304", "", "skill", "lacks the skill german"),
]


class Desk:
    """Performs commands by telling what the test told it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.agent_rows = AGENTS
        self.queue_rows = [queue("acme", "sales", 2, 125.0), queue("acme", "support", 0, None)]
        self.waiting = 2
        self.callers = [
            caller("+79031234567", 125.0, priority=5, skills=["german", "loans"], agents=WHY),
            caller("", 40.0, "offered", agents=[why("307", "Fay", "rings", "rings now, 6 s", 6.0)]),
        ]

    def agents(self, company: str) -> AgentList:
        self.asked.append(("agents", company))
        return {"now": NOW, "agents": [row for row in self.agent_rows if company in ("", row["company"])]}

    def set_duty(self, company: str, agent: str, what: str, reason: str, by: str) -> AgentSet:
        self.asked.append((what, company, agent, reason, by))
        if agent == "309":
            raise Refused("there is no agent 309 in acme\x1b[2J")
        state = {"pause": "paused", "log_out": "logged_out"}.get(what, "available")
        return {"agent": agent, "name": "Boris", "state": state, "reason": reason}

    def queues(self, company: str, queue: str) -> QueueList:
        self.asked.append(("queues", company, queue))
        rows = [row for row in self.queue_rows if company in ("", row["company"]) and queue in ("", row["queue"])]
        return {"now": NOW, "queues": rows}

    def why(self, company: str, queue: str, first: int) -> Why:
        self.asked.append(("why", company, queue))
        staff: views.Staff = {"available": 0, "busy": 2, "paused": 1, "out": 0}
        return {
            "company": company,
            "queue": queue,
            "now": NOW,
            "waiting": self.waiting,
            "callers": self.callers,
            "staff": staff,
        }


@pytest.fixture
def settings(tmp_path: Path, redis_url: str) -> dict[str, str]:
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "secret").write_text("x")
    (tmp_path / "cordboard.yaml").write_text("switches: [{name: switch1, port: 1, password_file: secret}]\n")
    return {"CORDBOARD_CONFIG": str(tmp_path / "cordboard.yaml"), "CORDBOARD_REDIS": redis_url}


@pytest.fixture
def desk(board: Switchboard, redis_url: str) -> Iterator[Desk]:
    desk = Desk()
    server = Commands(redis_url, name="desk", switches=["switch1"], perform=performed_by(desk))
    thread = threading.Thread(target=server.run)
    thread.start()
    yield desk
    server.stop()
    thread.join(30)
    server.close()


@pytest.fixture
def run(settings: dict[str, str]) -> Any:
    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, arguments, env=settings)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.output

    return run


# --------------------------------------------------------------------------------------------------- agents


def test_agents_are_told_with_what_they_do(run: Any, desk: Desk) -> None:
    assert run("agents") == (
        0,
        """\
agent  name          state                                     queues          calls  last miss
301    Anna Petrova  talking 2:05 with +79031234567 (support)  sales, support  3
302    Boris Orlov   paused 12 min (lunch)                     sales, support  12
303    Chiara        wrap-up, 4 s left                         sales           3
304    Дмитрий       available                                 sales, support  3      no answer, 3 min ago (2 in a row)
305                  ringing 6 s (sales)                       sales, support  3
306    Eva           on another call 1:10                      sales, support  3
307    Fay           logged out (hours)                        sales, support  3
308    Gus           missed a call, asked again in 7 s         sales, support  3      not registered, 8 s ago
""",
    )


def test_of_an_agent_who_still_talks_it_is_told_that_a_pause_or_a_log_out_follows(run: Any, desk: Desk) -> None:
    desk.agent_rows = [
        agent("301", "Anna", "talking", 5.0, queue="sales", duty="paused", reason="lunch"),
        agent("302", "Boris", "wrap_up", 1.0, until=NOW + 4.0, duty="out"),
        agent("303", "Chiara", "logged_out", 1.0),
    ]
    lines = [line.split("  ") for line in run("agents")[1].splitlines()]
    states = [[cell for cell in line if cell.strip()][2].strip() for line in lines[1:]]
    assert states == ["talking 5 s (sales), then paused (lunch)", "wrap-up, 4 s left, then logged out", "logged out"]


def test_agents_of_one_company_are_asked_for_and_of_several_told_apart(run: Any, desk: Desk) -> None:
    desk.agent_rows = [agent("301", "Anna", "available"), agent("301", "Zoe", "available", company="zeta")]
    text = run("agents")[1].splitlines()
    assert [line.split()[0] for line in text] == ["company", "acme", "zeta"]
    assert run("agents", "--company", "zeta")[1].splitlines()[1].split()[:2] == ["301", "Zoe"]
    assert desk.asked == [("agents", ""), ("agents", "zeta")]


def test_without_agents_it_says_so(run: Any, desk: Desk) -> None:
    desk.agent_rows = []
    assert run("agents") == (0, "there are no agents\n")


@pytest.mark.parametrize(
    ("word", "what", "said"),
    [
        ("log-in", "log_in", "302 Boris is available (lunch)\n"),
        ("log-out", "log_out", "302 Boris is logged out (lunch)\n"),
        ("pause", "pause", "302 Boris is paused (lunch)\n"),
        ("resume", "resume", "302 Boris is available (lunch)\n"),
    ],
)
def test_an_agent_is_logged_in_and_out_paused_and_resumed(
    run: Any, desk: Desk, word: str, what: str, said: str
) -> None:
    assert run("agents", word, "acme", "302", "--reason", "lunch") == (0, said)
    ((asked, *given, by),) = desk.asked
    assert (asked, *given) == (what, "acme", "302", "lunch")
    assert by.endswith(" on the command line")


def test_an_option_before_what_is_done_is_not_passed_over(run: Any, desk: Desk) -> None:
    code, text = run("agents", "--redis", "redis://127.0.0.1:1/0", "pause", "acme", "302")
    assert (code, "Options stand after pause." in text) == (2, True)
    assert desk.asked == []


def test_what_is_refused_is_exit_code_1_and_moves_no_cursor(run: Any, desk: Desk) -> None:
    assert run("agents", "pause", "acme", "309") == (1, "cordboard: there is no agent 309 in acme\\x1b[2J\n")
    code, text = run("agents", "pause", "acme", "three")
    assert (code, text) == (1, "cordboard: agent: 'three' is no extension, such as 301\n")


# --------------------------------------------------------------------------------------------------- queues


def test_queues_are_listed(run: Any, desk: Desk) -> None:
    assert run("queue") == (
        0,
        """\
queue    waiting  longest wait  available  busy  paused  logged out
sales    2        2:05          1          2     1       0
support  0                      1          2     1       0
""",
    )


def test_who_waits_is_told_in_order(run: Any, desk: Desk) -> None:
    assert run("queue", "sales") == (
        0,
        """\
sales of acme: 2 wait, the longest for 2:05; agents: 2 busy, 1 paused
   caller        waits  priority  needs          now
1  +79031234567  2:05   5         german, loans
2  no number     40 s                            rings 307
""",
    )


def test_why_tells_for_each_caller_of_each_agent(run: Any, desk: Desk) -> None:
    desk.waiting = 12
    desk.callers.append(caller("+7495", 3.0, "stalled"))
    assert run("queue", "sales", "--why", "--company", "acme") == (
        0,
        """\
sales of acme: 12 wait, the first for 2:05; agents: 2 busy, 1 paused
1. +79031234567 waits 2:05, priority 5, needs german, loans
   301 Anna: talking with +79031234567 for 2:05 (queue support)
   302 Boris: paused 12 min (lunch)
   304: lacks the skill german
2. no number waits 40 s, rings 307
   307 Fay: rings now, 6 s
3. +7495 waits 3 s, stalled: no controller has the call just now
   the queue has no agents
and 9 more
""",
    )
    assert desk.asked == [("why", "acme", "sales")]


def test_the_longest_wait_is_told_though_another_goes_first(run: Any, desk: Desk) -> None:
    desk.callers = [caller("+7903", 8.0, priority=5), caller("+7495", 125.0)]
    assert run("queue", "sales")[1].startswith("sales of acme: 2 wait, the longest for 2:05; agents:")


@pytest.mark.parametrize("options", [(), ("--why",)])
def test_where_nobody_waits_one_line_says_so(run: Any, desk: Desk, options: tuple[str, ...]) -> None:
    desk.callers, desk.waiting = [], 0
    line = "sales of acme: nobody waits; agents: 2 busy, 1 paused\n"
    assert run("queue", "sales", *options) == (0, line)


def test_a_queue_that_several_companies_have_needs_the_company(run: Any, desk: Desk) -> None:
    desk.queue_rows = [queue("zeta", "sales", 0, None), queue("acme", "sales", 0, None)]
    code, text = run("queue", "sales")
    assert code == 2
    assert "Several companies have a queue sales: name one with --company: acme, zeta" in text
    assert run("queue", "sales", "--company", "zeta")[1].startswith("sales of zeta:")
    assert [line.split()[0] for line in run("queue")[1].splitlines()] == ["company", "zeta", "acme"]


def test_a_queue_that_is_not_there_is_exit_code_1(run: Any, desk: Desk) -> None:
    assert run("queue", "nowhere") == (1, "cordboard: no company has a queue nowhere\n")


def test_why_needs_a_queue(run: Any) -> None:
    code, text = run("queue", "--why")
    assert (code, "--why is about one queue" in text) == (2, True)


def test_json_is_the_answer_as_it_is(run: Any, desk: Desk) -> None:
    desk.callers = [caller("\x9b2J", 1.0)]
    for arguments, answer in (
        (("agents",), desk.agents("")),
        (("queue",), desk.queues("", "")),
        (("queue", "sales"), desk.why("acme", "sales", 50)),
    ):
        code, text = run(*arguments, "--json")
        assert (code, json.loads(text)) == (0, answer)
        assert text.isascii()


# ------------------------------------------------------------------------------------------------- terminals


def test_what_strangers_wrote_moves_no_cursor(run: Any, desk: Desk) -> None:
    evil = "\x1b[2J\n\u202e\x9b[red]"
    words: dict[str, Any] = {"with": evil, "queue": evil, "queues": [evil]}
    desk.agent_rows = [agent("301", evil, "talking", **words), agent("302", evil, "paused", reason=evil)]
    desk.agent_rows += [agent(evil, evil, evil, last=evil, company=evil)]
    desk.callers = [caller(evil, 1.0, skills=[evil], agents=[why(evil, evil, "rings", evil)])]
    desk.queue_rows = [queue("acme", "sales", 1, 1.0), queue(evil, evil, 1, 1.0)]
    for arguments in (("agents",), ("queue",), ("queue", "sales"), ("queue", "sales", "--why")):
        code, text = run(*arguments)
        assert code == 0
        assert all(line.isprintable() for line in text.split("\n")), arguments
        assert "\\x1b[2J\\n\\u202e\\x9b[red]" in text


def terminal(settings: dict[str, str], columns: int, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a command on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "COLUMNS": str(columns), **settings}
    done = subprocess.run([CORDBOARD, *arguments], env=environment, stdout=theirs, timeout=60)
    os.close(theirs)
    text = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            while data := terminal.read(4096):
                text += data
        except OSError:  # the other side is closed
            pass
    return done.returncode, text.decode()


def bare(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_terminal_has_colours_and_brackets_are_no_markup(settings: dict[str, str], desk: Desk) -> None:
    desk.agent_rows = [agent("301", "[red]Anna[/red]", "paused"), agent("302", "[/]", "available")]
    code, text = terminal(settings, 120, "agents")
    assert code == 0
    assert "\x1b[35m" in text  # magenta: paused
    assert "[red]Anna[/red]" in bare(text)
    environment = {"PATH": os.environ["PATH"], **settings}
    piped = subprocess.run([CORDBOARD, "agents"], env=environment, stdout=subprocess.PIPE, timeout=60)
    assert b"\x1b" not in piped.stdout
    assert b"[red]Anna[/red]" in piped.stdout


def test_a_narrow_terminal_cuts_nothing_off(settings: dict[str, str], desk: Desk) -> None:
    desk.agent_rows = AGENTS[:2]
    _, text = terminal(settings, 60, "agents")
    assert "…" not in text
    assert all(len(line.rstrip()) <= 60 for line in bare(text).splitlines())
    for word in ("+79031234567", "(support)", "Petrova", "301", "lunch", "last", "miss"):
        assert word in bare(text)
    _, text = terminal(settings, 50, "queue", "sales")
    assert "…" not in text
    assert "+79031234567" in bare(text)


def test_columns_fold_between_words_first_and_then_wherever_they_must() -> None:
    table = views.Table(("agent", "state"), (("301", "talking 5 s with +79031234567 (sales)"), ("302", "available")))
    assert views.fitted(table, 80) == [5, 37]
    assert views.fitted(table, 30) == [5, 23]
    assert views.fitted(table, 19) == [5, 12]
    assert views.fitted(table, 12) == [5, 5]
    assert views.fitted(table, 1) == [1, 1]
    assert views.fitted(views.Table(("", "a"), ()), 80) == [0, 1]


@pytest.mark.parametrize(
    ("seconds", "watched", "rough"),
    [
        (-3, "0 s", "0 s"),
        (0.4, "0 s", "0 s"),
        (59.4, "59 s", "59 s"),
        (59.6, "1:00", "59 s"),
        (125, "2:05", "2 min"),
        (3600, "1:00:00", "1 h"),
        (11_100, "3:05:00", "3 h 5 min"),
        (200_000, "55:33:20", "2 days"),
    ],
)
def test_lengths_of_time_are_told_as_people_read_them(seconds: float, watched: str, rough: str) -> None:
    assert (queueing.clock(seconds), views.roughly(seconds)) == (watched, rough)


# -------------------------------------------------------------------------------------------- nobody answers


def test_when_nobody_serves_it_is_exit_code_3(run: Any, board: Switchboard) -> None:
    code, text = run("agents")
    assert (code, text) == (3, "cordboard: no controller of switch1 answered within 2 s; nothing was done\n")


def test_without_redis_or_config_it_is_exit_code_3(run: Any, settings: dict[str, str]) -> None:
    settings["CORDBOARD_REDIS"] = "redis://127.0.0.1:1/0"
    code, text = run("queue")
    assert code == 3
    assert text.startswith("cordboard: Redis cannot be asked: ")
    settings["CORDBOARD_CONFIG"] += ".gone"
    code, text = run("queue")
    assert code == 3
    assert "there is no such file" in text


def test_the_reasons_of_very_many_agents_are_told_for_fewer_callers() -> None:
    """Half a million of them would keep every call of the process waiting for seconds, and be too long to send."""
    idle = {"duty": "on", "doing": "idle", "since": 0, "till": 0, "duty_since": 0, "last_at": 0, "queues": {}}
    words = dict.fromkeys(("why", "call", "caller", "queue", "last"), "")
    members = [{"agent": str(1000 + n), **idle, **words} for n in range(1000)]
    waiting = [
        {"call": f"c{n}", "caller": "", "priority": 0, "joined": n, "need": "", "standing": "waiting"}
        for n in range(500)
    ]
    found = {"members": members, "waiting": waiting, "now": 9.0}
    answer = queue_rows.why(found, "acme", "sales", None, 500)
    assert [row["call"] for row in answer["callers"]] == [f"c{n}" for n in range(12)]
    assert {len(row["agents"]) for row in answer["callers"]} == {1000}
    assert views.left_out(answer) == "and 488 more"
    few = queue_rows.why({**found, "members": members[:10]}, "acme", "sales", None, 500)
    assert len(few["callers"]) == 500


def test_one_is_told_as_one() -> None:
    assert [views.counted(count, "call") for count in (0, 1, 2)] == ["0 calls", "1 call", "2 calls"]
    assert views.counted(2, "company", "companies") == "2 companies"
