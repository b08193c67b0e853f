"""Calls that happened, walked again by their own version and by others."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from callcontrol.routing.load import load_compiled, load_text
from callcontrol.routing.model import Routing
from callcontrol.versions import VersionStore
from scripts import demo
from scripts.rig import ROUTING, Rig
from tests.facts import CALL, Told
from tests.playbook import CALLED, CALLER, epoch
from tests.walked import walked
from workers.journal.comparing import ALIKE, ELSEWHERE, UNSAID, Happened, Judge, Verdict, happened
from workers.journal.comparing import read as calls_of
from workers.journal.database import Database
from workers.journal.folding import order
from workers.journal.ingest import take

ACME = (ROUTING / "acme.yaml").read_text(encoding="utf-8")
MONDAY = epoch("2026-11-23 00:00")
AT = epoch("2026-11-23 12:00")


def acme(*edits: tuple[str, str]) -> Routing:
    text = ACME
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    loaded = load_text(text, path="acme.yaml", company="acme")
    assert loaded.routing is not None, "\n".join(map(str, loaded.problems))
    return loaded.routing


OLD = acme()
#: A version in which every number is another, but no call goes elsewhere: everything is walked.
TITLED = acme(
    ("set: {brand: Acme Windows}", "set: {brand: Acme Glass}"), ("set: {brand: Acme Doors}", "set: {brand: Doors}")
)


def judge(new: Routing, old: Routing = OLD) -> Judge:
    return Judge(old, new, lambda version: None, MONDAY, MONDAY + 14 * 86400)


def read(facts: list[dict[str, Any]]) -> Happened:
    return happened(facts[0]["call"], facts[0]["at"], sorted(facts, key=order))


def told(at: float = AT, caller: str | None = CALLER, called: str = CALLED) -> Told:
    """A call that comes to the greeting."""
    one = Told(at=at)
    one.tell("call.started", from_=caller, to=called, version=OLD.version)
    for step in ("gate", "clock"):
        one.tell("step.entered", flow="reception", step=step, verb="hours" if step == "clock" else "caller")
        one.tell("step.left", flow="reception", step=step, outcome="→ it")
    return one.tell("step.entered", flow="reception", step="greet", verb="menu")


def ended(one: Told, by: str = "caller") -> list[dict[str, Any]]:
    return one.tell("call.ended", cause="NORMAL_CLEARING", by=by).facts


def left_a_message(at: float) -> list[dict[str, Any]]:
    """A call after hours."""
    one = Told(at=at).tell("call.started", from_=CALLER, to=CALLED, version=OLD.version)
    for step, verb in (("gate", "caller"), ("clock", "hours"), ("night", "play"), ("message", "voicemail")):
        one.tell("step.entered", flow="reception", step=step, verb=verb)
    one.tell("message.recorded", for_=["301", "302"], files=["x"], seconds=3)
    return ended(one)


def test_random_calls_go_their_own_way_again() -> None:
    chance = random.Random(20261123)
    verdicts: dict[str, int] = {}
    one = judge(TITLED)
    for number in range(150):
        who, called = chance.choice([CALLER, "+79160000001", None]), chance.choice([*OLD.numbers])
        at = MONDAY + chance.randrange(7 * 1440) * 60.0
        journey, facts = walked(OLD, chance, caller=who, called=called, at=at, call=f"c{number}", gives_up=0.05)
        if journey is not None and not journey.ends:
            continue  # a walk that never ended is no call
        verdict = one.judge(read(facts))
        verdicts[verdict.what] = verdicts.get(verdict.what, 0) + 1
        assert verdict.what == ALIKE, (verdict, facts)
    assert verdicts[ALIKE] > 100


class TestVerdicts:
    def test_a_key_that_leads_elsewhere(self) -> None:
        one = told().tell("step.left", flow="reception", step="greet", outcome="→ sales", keys=["1"])
        one.tell("step.entered", flow="reception", step="sales", verb="queue")
        one.tell("queue.joined", queue="sales", priority=0)
        one.tell("queue.offered", queue="sales", agent="301", offer=1)
        one.tell("leg.rung", leg="a", person="301", address="301")
        one.tell("leg.result", leg="a", person="301", address="301", result="answered")
        one.tell("queue.answered", queue="sales", agent="301", offer=1, waited=4)
        call = read(one.tell("talk.started", with_="301", leg="a").facts)
        assert call.end == ("talk", "301")
        found = judge(acme(("1: sales,", "1: anna,"))).judge(call)
        assert found == Verdict(
            ELSEWHERE, "the queue sales, then they talk", "Anna Petrova (301) rings, then they talk"
        )
        assert judge(TITLED).judge(call).what == ALIKE

    def test_hours_that_bring_a_menu_instead_of_a_message(self) -> None:
        longer = judge(acme(("14:00-18:00]", "14:00-19:00]")))
        found = longer.judge(read(left_a_message(epoch("2026-11-23 18:30"))))
        assert found.what == ELSEWHERE
        assert found.was == "a message for 301, 302"
        assert found.would == (
            "asked for keys in reception/greet; without a key Anna Petrova (301) rings, "
            "then it depends on what 301 would have done"
        )
        assert longer.judge(read(left_a_message(epoch("2026-11-23 19:30")))).what == ALIKE

    def test_a_telephone_that_was_not_rung_is_nobody_s_guess(self) -> None:
        one = told().tell("step.left", flow="reception", step="greet", outcome="→ anna", keys=["7", "7", "7"])
        one.tell("step.entered", flow="reception", step="anna", verb="dial")
        one.tell("leg.rung", leg="a", person="301", address="301")
        one.tell("leg.result", leg="a", person="301", address="301", result="busy")
        one.tell("call.forwarded", person="301", rule="busy", to="302")
        one.tell("leg.rung", leg="b", person="302", address="302")
        call = read(ended(one.tell("leg.result", leg="b", person="302", address="302", result="lost")))
        assert judge(TITLED).judge(call).what == ALIKE  # whatever 302 would have done, it would have done in both
        found = judge(acme(("302: {name: Boris Orlov, ", "302: {name: Boris Orlov, show: company, "))).judge(call)
        assert found.what == ALIKE
        assert judge(acme(("busy: 302", "busy: 303"))).judge(call).what == ELSEWHERE

    def test_who_hangs_up_in_the_menu_is_alike_where_that_comes_first(self) -> None:
        call = read(ended(told()))
        assert judge(TITLED).judge(call).what == ALIKE
        found = judge(acme(("office: greet,", "office: sales,"))).judge(call)
        assert found.what == ELSEWHERE
        assert found.was.startswith("asked for keys in reception/greet; without a key Anna Petrova (301) rings")

    @pytest.mark.parametrize(
        ("edit", "why"),
        [
            ({"version": "0123456789abcdef"}, "the version that it had is not kept any more"),
            ({"extension": "302"}, "it came from a phone of the company's own"),
        ],
    )
    def test_what_cannot_be_said_has_a_reason(self, edit: dict[str, str], why: str) -> None:
        facts = left_a_message(epoch("2026-11-23 20:00"))
        facts[0]["data"].update(edit)
        assert judge(TITLED).judge(read(facts)) == Verdict(UNSAID, why=why)

    def test_a_call_that_went_otherwise_than_its_version_walks_is_not_judged(self) -> None:
        found = judge(TITLED).judge(read(left_a_message(epoch("2026-11-23 12:00"))))
        assert (found.what, found.why) == (UNSAID, "nobody knows what the caller would have pressed in reception/greet")

    def test_a_queue_that_was_full_is_full_again(self) -> None:
        one = told().tell("step.left", flow="reception", step="greet", outcome="→ sales", keys=["1"])
        one.tell("step.entered", flow="reception", step="sales", verb="queue")
        one.tell("queue.refused", queue="sales", outcome="full")
        one.tell("step.left", flow="reception", step="sales", outcome="full → message")
        one.tell("step.entered", flow="reception", step="message", verb="voicemail")
        call = read(ended(one.tell("message.recorded", for_=["301", "302"], files=["x"], seconds=3)))
        assert judge(TITLED).judge(call).what == ALIKE
        found = judge(acme(("sales: {queue: sales, otherwise", "sales: {queue: sales, full: reject, otherwise")))
        assert found.judge(call).would == "the queue sales, then the busy tone"
        larger = judge(acme(("max_callers: 20", "max_callers: 30"))).judge(call)
        assert (larger.what, larger.why[:27]) == (UNSAID, "the queue sales was full, a")

    def test_a_switch_is_as_the_call_saw_it(self) -> None:
        facts = left_a_message(epoch("2026-11-23 12:00"))
        at = next(at for at, fact in enumerate(facts) if fact["data"].get("step") == "night")
        left = {"flow": "reception", "step": "clock", "outcome": "→ night", "switches": {"shut": True}}
        facts.insert(at, {**facts[at], "type": "step.left", "n": facts[at]["n"] - 0.5, "data": left})
        assert judge(TITLED).judge(read(facts)).what == ALIKE

    def test_a_number_that_does_what_it_did_needs_no_walk(self) -> None:
        one = judge(acme(("office: greet,", "office: sales,")))
        call = Told(at=AT).tell("call.started", from_=CALLER, to="+78005550101", version=OLD.version)
        assert one.judge(read(ended(call))).what == ALIKE
        assert not one._grounds  # nothing was walked

    def test_equal_calls_are_walked_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        one = judge(TITLED)
        first = one.judge(read(left_a_message(epoch("2026-11-23 20:00"))))
        monkeypatch.setattr(Judge, "_judged", lambda *given: pytest.fail("it was walked again"))
        assert one.judge(read(left_a_message(epoch("2026-11-23 21:00")))) == first
        assert one.counts[ALIKE] == 2


def test_calls_are_read_as_they_began_whatever_the_database(database: Database) -> None:
    first, second = left_a_message(AT), left_a_message(AT + 60)
    for fact in second:
        fact["call"] = CALL[:-1] + "2"
    with database.writing() as session:
        take(session, [*second, *first], lambda company: None, AT + 90)
    with database.reading() as session:
        found = [*calls_of(session, "acme", AT, AT + 3600)]
        assert [one.call for one in found] == [CALL, CALL[:-1] + "2"]
        assert found[0].end == ("voicemail", ("301", "302"))
        assert found[0].visits[-1] == ("reception", "message")
        assert [one.visits for one in calls_of(session, "acme", AT, AT + 3600, lambda called: True)] == [[], []]
        assert not [*calls_of(session, "other", AT, AT + 3600)]
        assert [one.call for one in calls_of(session, "acme", AT + 60, AT + 3600)] == [CALL[:-1] + "2"]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[demo.Stage]:
    with Rig(tmp_path_factory.mktemp("rig"), sounds={}) as rig:
        yield demo.Stage(rig)


@pytest.mark.tcp
def test_calls_of_the_demonstration_go_their_own_way_again(stage: demo.Stage) -> None:
    plays = [demo.menu, demo.wrong_keys, demo.extension, demo.hangs_up_in_menu]
    for play in plays:
        stage.phones()
        play(stage)
    state = stage.rig.directory / "state"
    store = VersionStore(state)
    version = store.current("acme")
    assert version is not None
    data = store.get("acme", version)
    assert data is not None
    old = load_compiled(data)
    new = load_text(ACME.replace("brand: Acme Windows", "brand: Acme"), path="acme.yaml", company="acme").routing
    assert new is not None
    one = Judge(old, new, lambda other: None, MONDAY, MONDAY + 400 * 86400)
    for caller in stage.callers:
        stage.rig.wait_fact(caller.uuid, "call.ended", 15)
        call = read(stage.rig.facts(caller.uuid))
        assert one.judge(call).what == ALIKE, (one.judge(call), call)
    assert len(stage.callers) >= len(plays)
