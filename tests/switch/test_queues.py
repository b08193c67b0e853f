"""Queues on the real switch: two answers at once, callers who leave, controllers and a switch that die.

The company is company/heron.yaml.  Who stands where is read from Redis, what is heard and rung from the switch.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from callcontrol.queueboard import QueueBoard
from callcontrol.switchboard import Switchboard
from tests.switch.harness import Caller, Dialler, Event, Outside, Phone, Press, Serve, Switch, Watch, until
from tests.switch.test_calls import ends, name_of, rung, talks
from tests.switch.test_people import QUESTION, hears, leg_of

pytestmark = [pytest.mark.switch, pytest.mark.timeout(120)]

COMPANY = "heron"
PAIR, LONE, TRIO, ROW, AWAY, TIRED = (f"+7495123003{n}" for n in range(6))
AGENTS = ("301", "302", "303", "304", "305")


@pytest.fixture(scope="module")
def queues(serve: Serve, redis_url: str) -> Iterator[QueueBoard]:
    switchboard = Switchboard(redis_url, name="test")
    yield QueueBoard(switchboard)
    switchboard.close()


@pytest.fixture(autouse=True)
def quiet(queues: QueueBoard, serve: Serve) -> Iterator[None]:
    """Each test begins and ends with nobody in a queue and every agent free."""
    until("every controller lives", lambda: len(serve.controllers()) == serve.processes, 30)
    yield
    for agent in AGENTS:
        queues.duty(COMPANY, agent, "pause")  # ends delays
        queues.duty(COMPANY, agent, "resume")
    until("nobody is left in a queue", partial(settled, queues), 40)


def settled(queues: QueueBoard) -> bool:
    seen = queues.look(COMPANY)
    return seen is not None and not seen["waiting"] and all(one["doing"] == "idle" for one in seen["members"])


def state(queues: QueueBoard, agent: str) -> str:
    seen = queues.look(COMPANY)
    assert seen is not None
    return str(next(member["doing"] for member in seen["members"] if member["agent"] == agent))


def standing(queues: QueueBoard) -> list[str]:
    """The calls that wait, in order."""
    seen = queues.look(COMPANY)
    assert seen is not None
    return [call for _, call in sorted((one["joined"], str(one["call"])) for one in seen["waiting"])]


def waits(switch: Switch, watch: Watch, queues: QueueBoard, to: str, **more: Any) -> tuple[Caller, str]:
    """A caller who stands in a queue, or has an agent already, and the call."""
    watch.catch_up()
    seen = len(watch.events)
    caller = Caller(switch, to, **more)
    event = watch.wait(
        f"a call to {to}",
        lambda e: (
            watch.events.index(e) >= seen
            and e.name == "CHANNEL_EXECUTE"
            and e["Application"] == "socket"
            and e.get("variable_cordboard_called") == to
        ),
    )
    return caller, event.call


def test_a_caller_waits_is_offered_and_talks_and_the_agent_takes_the_next(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard
) -> None:
    phone("303", "phone_hangs_up", ring=200, talk=700)
    first, one = waits(switch, watch, queues, LONE)
    second, two = waits(switch, watch, queues, LONE)
    for caller, call in ((first, one), (second, two)):
        talks(watch, call)
        caller.ended()
        told = [f["type"] for f in serve.facts(call) if f["type"].startswith("queue.")]
        assert told == ["queue.joined", "queue.offered", "queue.answered"]
    until("the agent is free", lambda: state(queues, "303") == "idle")


@pytest.mark.parametrize("apart", [0, 5, 20, 50])
def test_two_agents_who_answer_together_make_one_talk_and_the_other_takes_the_next_caller(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard, apart: int
) -> None:
    phone("301", "phone_hangs_up", ring=400, talk=1200)
    phone("302", "phone_hangs_up", ring=400 + apart, talk=1200)
    first, one = waits(switch, watch, queues, PAIR)
    second, two = waits(switch, watch, queues, PAIR)
    for caller, call in ((first, one), (second, two)):
        talks(watch, call)
        caller.ended()
        assert serve.fact(call, "call.ended")
    answered = [f["data"]["agent"] for c in (one, two) for f in serve.facts(c) if f["type"] == "queue.answered"]
    assert sorted(answered) == ["301", "302"]


def test_a_caller_who_leaves_while_the_agent_rings_frees_the_agent(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard
) -> None:
    olga = phone("303", "phone_never_answers")
    caller, call = waits(switch, watch, queues, LONE)
    until("Olga rings", lambda: "SIP/2.0 180" in olga.said())
    until("the caller hears music", lambda: "SIP/2.0 200 OK" in caller.said())
    caller.hangup()
    until("Olga's telephone is quiet", lambda: "CANCEL sip:" in olga.said())
    ends(watch, call)
    assert serve.fact(call, "queue.abandoned")
    until("Olga is free", lambda: settled(queues))


@pytest.mark.parametrize("later", [0.0, 0.01, 0.02, 0.03, 0.045, 0.06])
def test_an_agent_who_answers_as_the_caller_leaves_is_free_again(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard, later: float
) -> None:
    olga = phone("303", "phone_answers", ring=600)
    caller, call = waits(switch, watch, queues, LONE)
    until("the caller hears music", lambda: "SIP/2.0 200 OK" in caller.said())
    until("Olga answers", lambda: "SIP/2.0 200 OK" in olga.said())
    time.sleep(later)  # the moments between the answer and the talk, one after another
    caller.hangup()
    ends(watch, call)
    until("Olga is free", lambda: settled(queues))
    # Two may write it, since it ends as they are joined; of these one is told (tests/test_queue_stories.py).
    until("its end is told", lambda: any(fact["type"] == "call.ended" for fact in serve.facts(call)))


def test_waiting_callers_keep_their_places_when_every_controller_is_killed(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard
) -> None:
    callers = [waits(switch, watch, queues, LONE) for _ in range(3)]
    calls = [call for _, call in callers]
    until("all stand in the queue", lambda: standing(queues) == calls)
    serve.kill_controllers()
    for call in calls:
        assert serve.fact(call, "call.taken_over")
    assert standing(queues) == calls
    phone("303", "phone_hangs_up", ring=100, talk=300)
    for caller, call in callers:
        talks(watch, call)
        caller.ended()
    times = [serve.fact(call, "queue.answered")["at"] for call in calls]
    assert times == sorted(times)


def test_a_ringing_agent_rings_on_when_every_controller_is_killed_and_is_joined(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard
) -> None:
    olga = phone("303", "phone_hangs_up", ring=8000, talk=700)  # longer than it takes until there are new controllers
    caller, call = waits(switch, watch, queues, LONE)
    until("Olga rings", lambda: "SIP/2.0 180" in olga.said())
    assert serve.fact(call, "leg.rung")
    serve.kill_controllers()
    talks(watch, call)
    caller.ended()
    assert rung(watch, call) == ["303"]
    assert "CANCEL sip:" not in olga.said()


def test_a_talk_goes_on_when_every_controller_is_killed_and_its_end_frees_the_agent(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard
) -> None:
    olga = phone("303", "phone_answers", ring=100)
    caller, call = waits(switch, watch, queues, LONE)
    talks(watch, call)
    until("Olga talks", lambda: state(queues, "303") == "talking")
    before = serve.log().count("connected to the switch")
    serve.kill_controllers()
    until("new controllers", lambda: serve.log().count("connected to the switch") == before + serve.processes, 30)
    assert "BYE sip:" not in olga.said()
    assert state(queues, "303") == "talking"
    caller.hangup()
    until("Olga is free", lambda: settled(queues), 20)
    assert serve.fact(call, "talk.ended")


def test_an_agent_on_another_call_is_not_rung(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard
) -> None:
    phone("301", "phone_answers", ring=100)
    phone("302", "phone_hangs_up", ring=100, talk=700)
    colleague = Dialler(switch, "303", "301", company=COMPANY)
    until("Mona is on another call", lambda: state(queues, "301") == "elsewhere")
    until("and so is Olga, who calls", lambda: state(queues, "303") == "elsewhere")
    caller, call = waits(switch, watch, queues, PAIR)
    talks(watch, call)
    caller.ended()
    assert rung(watch, call) == ["302"]
    colleague.hangup()
    until("both are free", lambda: settled(queues))


def test_an_agent_pauses_and_resumes_by_codes(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard
) -> None:
    phone("303", "phone_hangs_up", ring=100, talk=500)
    Dialler(switch, "303", "*43", company=COMPANY).ended()
    refused = Caller(switch, LONE, scenario="caller_refused", status=486)
    refused.ended()
    Dialler(switch, "303", "*44", company=COMPANY).ended()
    caller, call = waits(switch, watch, queues, LONE)
    talks(watch, call)
    caller.ended()


# -- what agents and callers hear, and who is asked next ------------------------------------------------------


def test_an_agent_outside_hears_the_whisper_and_is_joined_by_pressing_1(
    switch: Switch, serve: Serve, watch: Watch, queues: QueueBoard, carrier: Callable[..., Outside]
) -> None:
    mobile = carrier("phone_presses", [Press("1")], ring=100)
    caller, call = waits(switch, watch, queues, AWAY)
    asked = hears(watch, "Somebody from the away queue.")
    assert asked.call == leg_of(watch, call)
    assert hears(watch, QUESTION).call == asked.call
    assert state(queues, "304") == "offered"  # nobody is taken before the key
    mobile.step()
    talk = talks(watch, call)
    assert asked.call in (talk.call, talk["Other-Leg-Unique-ID"])
    until("Pia talks", lambda: state(queues, "304") == "talking")
    caller.hangup()
    ends(watch, asked.call)
    until("Pia is free", lambda: settled(queues))
    heard = [event for event in watch.events if event.get("Application") == "playback" and event.call == call]
    assert {name_of(event["Application-Data"].partition("@@")[0]) for event in heard} == {"moh"}


IBIS = """
cordboard: 1
company: Ibises
country: RU
timezone: Europe/Moscow
languages: [en, ru]
numbers:
  "+74951230040": {flow: english}
  "+74951230041": {flow: russian}
people:
  301: {name: Sven Gran}
queues:
  told:
    agents: [301]
    announce: {every: 10s, say: {en: Please wait., ru: "Вы под номером {position}"}}
flows:
  english:
    wait: {queue: told, then: hangup, otherwise: hangup}
  russian:
    speak: {set: {language: ru}, then: wait}
    wait: {queue: told, then: hangup, otherwise: hangup}
"""


def test_waiting_callers_hear_their_place_in_their_language_and_the_music_goes_on(
    switch: Switch, serve: Serve, watch: Watch, queues: QueueBoard
) -> None:
    (switch.routing / "ibis.yaml").write_text(IBIS)
    switch.make_passwords()
    serve.reload()
    first, one = waits(switch, watch, queues, "+74951230040")
    second, two = waits(switch, watch, queues, "+74951230041")
    for call, words in ((one, ["Please wait."]), (two, ["Вы под номером", "2"])):
        said = hears(watch, words[0], call)
        assert heard(said) == words
        after = watch.events.index(said)
        again = watch.wait(
            "music again",
            lambda e: watch.events.index(e) > after and e.call == call and heard(e) == ["moh"],  # noqa: B023
        )
        assert "@@" in again["Application-Data"]  # it goes on where it was
        assert said.call == call
    for caller, call in ((first, one), (second, two)):
        before = [heard(event)[0] for event in watch.events if event.call == call and heard(event)]
        assert before[0] == "moh"
        caller.hangup()
        assert serve.fact(call, "queue.abandoned")


def heard(event: Event) -> list[str]:
    """What a channel begins to hear, each piece by the name that the company gives it; [] if that is no sound."""
    if event.name != "CHANNEL_EXECUTE" or event.get("Application") != "playback":
        return []
    data = event["Application-Data"].removeprefix("file_string://").partition("@@")[0]
    return [name_of(piece) for piece in data.split("!")]


def test_an_agent_who_wraps_up_is_not_rung_before_its_end(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard
) -> None:
    phone("305", "phone_hangs_up", ring=100, talk=300)
    first, one = waits(switch, watch, queues, TIRED)
    second, two = waits(switch, watch, queues, TIRED)
    talks(watch, one)
    over = ends(watch, leg_of(watch, one))
    until("Rosa wraps up", lambda: state(queues, "305") == "wrap_up")
    rings = watch.wait("Rosa rings", lambda e: e.name == "CHANNEL_CREATE" and e.get("variable_cordboard_call") == two)
    assert at(rings) - at(over) > 1.95
    talks(watch, two)
    for caller in (first, second):
        caller.ended()


def at(event: Event) -> float:
    """When the switch fired an event, seconds."""
    return int(event["Event-Date-Timestamp"]) / 1e6


@pytest.mark.parametrize(
    ("status", "result"), [("603 Decline", "declined"), ("486 Busy Here", "busy"), ("", "unreachable")]
)
def test_an_agent_who_declines_is_busy_or_has_no_telephone_leaves_the_caller_to_the_next(
    switch: Switch,
    serve: Serve,
    watch: Watch,
    phone: Callable[..., Phone],
    queues: QueueBoard,
    status: str,
    result: str,
) -> None:
    if status:
        phone("301", "phone_refuses", status=status)
    phone("302", "phone_hangs_up", ring=100, talk=300)
    caller, call = waits(switch, watch, queues, ROW)
    talks(watch, call)
    caller.ended()
    missed = serve.fact(call, "queue.missed")
    assert (missed["data"]["agent"], missed["data"]["result"]) == ("301", result)
    assert state(queues, "301") == "delayed"
    offered = [fact for fact in serve.facts(call) if fact["type"] == "queue.offered"]
    assert [fact["data"]["agent"] for fact in offered] == ["301", "302"]
    assert offered[1]["at"] - missed["at"] < 2.0  # a delay is the agent's, not the caller's
    assert rung(watch, call) == (["301", "302"] if status else ["302"])


def test_what_operators_are_told_is_what_goes_on(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard
) -> None:
    phone("301", "phone_answers", ring=100)
    talking, one = waits(switch, watch, queues, ROW)
    talks(watch, one)
    until("Mona talks", lambda: state(queues, "301") == "talking")
    assert "302" in serve.cordboard("agents", "pause", COMPANY, "302", "--reason", "lunch")
    waiting, two = waits(switch, watch, queues, ROW)
    until("the second stands in the queue", lambda: standing(queues) == [two])
    agents = {line.split()[1]: line for line in serve.cordboard("agents", "--company", COMPANY).splitlines()}
    assert "talking" in agents["301"]
    assert "paused" in agents["302"]
    assert "lunch" in agents["302"]
    why = serve.cordboard("queue", "row", "--why")
    assert re.search(r"301.*talking with \+79161234567", why)
    assert re.search(r"302.*paused .*\(lunch\)", why)
    serve.cordboard("agents", "resume", COMPANY, "302")
    phone("302", "phone_answers", ring=100)
    for caller in (talking, waiting):
        caller.hangup()


# -- nobody gets stuck -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", [0.0, 0.02, 0.04, 0.06])
def test_a_caller_who_leaves_as_two_of_three_answer_leaves_all_three_free(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard, later: float
) -> None:
    phones = [phone("301", "phone_answers", ring=500), phone("302", "phone_answers", ring=510)]
    olga = phone("303", "phone_never_answers")
    caller, call = waits(switch, watch, queues, TRIO)
    until("the caller hears music", lambda: "SIP/2.0 200 OK" in caller.said())
    until("somebody answers", lambda: any("SIP/2.0 200 OK" in each.said() for each in phones))
    time.sleep(later)
    caller.hangup()
    ends(watch, call)
    until("all are free", lambda: settled(queues))
    until("nobody is left on the telephone", lambda: channels(watch) == 0)
    until("Olga's telephone is quiet", lambda: "CANCEL sip:" in olga.said())
    until("its end is told", lambda: any(fact["type"] == "call.ended" for fact in serve.facts(call)))


def channels(watch: Watch) -> int:
    """How many channels live on the switch."""
    return int(watch.api("show channels count").split()[0])


def test_one_of_two_controllers_is_killed_while_ten_wait_and_two_talk(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard
) -> None:
    phones = [phone("301", "phone_answers", ring=100), phone("303", "phone_answers", ring=100)]
    other, elsewhere = waits(switch, watch, queues, ROW)
    talks(watch, elsewhere)
    callers = [waits(switch, watch, queues, LONE) for _ in range(11)]
    talking, *waiting = [call for _, call in callers]
    talks(watch, talking)
    until("ten stand in the queue", lambda: standing(queues) == waiting)
    held = queues.held(COMPANY)
    assert held is not None
    owners = {str(one["call"]): str(one["owner"]) for one in held["waiting"]}
    victim = max(owners.values(), key=list(owners.values()).count)
    os.kill(int(victim.split("-")[-2]), signal.SIGKILL)
    moved = [call for call in waiting if owners[call] == victim]
    for call in moved:
        assert serve.fact(call, "call.taken_over")
    until("all of them are somebody's again", lambda: victim not in {one["owner"] for one in still(queues)})
    assert standing(queues) == waiting
    assert not [each for each in phones if "BYE sip:" in each.said()]
    for caller, call in callers:  # each is served when the one before has hung up, in their order
        talks(watch, call)
        caller.hangup()
    other.hangup()
    answered = [serve.fact(call, "queue.answered")["at"] for _, call in callers]
    assert answered == sorted(answered)
    assert not [call for call in waiting if call not in moved and kinds(serve, call).count("call.taken_over")]


def still(queues: QueueBoard) -> list[dict[str, Any]]:
    """The entries of those who wait."""
    held = queues.held(COMPANY)
    assert held is not None
    return list(held["waiting"])


def kinds(serve: Serve, call: str) -> list[str]:
    """What has been told of a call so far."""
    return [fact["type"] for fact in serve.facts(call)]


@pytest.mark.parametrize("later", [0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08])
def test_controllers_killed_between_an_agents_answer_and_the_joining_leave_nobody_stuck(
    switch: Switch, serve: Serve, watch: Watch, phone: Callable[..., Phone], queues: QueueBoard, later: float
) -> None:
    mona, _ = phone("301", "phone_answers", ring=300), phone("302", "phone_answers", ring=300)
    caller, call = waits(switch, watch, queues, ROW)
    until("Mona answers", lambda: "SIP/2.0 200 OK" in mona.said())
    time.sleep(later)
    serve.kill_controllers()
    talks(watch, call)
    legs = [e for e in watch.events if e.name == "CHANNEL_CREATE" and e.get("variable_cordboard_call") == call]
    for one, other in pairwise(legs):  # mostly there is one; a second rings only when the first is gone
        gone = [e for e in watch.events if e.name == "CHANNEL_HANGUP_COMPLETE" and e.call == one.call]
        assert gone
        assert at(gone[0]) <= at(other)
    caller.hangup()
    until("all are free", lambda: settled(queues), 30)
    until("nobody is left on the telephone", lambda: channels(watch) == 0)
    assert serve.fact(call, "call.ended")
