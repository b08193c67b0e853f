"""Live calls as people see and end them: what is asked of whom, the text, and the commands ``live hang-up call``."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gevent
import pytest
from click.testing import CliRunner

from callcontrol import call_views as views
from callcontrol import esl, exchange
from callcontrol.call_views import CallList, CallNamed, CallRow
from callcontrol.cli import main
from callcontrol.commands import Commands, Refused, calls_performed_by
from callcontrol.embedded import EmbeddedRedis
from callcontrol.exchange import Exchange, talks
from callcontrol.queue_views import plain
from callcontrol.switchboard import Switchboard

NOW = 1_800_000_000.0
CALL, LEG = "11111111-0000-4000-8000-000000000001", "22222222-0000-4000-8000-000000000002"


def row(call: str = CALL, **more: Any) -> CallRow:
    found: dict[str, Any] = {
        "call": call, "company": "acme", "from": "+79031234567", "to": "+74951234567", "extension": "",
        "since": NOW - 125, "state": "routed", "flow": "", "step": "", "with": "", "queue": "",
    }  # fmt: skip
    return cast(CallRow, found | more)


# ----------------------------------------------------------------------------------------------- the switch


def channel(uuid: str, application: str = "", data: str = "", presence: str = "", name: str = "") -> dict[str, str]:
    known = {"uuid": uuid, "application": application, "application_data": data, "presence_id": presence}
    return {**known, "name": name}


def test_who_talks_with_whom_is_read_off_the_channels() -> None:
    """As a real switch lists a talk: see the transcripts of placed calls."""
    listed = {
        "rows": [
            channel(CALL, "uuid_bridge", LEG, "301@acme.cordboard.test", "sofia/internal/301@127.0.0.2:59043"),
            channel(LEG, "uuid_bridge", CALL, "302@acme.cordboard.test", "sofia/internal/302@127.0.0.2:46806"),
            channel("three", "playback", "/music.wav"),
            channel("four", "uuid_bridge", "five", name="sofia/internal/+79031234567"),
            channel("five", "uuid_bridge", "four", name="sofia/internal/+79161112233@192.0.2.1"),
            channel("six", "uuid_bridge", "gone"),
        ]
    }
    assert talks(listed) == {CALL: "302", LEG: "301", "four": "+79161112233", "five": "+79031234567"}
    assert talks({"row_count": 0}) == {}


class Line:
    name = "switch1"

    def __init__(self, said: str) -> None:
        self.said = said
        self.asked: list[str] = []

    def ask(self, command: Any) -> str:
        self.asked.append(command.text)
        if not self.said:
            raise esl.ConnectionLost("away")
        return self.said


def house(line: Line, live: dict[str, dict[str, Any]]) -> Any:
    return SimpleNamespace(
        board=SimpleNamespace(live_calls=lambda switch: live, live_call=lambda switch, call: live.get(call)),
        queues=SimpleNamespace(serves=lambda company: False),
        session_of=lambda call: None,
        line_named=lambda switch: line if switch == "switch1" else None,
        current=lambda company: object() if company == "acme" else None,
        now=lambda: NOW,
    )


TALKS = json.dumps({"rows": [channel(CALL, "uuid_bridge", LEG), channel(LEG, "uuid_bridge", CALL, "302@acme.test")]})


def test_many_calls_are_one_question_and_many_who_look_are_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    live = {f"call-{n:05d}": {"company": "acme", "at": float(n), "epoch": 1} for n in range(3000)}
    line = Line(TALKS)
    desk = Exchange(house(line, live | {CALL: {"company": "acme", "at": 1.5, "epoch": 1}}))
    answer = desk.calls("switch1", "acme")
    assert desk.calls("switch1", "") == answer
    assert line.asked == ["api show channels as json"]
    assert (answer["total"], len(answer["calls"])) == (3001, 3001)
    assert [(one["call"], one["with"]) for one in answer["calls"] if one["state"] == "talking"] == [(CALL, "302")]
    monkeypatch.setattr(exchange, "MOST_CALLS", 10)
    fewer = desk.calls("switch1", "acme")
    assert (fewer["total"], len(fewer["calls"]), fewer["calls"][0]["call"]) == (3001, 10, "call-00000")


def test_a_switch_that_says_nothing_costs_only_who_talks() -> None:
    desk = Exchange(house(Line(""), {CALL: {"company": "acme", "at": 1.0, "from": "301", "epoch": 0}}))
    (found,) = desk.calls("switch1", "")["calls"]
    assert (found["state"], found["from"], found["since"]) == ("placed", "301", 1.0)
    with pytest.raises(Refused, match="cannot be asked"):
        desk.hang_up("switch1", "acme", LEG, "")
    with pytest.raises(Refused, match="no switch"):
        desk.calls("elsewhere", "")


class Board:
    """What is known of one key; each ``answers`` once, the last for ever."""

    def __init__(self, *answers: str | None, told: bool = False) -> None:
        self.answers = list(answers)
        self.ended = told

    def claim_placing(self, call: str, what: str) -> str | None:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def told(self, calls: list[str]) -> set[str]:
        return {*calls} if self.ended else set()

    def live_call(self, switch: str, call: str) -> None:
        return None

    def placed(self, call: str, what: str) -> None:
        assert self.ended


@pytest.mark.parametrize(
    ("board", "placed"),
    [
        (Board(""), False),
        (Board("", told=True), True),  # who placed it died before they could say so
        (Board("+301 302"), True),
        (Board("?301 302", "+301 302"), True),  # another controller, this moment
        (Board("?301 302", ""), False),  # it died before it placed anything
    ],
)
def test_what_is_placed_under_a_key_is_placed_once(board: Board, placed: bool) -> None:
    desk = Exchange(SimpleNamespace(board=board))
    assert desk._placed_before(cast(Any, Line("")), CALL, "301 302") is placed


def test_a_telephone_that_rings_already_is_not_rung_again_although_who_placed_the_call_could_tell_nobody() -> None:
    """Nor is the end of that call told, because the switch refuses a second channel under its id."""
    line, board = Line("true"), Board("", told=False)
    board.placed = lambda call, what: None  # type: ignore[method-assign]
    assert Exchange(SimpleNamespace(board=board))._placed_before(cast(Any, line), CALL, "301 302")
    assert line.asked == [f"api uuid_exists {CALL}"]


def test_a_controller_that_has_no_way_to_the_switch_yet_waits_for_it_and_a_switch_that_is_away_is_no_calls_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The key would give the same refusal for days, and nothing has rung."""
    line = SimpleNamespace(name="switch1", connected=False, place=lambda *given, name: "")
    placed: list[str] = []
    known = SimpleNamespace(tell_placed=lambda line, company, call, data: placed.append(call))
    desk = Exchange(cast(Any, SimpleNamespace(line_named=lambda switch: line, **vars(known))))
    monkeypatch.setattr(desk, "_judged", lambda *given: ("302", ""))
    monkeypatch.setattr(exchange, "REACHING", 0.0)
    with pytest.raises(Refused, match="switch1 cannot be reached"):
        desk.place("switch1", "acme", "301", "302", "key", "")
    assert placed == []
    monkeypatch.setattr(exchange, "REACHING", 10.0)
    gevent.spawn(setattr, line, "connected", True)
    assert [desk.place("switch1", "acme", "301", "302", "", "")["call"]] == placed


def test_a_key_is_one_call_on_a_day_and_the_next_and_another_after_that(own_redis: EmbeddedRedis) -> None:
    """Else a key that is used again after weeks would give its call the facts and recordings of the first."""
    with closing(Switchboard(own_redis.url, name="test")) as board:
        at = [NOW]
        desk = Exchange(cast(Any, SimpleNamespace(board=board, now=lambda: at[0])))
        first = desk._keyed("acme", "crm-17")
        assert desk._keyed("acme", "crm-17") == first != desk._keyed("bolt", "crm-17")
        board.placed(first, "301 302")
        at[0] = NOW + 86_400
        assert desk._keyed("acme", "crm-17") == first
        assert desk._keyed("acme", "crm-18") != first
        at[0] = NOW + 2 * 86_400
        assert desk._keyed("acme", "crm-17") != first


@pytest.mark.parametrize(
    ("board", "why"),
    [
        (Board(None), "Redis is away"),
        (Board("?301 302"), "not known yet"),
        (Board("?301 303", "+301 303"), "another call"),
        (Board("-301 302\nis busy"), "is busy"),
    ],
)
def test_and_where_that_cannot_be_said_it_is_refused(board: Board, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "PATIENCE", 0.2)
    desk = Exchange(SimpleNamespace(board=board))
    with pytest.raises(Refused, match=why):
        desk._placed_before(cast(Any, Line("")), CALL, "301 302")


# ----------------------------------------------------------------------------------------------------- text


def test_each_state_has_its_words() -> None:
    rows = [
        row("call-one", since=NOW - 3700, flow="reception", step="greet"),
        row("call-two", since=NOW - 125, state="waiting", queue="sales"),
        row("call-three", since=NOW - 40, state="talking", **{"with": "301", "from": ""}),
        row("call-four", since=NOW - 3, state="placed", extension="302", **{"from": "302"}),
        row("call-five", since=NOW - 1),
    ]
    answer: CallList = {"switch": "switch1", "now": NOW, "total": 7, "calls": rows[::-1]}
    assert list(plain(views.calls_table([answer]))) == [
        "call        from          to            for        now",
        "call-one    +79031234567  +74951234567  1 h 1 min  reception/greet",
        "call-two    +79031234567  +74951234567  2 min      waiting in sales",
        "call-three  no number     +74951234567  40 s       talking with 301",
        "call-four   302           +74951234567  3 s        rings 302",
        "call-five   +79031234567  +74951234567  1 s",
    ]
    assert views.left_out([answer, answer]) == "and 4 more"


def test_what_strangers_wrote_moves_no_cursor() -> None:
    rows = [row(company="a\x1b[2J", state="talking", **{"with": "\x1b[2J", "from": "\n", "to": "\u202e"}), row()]
    answer: CallList = {"switch": "switch1", "now": NOW, "total": 2, "calls": rows}
    assert all(cell.isprintable() for line in views.calls_table([answer]).rows for cell in line)


# ------------------------------------------------------------------------------------------ the command line


class Calls:
    """Two switches; the call, and the telephone, are at the second."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def calls(self, switch: str, company: str) -> CallList:
        rows = [row()] if switch == "switch2" else []
        return {"switch": switch, "now": NOW, "total": len(rows), "calls": [] if company == "bolt" else rows}

    def hang_up(self, switch: str, company: str, call: str, by: str) -> CallNamed:
        return self._at("switch2", switch, company, call)

    def place(self, switch: str, company: str, extension: str, to: str, key: str, by: str) -> CallNamed:
        assert by.endswith("on the command line")
        return self._at("switch2", switch, company, extension, to, key)

    def _at(self, there: str, switch: str, *given: str) -> CallNamed:
        self.asked.append((switch, *given))
        if switch != there or given[0] == "bolt":
            raise Refused(f"nothing of that on {switch}\x1b[2J")
        return {"call": CALL}


@pytest.fixture
def calls(board: Switchboard, redis_url: str) -> Iterator[Calls]:
    calls = Calls()
    performs = calls_performed_by(calls)
    server = Commands(redis_url, name="calls", switches=["switch1", "switch2"], perform=performs)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield calls
    server.stop()
    thread.join(30)
    server.close()


@pytest.fixture
def run(tmp_path: Path, redis_url: str) -> Any:
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "secret").write_text("x")
    switches = [f"{{name: switch{n}, host: 127.0.0.{n}, port: 1, password_file: secret}}" for n in (1, 2)]
    (tmp_path / "cordboard.yaml").write_text(f"switches: [{', '.join(switches)}]\n")
    settings = {"CORDBOARD_CONFIG": str(tmp_path / "cordboard.yaml"), "CORDBOARD_REDIS": redis_url}

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, arguments, env=settings)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.output

    return run


def test_the_calls_of_all_switches_are_one_list(run: Any, calls: Calls) -> None:
    code, text = run("live")
    assert (code, len(text.splitlines()), CALL in text) == (0, 2, True)
    code, text = run("live", "--json")
    assert [answer["switch"] for answer in json.loads(text)] == ["switch1", "switch2"]
    assert run("live", "--company", "bolt")[1].startswith("there are no calls")


def test_a_call_is_hung_up_wherever_it_is(run: Any, calls: Calls) -> None:
    assert run("hang-up", "acme", CALL) == (0, f"{CALL} is hung up\n")
    assert calls.asked == [("switch1", "acme", CALL), ("switch2", "acme", CALL)]


def test_a_call_is_placed_where_the_telephone_is(run: Any, calls: Calls) -> None:
    assert run("call", "acme", "301", "8 916 111-22-33") == (0, f"{CALL}\n")
    assert calls.asked[-1] == ("switch2", "acme", "301", "8 916 111-22-33", "")


def test_what_every_switch_refuses_is_refused_with_the_last_ones_words(run: Any, calls: Calls) -> None:
    assert run("hang-up", "bolt", CALL) == (1, "cordboard: nothing of that on switch2\\x1b[2J\n")
    assert run("call", "bolt", "301", "302")[0] == 1
    code, text = run("call", "acme", "nobody", "302")
    assert (code, "no extension" in text) == (1, True)
