"""Commands from outside: performed once by one of those who could, answered to who asked, hostile until typed."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from callcontrol import commands
from callcontrol.commands import (
    COMMANDS,
    Commands,
    Failed,
    NobodyAnswered,
    RedisAway,
    Refused,
    ask,
    calls_performed_by,
    performed_by,
    recorded_by,
)
from callcontrol.embedded import EmbeddedRedis
from callcontrol.switchboard import Switchboard, connect
from scripts.rig import Rig

#: Longer than anything here takes, seconds: a limit, not a time that is waited.
LONG = 30.0
LIST = "cordboard:commands:switch1"

Serve = Callable[..., Commands]
Given = Mapping[str, Any]


@pytest.fixture
def serve(redis_url: str, board: Switchboard) -> Iterator[Serve]:
    """Makes controllers' parts that perform commands, each in a thread of its own."""
    started: list[tuple[Commands, threading.Thread]] = []

    def start(*, name: str = "one", url: str = redis_url, **perform: Callable[[Given], Given]) -> Commands:
        given = {verb.replace("_", ".", 1): what for verb, what in perform.items()}
        made = Commands(url, name=name, switches=["switch1", "switch2"], perform=given)
        started.append((made, threading.Thread(target=made.run)))
        started[-1][1].start()
        return made

    yield start
    for made, thread in started:
        made.stop()
        thread.join(LONG)
        assert not thread.is_alive()
        made.close()


@pytest.fixture
def server(serve: Serve) -> Commands:
    """One that performs everything about agents by telling what it was given."""
    return serve(agent_list=dict, agent_pause=dict, agent_resume=dict, queue_why=dict)


def push(board: Switchboard, command: Any = None, **changes: Any) -> str:
    """Put a command into the list by hand.  Returns its id."""
    known = uuid.uuid4().hex
    whole = {"v": 1, "id": known, "verb": "agent.list", "args": {}, "by": "", "deadline": now(board) + 30} | changes
    raw = json.dumps(whole) if command is None else command
    board._redis.rpush(LIST, raw)
    return known


def now(board: Switchboard) -> float:
    return commands._now(board._redis)


def answer(board: Switchboard, known: str) -> Any:
    popped = board._redis.blpop(f"cordboard:answers:{known}", LONG)
    return None if popped is None else json.loads(popped[1])


@pytest.fixture
def board(redis_url: str, board: Switchboard) -> Iterator[Switchboard]:
    """A way to the shared Redis, emptied, that waits for answers."""
    patient = Switchboard(redis_url, name="patient")
    patient._redis = connect(redis_url, name="patient", patience=LONG + 1)
    yield patient
    patient.close()


# ---------------------------------------------------------------------------------------------- performing


def test_a_command_is_performed_and_its_answer_comes_back(redis_url: str, server: Commands) -> None:
    given = {"company": "acme", "agent": "301", "reason": "обед"}
    assert ask(redis_url, "switch1", "agent.pause", given, by="anna") == {**given, "by": "anna", "switch": "switch1"}
    assert ask(redis_url, "switch2", "agent.resume", {"company": "acme", "agent": "302"}) == {
        "company": "acme",
        "agent": "302",
        "reason": "",
        "by": "",
        "switch": "switch2",
    }


def test_two_servers_perform_each_command_once_and_nobody_hears_anothers_answer(redis_url: str, serve: Serve) -> None:
    lock = threading.Lock()
    done: list[tuple[str, str]] = []
    # Each waits for the other's first command, so that both are sure to have taken one.
    both = threading.Barrier(2)

    def performing(name: str) -> Callable[[Given], Given]:
        first = [True]

        def perform(given: Given) -> Given:
            if first:
                first.clear()
                both.wait(LONG)
            with lock:
                done.append((name, given["reason"]))
            return {"echo": given["reason"]}

        return perform

    for name in ("one", "two"):
        serve(name=name, agent_pause=performing(name))
    wrong: list[object] = []

    def asking(number: int) -> None:
        for i in range(25):
            word = f"{number}-{i}"
            given = {"company": "acme", "agent": "301", "reason": word}
            try:
                found: object = ask(redis_url, "switch1", "agent.pause", given, LONG)
            except Exception as error:
                found = error
            if found != {"echo": word}:
                wrong.append((word, found))

    askers = [threading.Thread(target=asking, args=(i,)) for i in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(2 * LONG)
    assert wrong == []
    assert sorted(word for _, word in done) == sorted(f"{number}-{i}" for number in range(8) for i in range(25))
    assert {name for name, _ in done} == {"one", "two"}


def test_nothing_of_a_command_is_left_behind(redis_url: str, board: Switchboard, server: Commands) -> None:
    ask(redis_url, "switch1", "agent.list", {})
    assert board._redis.keys("cordboard:*") == []
    known = push(board, verb="agent.list")  # and who asked is gone
    while not board._redis.exists(f"cordboard:answers:{known}"):
        pass
    assert 0 < board._redis.ttl(f"cordboard:answers:{known}") <= commands.ANSWER_SECONDS


def test_the_commands_of_a_switch_are_for_its_controllers_only(redis_url: str, server: Commands) -> None:
    with pytest.raises(NobodyAnswered):
        ask(redis_url, "switch3", "agent.list", {}, 0.05)


def test_an_exception_is_answered_and_logged_and_the_next_command_is_performed(
    redis_url: str, serve: Serve, logs: list[MutableMapping[str, Any]]
) -> None:
    def broken(given: Given) -> Given:
        raise KeyError("s3cret")

    serve(agent_pause=broken, agent_list=dict)
    with pytest.raises(Failed, match=r"failed at agent\.pause") as found:
        ask(redis_url, "switch1", "agent.pause", {"company": "acme", "agent": "301"}, by="anna")
    assert "s3cret" not in str(found.value)
    assert [(line["verb"], line["by"]) for line in logs if line["log_level"] == "error"] == [("agent.pause", "anna")]
    assert ask(redis_url, "switch1", "agent.list", {"company": "acme"}) == {
        "company": "acme",
        "by": "",
        "switch": "switch1",
    }


def test_who_performs_may_refuse_and_that_is_no_fault(
    redis_url: str, serve: Serve, logs: list[MutableMapping[str, Any]]
) -> None:
    def refusing(given: Given) -> Given:
        raise Refused("there is no agent 309 in acme")

    serve(agent_pause=refusing)
    with pytest.raises(Refused, match=r"^there is no agent 309 in acme$"):
        ask(redis_url, "switch1", "agent.pause", {"company": "acme", "agent": "309"})
    assert logs == []


@pytest.mark.parametrize("made", [{"x": object()}, {"x": math.nan}, {"x": "y" * commands.LONGEST_ANSWER}])
def test_an_answer_that_cannot_be_sent_is_a_failure(redis_url: str, serve: Serve, made: dict[str, Any]) -> None:
    serve(agent_list=lambda given: made)
    with pytest.raises(Failed, match="answer"):
        ask(redis_url, "switch1", "agent.list", {})


def test_what_no_handler_performs_is_not_known_here(redis_url: str, serve: Serve) -> None:
    serve()
    with pytest.raises(Refused, match=r"queue\.show is not known here"):
        ask(redis_url, "switch1", "queue.show", {})


def test_every_command_reaches_its_handler() -> None:
    class Desk:
        def __getattr__(self, name: str) -> Callable[..., Any]:
            return lambda *given: (name, *given)

    perform = {**performed_by(cast(Any, Desk())), **recorded_by(cast(Any, Desk()))}
    assert {*perform} == {verb for verb in COMMANDS if not verb.startswith("call.")}
    given = {"company": "acme", "agent": "301", "reason": "lunch", "by": "anna", "queue": "sales", "first": 7}
    given["call"] = "a-call"
    found: dict[str, Any] = {verb: what(given) for verb, what in perform.items()}
    assert found == {
        "agent.list": ("agents", "acme"),
        **{
            f"agent.{what}": ("set_duty", "acme", "301", what, "lunch", "anna")
            for what in ("log_in", "log_out", "pause", "resume")
        },
        "queue.show": ("queues", "acme", "sales"),
        "queue.why": ("why", "acme", "sales", 7),
        **{f"recording.{what}": (what, "acme", "a-call", "anna") for what in ("start", "stop", "pause", "resume")},
    }


def test_every_command_about_calls_reaches_its_handler_with_the_switch_that_was_asked() -> None:
    class Exchange:
        def __getattr__(self, name: str) -> Callable[..., Any]:
            return lambda *given: (name, *given)

    perform = calls_performed_by(cast(Any, Exchange()))
    assert {*perform} == {verb for verb in COMMANDS if verb.startswith("call.")}
    given = {"switch": "switch1", "company": "acme", "call": "call-0001", "by": "anna", "extension": "301"}
    found: dict[str, Any] = {verb: what(given | {"to": "302", "key": "k"}) for verb, what in perform.items()}
    assert found == {
        "call.list": ("calls", "switch1", "acme"),
        "call.hang_up": ("hang_up", "switch1", "acme", "call-0001", "anna"),
        "call.place": ("place", "switch1", "acme", "301", "302", "k", "anna"),
    }


# ---------------------------------------------------------------------------------------- nobody, and too late


def test_without_a_server_it_is_an_error_within_two_seconds_and_a_little(redis_url: str, board: Switchboard) -> None:
    began = time.monotonic()
    with pytest.raises(NobodyAnswered, match="nothing was done") as found:
        ask(redis_url, "switch1", "agent.list", {})
    assert 2.0 <= time.monotonic() - began < 4.0
    assert not found.value.taken
    assert board._redis.keys("cordboard:*") == []  # and a server that comes now performs nothing


def test_a_command_whose_controller_died_with_it_may_have_been_performed(redis_url: str, board: Switchboard) -> None:
    dying = threading.Thread(target=lambda: board._redis.blpop(LIST, LONG))
    dying.start()
    with pytest.raises(NobodyAnswered, match="may have been performed") as found:
        ask(redis_url, "switch1", "agent.list", {}, 0.3)
    dying.join(LONG)
    assert found.value.taken


def test_what_is_sent_is_forgotten_by_itself_when_who_asked_dies(redis_url: str, board: Switchboard) -> None:
    def dies() -> None:
        with pytest.raises(NobodyAnswered):
            ask(redis_url, "switch1", "agent.list", {}, 1.0)

    asking = threading.Thread(target=dies)
    asking.start()
    while not board._redis.exists(LIST):
        pass
    assert commands.LONGEST_WAIT < board._redis.ttl(LIST) <= 2 * commands.LONGEST_WAIT
    asking.join(LONG)


def test_a_command_past_its_deadline_by_redis_clock_is_dropped(board: Switchboard, serve: Serve) -> None:
    done: list[str] = []
    late = push(board, deadline=now(board) - 0.001, args={"company": "late"})
    far = push(board, deadline=now(board) + 2 * commands.LONGEST_WAIT, args={"company": "far"})
    good = push(board, args={"company": "good"})

    def perform(given: Given) -> Given:
        done.append(given["company"])
        return {}

    serve(agent_list=perform)
    assert answer(board, good) == {"v": 1, "answer": {}}
    assert done == ["good"]
    assert not board._redis.exists(f"cordboard:answers:{late}", f"cordboard:answers:{far}")


def test_an_answer_in_the_last_moment_is_still_heard(
    redis_url: str, board: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = board._redis

    class Late:
        """Redis, with a server that answers between the end of the waiting and the taking back."""

        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

        def blpop(self, key: str, timeout: float) -> None:
            client.delete(LIST)
            client.rpush(key, b'{"v":1,"answer":{"late":true}}')

        def close(self) -> None:
            pass

    monkeypatch.setattr(commands, "connect", lambda *given, **more: Late())
    assert ask(redis_url, "switch1", "agent.list", {}) == {"late": True}


# --------------------------------------------------------------------------------------------------- stopping


def test_who_drains_ends_at_once_and_takes_nothing_that_comes_after(redis_url: str, board: Switchboard) -> None:
    draining = Commands(redis_url, name="draining", switches=["switch1"], perform={"agent.list": dict})
    thread = threading.Thread(target=draining.run)
    thread.start()
    ask(redis_url, "switch1", "agent.list", {})
    began = time.monotonic()
    draining.stop()
    push(board)
    thread.join(LONG)
    assert time.monotonic() - began < commands.BLOCK / 2
    assert board._redis.llen(LIST) == 1
    draining.close()


def test_who_drains_as_a_command_comes_leaves_it_to_another(redis_url: str, board: Switchboard) -> None:
    draining = Commands(redis_url, name="draining", switches=["switch1"], perform={"agent.list": dict})

    class Moment:
        """Both come after the loop has looked, and before it waits."""

        looked = False

        def is_set(self) -> bool:
            if self.looked:
                return True
            self.looked = True
            push(board)
            draining.stop()
            return False

        def set(self) -> None:
            pass

    draining._stopping = cast(Any, Moment())
    draining.run()
    assert board._redis.llen(LIST) == 1
    draining.close()


def test_who_drains_answers_what_it_has_taken(redis_url: str, serve: Serve) -> None:
    def perform(given: Given) -> Given:
        made.stop()
        return {"done": True}

    made = serve(agent_list=perform)
    assert ask(redis_url, "switch1", "agent.list", {}) == {"done": True}


# -------------------------------------------------------------------------------------------------- hostile


HOSTILE: list[tuple[str, Any, str]] = [
    ("agent.shoot", {}, "there is no command 'agent.shoot'"),
    ("__class__", {}, "there is no command"),
    ("agent.list\n\x1b[2J", {}, r"'agent.list\n\x1b[2J'"),
    ("x" * 5000, {}, "there is no command"),
    ("agent.list", {"company": "acme", "x" * 3000: 1}, "Unknown field"),
    ("agent.list", {"\x1b[2J": 1}, r"\x1b[2J: Unknown field"),
    ("agent.list", {"company": "../acme"}, "no company's id"),
    ("agent.list", {"company": "acme\n"}, "no company's id"),
    ("agent.list", {"company": "a" * 32}, "no company's id"),
    ("agent.list", {"company": {"$ne": ""}}, "Not a valid string"),
    ("agent.list", ["company", "acme"], ""),
    ("agent.pause", {"agent": "301"}, "company: Missing data"),
    ("agent.pause", {"company": "acme", "agent": "301,${system(x)}"}, "no extension"),
    ("agent.pause", {"company": "acme", "agent": "٣٠١"}, "no extension"),
    ("agent.pause", {"company": "acme", "agent": 301}, "Not a valid string"),
    ("agent.pause", {"company": "acme", "agent": "301", "reason": "a\nb"}, "printable"),
    ("agent.pause", {"company": "acme", "agent": "301", "reason": "\ud800"}, "printable"),
    ("agent.pause", {"company": "acme", "agent": "301", "reason": "\u202eabc"}, "printable"),
    ("agent.pause", {"company": "acme", "agent": "301", "reason": "a" * 101}, "100 characters"),
    ("agent.pause", {"company": "acme", "agent": "301", "by": "the boss"}, "by: Unknown field"),
    ("call.hang_up", {"call": "1" * 36}, "company: Missing data"),
    ("call.hang_up", {"company": "acme", "call": "all"}, "no id of a call"),
    ("call.hang_up", {"company": "acme", "call": "1" * 36 + "\nall"}, "no id of a call"),
    ("call.list", {"company": ""}, "no company's id"),
    ("call.place", {"company": "acme", "extension": "301"}, "to: Missing data"),
    ("call.place", {"company": "acme", "extension": "3 1", "to": "302"}, "no extension"),
    ("call.place", {"company": "acme", "extension": "301", "to": "302\napi hupall"}, "printable"),
    ("call.place", {"company": "acme", "extension": "301", "to": "302", "key": "a b"}, "no key"),
    ("call.place", {"company": "acme", "extension": "301", "to": "302", "key": "k" * 65}, "no key"),
    ("queue.why", {"company": "acme", "queue": "Sales"}, "no queue's name"),
    ("queue.why", {"company": "acme", "queue": "sales", "first": 10**9}, "first"),
    ("queue.why", {"company": "acme", "queue": "sales", "first": "5"}, "first"),
]


@pytest.mark.parametrize(("verb", "arguments", "said"), HOSTILE)
def test_what_is_not_typed_is_refused_before_it_is_sent_and_when_it_is_taken(
    redis_url: str, board: Switchboard, server: Commands, verb: str, arguments: Any, said: str
) -> None:
    with pytest.raises(Refused) as found:
        ask("redis://127.0.0.1:1/0", "switch1", verb, arguments)
    reply = answer(board, push(board, verb=verb, args=arguments))
    for text in (str(found.value), reply["refused"]):
        assert said in text
        assert text.isprintable()
        assert len(text) <= 500


def test_who_asks_is_typed_before_anything_is_sent() -> None:
    with pytest.raises(Refused, match="by: must be printable"):
        ask("redis://127.0.0.1:1/0", "switch1", "agent.list", {}, by="a\nb")


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"v": True},
        {"verb": None},
        {"verb": ["agent.list"]},
        {"args": None},
        {"by": "a\nb"},
        {"by": "x" * 101},
        {"deadline": None},
        {"deadline": math.nan},
        {"deadline": math.inf},
        {"deadline": 10**400},
        {"extra": 1},
    ],
)
def test_what_is_around_a_command_is_typed_as_well(
    board: Switchboard, server: Commands, changes: dict[str, Any]
) -> None:
    assert next(iter(changes)) in answer(board, push(board, **changes))["refused"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"id":5}',
        b'{"id":"live:switch1"}',
        b'{"id":"' + b"a" * 33 + b'"}',
        b"[" * 8000,
        b'{"a":' * 1500,
        b'{"id":"' + b"a" * 32 + b'","args":"' + b"x" * commands.LONGEST_COMMAND + b'"}',
    ],
)
def test_what_is_no_command_is_dropped_and_stops_nobody(
    redis_url: str, board: Switchboard, server: Commands, raw: bytes
) -> None:
    before = {*board._redis.keys("*")}
    push(board, raw)
    assert ask(redis_url, "switch1", "agent.list", {}, LONG) == {"company": "", "by": "", "switch": "switch1"}
    assert {*board._redis.keys("*")} == before


def test_a_list_that_is_something_else_keeps_nobody_from_taking_commands(
    redis_url: str, board: Switchboard, serve: Serve, logs: list[MutableMapping[str, Any]]
) -> None:
    for name in (LIST, "cordboard:commands:switch2", "cordboard:no-more:one"):
        board._redis.set(name, "damaged")
    serve(agent_list=dict)
    end = time.monotonic() + LONG
    while board._redis.type(LIST) == b"string":
        assert time.monotonic() < end
    assert ask(redis_url, "switch1", "agent.list", {}, LONG) == {"company": "", "by": "", "switch": "switch1"}
    assert ask(redis_url, "switch2", "agent.list", {}, LONG) == {"company": "", "by": "", "switch": "switch2"}
    assert "commands cannot be taken: they are no list" in {line.get("what") for line in logs}


@pytest.mark.parametrize(
    "raw", [b"", b"5", b"{}", b'{"v":2,"answer":{}}', b'{"v":1,"answer":[]}', b'{"v":1,"refused":1}']
)
def test_an_answer_that_cannot_be_read_is_a_failure(raw: bytes) -> None:
    with pytest.raises(Failed, match="cannot be read"):
        commands._result(raw)


@pytest.mark.parametrize("seconds", [0, -1, math.nan, commands.LONGEST_WAIT + 1])
def test_nobody_waits_for_ever_or_not_at_all(redis_url: str, seconds: float) -> None:
    with pytest.raises(ValueError, match="nobody can wait"):
        ask(redis_url, "switch1", "agent.list", {}, seconds)


def test_the_longest_command_that_can_be_asked_is_taken(redis_url: str, server: Commands) -> None:
    wide = "\U0001f600" * 100
    given = {"company": "a" * 31, "agent": "1" * 6, "reason": wide}
    assert ask(redis_url, "switch1", "agent.pause", given, LONG, by=wide)["reason"] == wide


# --------------------------------------------------------------------------------------------- Redis is away


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "http://127.0.0.1", "unix:///no/such/socket"])
def test_without_redis_who_asks_is_told(url: str) -> None:
    with pytest.raises(RedisAway):
        ask(url, "switch1", "agent.list", {})


def test_a_server_outlives_redis_and_says_once_that_it_is_away(
    own_redis: EmbeddedRedis, serve: Serve, logs: list[MutableMapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "AWAY", 0.01)
    serve(url=own_redis.url, agent_list=dict)
    assert ask(own_redis.url, "switch1", "agent.list", {}, LONG) == {"company": "", "by": "", "switch": "switch1"}
    with closing(connect(own_redis.url, name="test")) as client:
        while not any(one["cmd"] == "blpop" for one in client.client_list()):
            pass  # else it may die while the server hears that its answer arrived
    own_redis.kill()
    while not logs:
        pass
    own_redis.start()
    assert ask(own_redis.url, "switch1", "agent.list", {}, LONG) == {"company": "", "by": "", "switch": "switch1"}
    assert [line["event"] for line in logs] == ["no commands can be taken", "commands can be taken again"]


# ------------------------------------------------------------------------------------------------- the house


def test_who_asks_needs_no_gevent() -> None:
    program = "import callcontrol.commands, sys; sys.exit('gevent' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


@pytest.mark.tcp
def test_the_controllers_of_a_running_server_take_commands(tmp_path: Path) -> None:
    with Rig(tmp_path, processes=2) as rig, closing(Switchboard(rig.redis_url, name="test")) as board:
        board._redis = connect(rig.redis_url, name="test", patience=LONG + 1)
        replies = [answer(board, push(board, verb="agent.shoot")) for _ in range(10)]
        assert replies == [{"v": 1, "refused": "there is no command 'agent.shoot'"}] * 10
        taken = {client["name"] for client in board._redis.client_list() if client["cmd"] == "blpop"}
        assert len([name for name in taken if name.endswith("-commands")]) == 2
