"""Two versions compared by what they do: every kind of change is found, said, and nothing else is."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from callcontrol.routing.load import load_text
from callcontrol.routing.model import Edge, Routing
from callcontrol.workbench.compare import ELSEWHERE, HEARS, PACE, WAY, Comparison, Line, compare, compare_all, told
from callcontrol.workbench.explore import Enough, Watching
from callcontrol.workbench.walk import Answer, Question, Walk
from scripts.rig import ROUTING
from tests.playbook import CALLED, CALLER, epoch
from tests.routings import companies

NOW = epoch("2026-11-23 12:00")
#: Random versions of each property; more of them behind the variable.
EXAMPLES = int(os.environ.get("CORDBOARD_DIFF_EXAMPLES", "4"))
ACME = (ROUTING / "acme.yaml").read_text(encoding="utf-8")

SMALL = """\
cordboard: 1
company: Test
country: RU
timezone: Europe/Moscow
languages: [en, ru]
numbers:
  "+74951234567": {flow: main}
people:
  301: {name: Anna, forward: {no_answer: {after: 20s, to: 303}}}
  302: {name: Boris}
  303: {name: Chiara}
groups:
  team: [302, 303]
lists:
  vip: ["+79160000001"]
hours:
  office: {mon-fri: 09:00-18:00}
queues:
  sales: {agents: [301, 302], strategy: round-robin, ring: 15s, max_wait: 60s, max_callers: 5}
flows:
  main:
    gate: {caller: {vip: anna}, otherwise: clock}
    clock: {hours: {office: ask}, otherwise: night}
    ask: {menu: {en: Press., ru: Press.}, keys: {1: sales, 2: team}, otherwise: anna}
    sales: {queue: sales, otherwise: message}
    team: {dial: [{to: team, ring: 20s}], otherwise: message}
    anna: {dial: 301, ring: 30s, otherwise: message}
    night: {play: Good night., then: message}
    message: {voicemail: [301], greeting: Leave a message., then: hangup}
"""


NO = SMALL.replace("{vip: anna}", "{vip: no}") + "    no: {hangup: busy}\n"


def load(text: str = SMALL, company: str = "test") -> Routing:
    loaded = load_text(text, path=f"{company}.yaml", company=company)
    assert loaded.routing is not None, "\n".join(map(str, loaded.problems))
    return loaded.routing


def changed(*edits: tuple[str, str], text: str = SMALL) -> Comparison:
    """The comparison of a file with itself, edited."""
    new = text
    for old, other in edits:
        assert old in new, old
        new = new.replace(old, other)
    return compare(load(text), load(new), NOW)


def lines(found: Comparison) -> tuple[Line, ...]:
    (one,) = (change for change in found.changes if not change.phones)
    return one.lines


def only(found: Comparison) -> Line:
    (line,) = lines(found)
    return line


class TestEndsElsewhere:
    def test_hours_that_are_longer_say_when_and_by_which_keys(self) -> None:
        found = lines(changed(("09:00-18:00", "09:00-19:00")))
        assert {line.times for line in found} == {"Mon–Fri 18:00–19:00"}
        assert {(line.who.partition(", ")[2], line.now) for line in found} == {
            (
                "without a key or with keys that mean nothing",
                "asked again, then Anna (301) rings, then Chiara (303) rings, then a message for 301",
            ),
            ("who presses 1", "the queue sales, then a message for 301"),
            ("who presses 2", "Boris (302) and Chiara (303) ring, then a message for 301"),
        }
        assert {line.was for line in found} == {"a message for 301"}
        assert all(line.who.startswith("anybody who is not on the list vip") for line in found)

    def test_hours_that_are_shorter_say_it_of_every_key_too(self) -> None:
        found = lines(changed(("09:00-18:00", "09:00-17:00")))
        assert {line.times for line in found} == {"Mon–Fri 17:00–18:00"}
        assert {line.who.partition(", ")[2] for line in found} == {
            "without a key or with keys that mean nothing",
            "who presses 1",
            "who presses 2",
        }
        assert {line.now for line in found} == {"a message for 301"}

    def test_a_ring_time_that_cuts_a_forward_short_is_told(self) -> None:
        found = lines(changed(("anna: {dial: 301, ring: 30s", "anna: {dial: 301, ring: 15s")))
        assert (PACE, "Anna (301) rings 20 s", "Anna (301) rings 15 s") in {
            (line.kind, line.was, line.now) for line in found
        }

    def test_a_key_that_leads_elsewhere(self) -> None:
        found = only(changed(("2: team}", "2: anna}")))
        assert found.who == "anybody who is not on the list vip, who presses 2"
        assert found.was == "Boris (302) and Chiara (303) ring, then a message for 301"
        assert found.now == "Anna (301) rings, then Chiara (303) rings, then a message for 301"

    def test_a_key_that_is_new(self) -> None:
        found = only(changed(("2: team}", "2: team, 3: sales}")))
        assert found.who.endswith("who presses 3")
        assert found.was.startswith("asked again, then Anna (301) rings")

    def test_a_caller_who_comes_on_a_list(self) -> None:
        found = lines(changed(('["+79160000001"]', '["+79160000001", "+79031112233"]')))[0]
        assert (found.times, found.who) == ("always", "+79031112233")
        assert found.was.startswith("as the time and the keys have it: a message for 301; or the queue sales")
        assert found.now == "Anna (301) rings, then Chiara (303) rings, then a message for 301"

    def test_a_caller_who_comes_to_one_end_at_all_times_is_one_line(self) -> None:
        found = only(changed(('["+79160000001"]', '["+79160000001", "+79031112233"]'), text=NO))
        assert (found.times, found.who) == ("always", "+79031112233")
        assert found.was.startswith("as the time and the keys have it: ")
        assert found.now == "the busy tone"

    def test_a_list_that_leads_elsewhere_is_named(self) -> None:
        found = only(changed(("{vip: anna}", "{vip: sales}")))
        assert (found.times, found.who) == ("always", "+79160000001 (who is on the list vip)")

    def test_a_stage_that_is_new(self) -> None:
        found = only(changed(("[{to: team, ring: 20s}]", "[{to: team, ring: 20s}, {to: 301, ring: 20s}]")))
        assert found.now == "Boris (302) and Chiara (303) ring, then Anna (301) rings, then a message for 301"

    def test_a_forward_that_leads_elsewhere_is_told_of_whom_it_forwards(self) -> None:
        found = lines(changed(("forward: {no_answer: {after: 20s, to: 303}}", "forward: {busy: 303}")))
        found = tuple(line for line in found if line.kind == ELSEWHERE)
        assert {line.now for line in found if "when" not in line.who} == {"Anna (301) rings, then a message for 301"}
        busy = [line for line in found if "when Anna (301) is busy" in line.who]
        assert {line.was for line in busy} == {"Anna (301) rings, then a message for 301"}
        assert {line.now for line in busy} == {"Anna (301) rings, then Chiara (303) rings, then a message for 301"}

    def test_agents_that_are_asked_in_another_order(self) -> None:
        found = only(changed(("agents: [301, 302]", "agents: [302, 301]")))
        assert found.was == "the queue sales (which asks Anna (301) and Boris (302)), then a message for 301"
        assert found.now == "the queue sales (which asks Boris (302) and Anna (301)), then a message for 301"

    def test_a_message_for_somebody_else_is_one_line_however_many_ways_lead_there(self) -> None:
        found = lines(changed(("voicemail: [301]", "voicemail: [302]")))
        assert len(found) <= 4
        assert all(line.was.endswith("a message for 301") for line in found)
        assert all(line.now.endswith("a message for 302") for line in found)

    def test_a_switch_is_told_where_it_must_be_on(self) -> None:
        text = SMALL.replace("hours:\n", 'hours:\n  shut: {switch: "*21"}\n')
        text = text.replace("{hours: {office", "{hours: {shut: night, office")
        found = lines(changed(("shut: night", "shut: sales"), text=text))[0]
        assert (found.times, found.kind) == ("always", ELSEWHERE)
        assert found.who.endswith("while the switch shut is on")

    def test_a_rota_is_told_as_one_where_only_whose_turn_it_is_differs(self) -> None:
        text = SMALL.replace(
            "team: [302, 303]",
            "team: [302, 303]\n  oncall: {members: [301, 302], rotate: weekly, from: 2026-11-23 09:00}",
        )
        found = only(changed(("[{to: team, ring: 20s}]", "[{to: team, ring: 20s}, {to: oncall, ring: 9s}]"), text=text))
        assert "whoever's turn it is in oncall rings" in found.now

    def test_a_rota_that_begins_another_week_says_whose_turn_it_would_be(self) -> None:
        rota = "oncall: {members: [301, 302], rotate: weekly, from: 2026-11-23 09:00}"
        text = SMALL.replace("team: [302, 303]", f"team: [302, 303]\n  {rota}").replace("to: team,", "to: oncall,")
        found = lines(changed(("from: 2026-11-23", "from: 2026-11-30"), text=text))
        assert {(line.was[:4], line.now[:4]) for line in found} == {("Anna", "Bori"), ("Bori", "Anna")}


class TestWeaker:
    def test_another_prompt_is_heard_and_nobody_ends_elsewhere(self) -> None:
        found = only(changed(("Good night.", "Good evening.")))
        assert (found.kind, found.was, found.now) == (HEARS, "“Good night.” (en)", "“Good evening.” (en)")

    def test_another_language_is_heard(self) -> None:
        text = SMALL.replace("2: team}", "2: team, 9: other}").replace("flows:\n  main:", "flows:\n  main:")
        text += "    other: {set: {language: ru}, then: ask}\n"
        found = changed(("en: Press., ru: Press.", "en: Press., ru: Да."), text=text)
        assert {line.kind for line in lines(found)} == {HEARS}

    def test_a_longer_ringing_is_another_time(self) -> None:
        found = lines(changed(("{to: team, ring: 20s}", "{to: team, ring: 25s}")))
        assert {(line.kind, line.was, line.now) for line in found} == {
            (PACE, "Boris (302) rings 20 s", "Boris (302) rings 25 s"),
            (PACE, "Chiara (303) rings 20 s", "Chiara (303) rings 25 s"),
        }

    @pytest.mark.parametrize(
        ("old", "new", "was"),
        [
            ("max_wait: 60s", "max_wait: 90s", "max_wait of sales: 60 s"),
            ("max_callers: 5", "max_callers: 6", "max_callers of sales: 5"),
            ("strategy: round-robin", "strategy: longest-idle", "strategy of sales: round-robin"),
        ],
    )
    def test_a_queue_s_numbers_are_named(self, old: str, new: str, was: str) -> None:
        assert only(changed((old, new))).was == was

    def test_another_way_to_the_same_end(self) -> None:
        found = lines(
            changed(("otherwise: night}", "otherwise: message}"), ("night: {play: Good night., then: message}", ""))
        )
        assert {(line.kind, line.was, line.now) for line in found} == {
            (WAY, "main/night", "the same steps"),
            (HEARS, "“Good night.” (en)", "nothing"),
        }

    def test_a_talk_that_is_recorded(self) -> None:
        found = lines(changed(("302: {name: Boris}", "302: {name: Boris, record: always}")))
        assert {(line.kind, line.now) for line in found} == {(HEARS, "a talk that is recorded")}


#: What an operator changes on a Friday afternoon in the example company, and words of what they are told.  Of a change
#: that nobody hears of there is only the first line.
FRIDAY: dict[str, tuple[list[tuple[str, str]], list[str]]] = {
    "hours shifted": ([("14:00-18:00], sat", "14:00-17:00], sat")], ["Mon–Fri 17:00–18:00", "who presses 1", "303"]),
    "a holiday": ([("2027-01-11: 10", "2026-12-25: closed, 2027-01-11: 10")], ["on 2026-12-25 09:00–13:00"]),
    "a key moved": ([("{1: sales, 2:", "{1: sales, 3:")], ["who presses 2", "who presses 3"]),
    "an extension in a menu": (
        [("[service, 301]", "[service, 301, 304]"), ("\ngroups:", "\n  304: {name: Dora}\ngroups:")],
        ["Dora (304) is new", "who presses 304", "now  Dora (304) rings"],
    ),
    "the order of stages": (
        [
            ("to: service, ring: 15s", "to: oncall, ring: 25s"),
            ("to: oncall, ring: 25s}\n      oth", "to: service, ring: 15s}\n      oth"),
        ],
        ["now  whoever's turn it is in oncall rings, then Boris Orlov (302) and Chiara Rossi (303) ring"],
    ),
    "a ring time": ([("301, ring: 45s", "301, ring: 30s")], ["no call ends elsewhere", "now  +79161112233 rings 30 s"]),
    "a forward": (
        [("busy: 302", "busy: 303")],
        ["when Anna Petrova (301) is busy", "301, dialled from our own phones"],
    ),
    "a queue's agents": ([("[301, 302, {ag", "[301, {ag")], ["which asks Anna Petrova (301) and Chiara Rossi (303)"]),
    "max_wait": ([("max_wait: 5m", "max_wait: 2m")], ["who is on the list vip", "now  max_wait of sales: 120 s"]),
    "a queue's key": (
        [("max_callers: 20", "max_callers: 20\n    keys: {9: reception/reject}")],
        ["who presses 1 and then 9", "the queue sales, then the busy tone"],
    ),
    "a language": ([("language: ru}", "language: en}")], ["who presses 9", "was  greet-ru.wav"]),
    "a list's entry": ([('["+79160000001",', '["+79160000001", "+79031112233",')], ["always", "+79031112233"]),
    "a number's set": ([("brand: Acme Windows", "brand: Acme Gates")], ["now  “Welcome to Acme Gates."]),
    "a rota's start": ([("2026-11-23 09:00}", "2026-11-24 09:00}")], ["when it is the turn of", "in oncall"]),
    "confirm": ([("    record: always", "    confirm: false")], ["was  +79161112233 asks for key 1", "shows nothing"]),
    "recording": ([("{queue: sales, oth", "{queue: sales, record: never, oth")], ["now  a talk that is not recorded"]),
    "on_error": ([("{dial: 301,", "{dial: 301, on_error: reject,")], ["when reception/anna fails", "is reject now"]),
    "a lookup that fails": ([("then: manager\n", "then: manager\n      failed: reception/lunch\n")], ["who fails"]),
    "a lookup's address": ([("test/orders", "test/v2")], ["not walked", "hotline/who: lookup was https://crm"]),
    "who gets messages": ([("voicemail: [301, 302]\n      gr", "voicemail: [302]\n      gr")], ["a message for 302"]),
    "after a talk": (
        [("{queue: sales, oth", "{queue: sales, then: lunch, oth")],
        ["they talk, then a message for 301, 302"],
    ),
    "a full queue": ([("{queue: sales, oth", "{queue: sales, full: reject, oth")], ["when the queue sales is full"]),
    "music": ([("music: moh", "music: new-year.wav")], ["was  the music moh", "now  new-year.wav"]),
    "a whisper": ([("whisper: A call for", "whisper: Now")], ["now  Boris Orlov (302) whispers “Now sales.”"]),
    "caller ID": (
        [('otherwise: "+74951234567"}', 'otherwise: "+78005550101"}')],
        ["shows +78005550101", "caller_id was"],
    ),
    "a trunk": (
        [("trunk: carrier-a", "trunk: carrier-b")],
        ["through carrier-b", "calls that leave: trunk was carrier-a"],
    ),
    "allowed countries": (
        [("[RU, IT, GB]", "[RU, IT]")],
        ["no number changes", "allow was RU, IT, GB, and is RU, IT now"],
    ),
    "a code": ([('"*21"', '"*22"')], ["no number changes", "the code *22 was nothing, and is the switch shut now"]),
    "a label": ([("label: Toll-free", "label: Free")], ["acme: nothing changes"]),
}


#: Those that the second number shows; the others are walked without it.
HOTLINE = ("a lookup that fails", "a lookup's address", "caller ID", "a label")
(LABELLED,) = (line for line in ACME.splitlines(keepends=True) if line.startswith('  "+78005550101": {flow: hotline'))
ONE_NUMBER = ACME.replace(LABELLED, "").partition("\nrehearsals:")[0]


class TestFriday:
    @pytest.mark.parametrize("name", FRIDAY)
    def test_a_change_is_found_and_told_where_it_is(self, name: str) -> None:
        edits, words = FRIDAY[name]
        text = before = ACME if name in HOTLINE else ONE_NUMBER
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new, 1)
        found = told(compare(load(before, "acme"), load(text, "acme"), NOW, work=10_000))  # the likeliest do
        for word in words:
            assert word in "\n".join(found)
        assert len(found) < 45, "nobody reads more of one small change"

    def test_what_comes_back_from_a_flow_that_others_run_is_found(self) -> None:
        text = SMALL.replace("2: team}", "2: run}") + "    run: {flow: inner, then: team}\n"
        text += "  inner:\n    say: {play: Hello., then: return}\n"
        found = only(changed(("then: return}", "then: hangup}"), text=text))
        assert found.who.endswith("who presses 2")
        assert found.now == "the call ends"


class TestNothing:
    def test_the_same_file(self) -> None:
        found = changed()
        assert not found.differs
        assert found.same == (CALLED,)
        assert told(found) == ["test: nothing changes"]

    def test_renamed_steps(self) -> None:
        assert not changed(
            ("anna", "annie"), ("clock", "watch"), ("team: {dial", "crew: {dial"), ("2: team", "2: crew")
        ).differs

    def test_another_order_and_notes(self) -> None:
        night = "    night: {play: Good night., then: message}\n"
        assert not changed((night, ""), ("    ask: ", night.replace("then:", "note: new, then:") + "    ask: ")).differs

    def test_hours_that_are_written_otherwise(self) -> None:
        assert not changed(
            ("{mon-fri: 09:00-18:00}", "{mon-thu: 09:00-18:00, fri: [09:00-12:00, 12:00-18:00]}")
        ).differs

    def test_a_list_split_in_two(self) -> None:
        assert not changed(
            ('vip: ["+79160000001"]', 'vip: ["+79160000001"]\n  best: ["+79160000001"]'),
            ("{vip: anna}", "{best: anna, vip: anna}"),
        ).differs

    @given(st.integers(0, 2**32))
    @settings(max_examples=EXAMPLES, deadline=None, phases=[Phase.generate])
    def test_any_version_is_the_same_as_itself(self, seed: int) -> None:
        one = mutated(load(ACME, "acme"), random.Random(seed))
        assert not compare(one, replace(one), NOW).differs

    @given(companies())
    @settings(max_examples=EXAMPLES, deadline=None, phases=[Phase.generate])
    def test_any_company_is_the_same_as_itself(self, text: str) -> None:
        one = load_text(text, path="test.yaml", company="test").routing
        assume(one is not None)
        assert one is not None
        assert not compare(one, replace(one), NOW).differs


class TestCompanies:
    def test_numbers_and_people_that_come_and_go(self) -> None:
        found = changed(('  "+74951234567"', '  "+74957654321": {flow: main}\n  "+74951234567"'), ("Boris", "Bruno"))
        assert found.notes == (
            "+74957654321 is new: it goes to main",
            "extension 302 was Boris, and is Bruno now",
        )
        back = compare(load(SMALL.replace("  303", "  304: {name: Dora}\n  303")), load(), NOW)
        assert back.notes == ("Dora (304) is gone",)

    def test_a_company_that_is_new_gone_or_renamed(self) -> None:
        one, other = load(company="one"), load(company="other")
        assert [found.notes for found in compare_all({}, {"one": one}, NOW)] == [("the company is new",)]
        assert "is gone" in compare_all({"one": one}, {}, NOW)[0].notes[0]
        (renamed,) = compare_all({"one": one}, {"other": other}, NOW)
        assert renamed.notes == ("the company was called one",)

    def test_a_number_that_moves_to_another_company_is_told_by_both(self) -> None:
        extra = SMALL.replace('  "+74951234567"', '  "+74957654321": {flow: main}\n  "+74951234567"')
        first = SMALL.replace("+74951234567", "+74951112233")
        old = {"one": load(first, "one"), "two": load(extra, "two")}
        new = {
            "one": load(first.replace('  "+74951112233"', '  "+74957654321": {flow: main}\n  "+74951112233"'), "one"),
            "two": load(SMALL, "two"),
        }
        one, two = compare_all(old, new, NOW)
        assert "+74957654321 moves from the company two" in one.notes
        assert "+74957654321 moves to the company one" in two.notes

    def test_numbers_that_share_their_flow_are_walked_once_and_told_in_one_line(self) -> None:
        many = "".join(f'  "+7495123{at:04}": {{flow: main}}\n' for at in range(200))
        text = SMALL.replace('  "+74951234567": {flow: main}\n', many)
        found = changed(("2: team}", "2: anna}"), text=text)
        assert len(found.changes) == 1
        assert len(found.changes[0].numbers) == 200
        assert told(found)[1].endswith("and 194 more") or "194 more" in told(found)[1]


def test_the_text_can_be_read_aloud() -> None:
    assert told(changed(("2: team}", "2: anna}"))) == [
        "test: 1 number changes",
        CALLED,
        "  Mon–Fri 09:00–18:00",
        "    anybody who is not on the list vip, who presses 2",
        "      was  Boris (302) and Chiara (303) ring, then a message for 301",
        "      now  Anna (301) rings, then Chiara (303) rings, then a message for 301",
    ]


# --------------------------------------------------------------------- what a random walk tells apart, is found


def mutated(routing: Routing, chance: random.Random) -> Routing:
    """The routing with one edge that leads elsewhere."""
    places: list[tuple[Any, str, Any]] = []
    for flow in (one for one in routing.flows.values() if len(one.steps) > 1):
        for step in flow.steps.values():
            places += [(step, "edges", label) for label in step.edges]
            places += [(step, "keys", key) for key in (step.values.get("keys") or {} if step.verb == "menu" else {})]
            if step.verb in ("hours", "caller"):
                places += [(step, step.verb, at) for at in range(len(step.values[step.verb]))]
    assume(places)
    step, name, label = chance.choice(places)
    target = chance.choice([one for one in routing.flows[step.flow].steps if one != step.name])
    edge = Edge(None, target, None, step.place)
    if name == "edges":
        step.edges = {**step.edges, label: edge}
    elif name == "keys":
        step.values["keys"] = step.keys = {**step.keys, label: edge}
    else:
        pairs = step.values[name]
        step.values[name] = step.what = (*pairs[:label], (pairs[label][0], edge), *pairs[label + 1 :])
    return routing


@given(companies(), st.integers(0, 2**32))
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
def test_of_any_company_s_change_a_walk_finds_nothing_that_is_neither_told_nor_cut_off(text: str, seed: int) -> None:
    chance = random.Random(seed)
    old, new = (load_text(text, path="test.yaml", company="test").routing for _ in range(2))
    assume(old is not None and new is not None)
    assert old is not None
    assert new is not None
    found = compare(old, mutated(new, chance), NOW, work=10_000 * EXAMPLES)
    elsewhere = {n for one in found.changes if any(line.kind == ELSEWHERE for line in one.lines) for n in one.numbers}
    for _ in range(12):
        one, called, at = chance.randrange(2**32), chance.choice([*old.numbers]), NOW + chance.randrange(14 * 24) * 3600
        if way(old, one, CALLER, called, at) != way(new, one, CALLER, called, at):
            assert called in elsewhere or called in " ".join(found.cut), (one, called, at)


class Fixed:
    """A world in which the caller presses the same keys, and everybody does the same, whichever version asks."""

    def __init__(self, seed: int) -> None:
        self._seed, self._again = seed, 0

    def __call__(self, question: Question) -> Answer:
        key = question.subject
        if question.kind == "keys":
            self._again, key = self._again + 1, str(self._again)
        chance = random.Random(f"{self._seed} {question.kind} {key}")
        if question.kind == "keys":
            return chance.choice(["", "1", "2", "9", "301", "302", "303", "12345#", "7"])
        if question.kind == "lookup":
            values: list[Answer] = [*question.options, dict.fromkeys(question.wanted, "301")]
            return chance.choice(values)
        return chance.choice(question.options)


def way(routing: Routing, seed: int, caller: str | None, called: str, at: float) -> Any:
    watch = Watching(routing, at, {})
    try:
        journey = Walk(routing, caller=caller, called=called, at=at, world=Fixed(seed), watch=watch).run()
    except Enough as enough:
        return watch.told(enough.end).way
    ends: Mapping[str, Any] = journey.ends or {"stuck": "no end"}
    return watch.told(next(iter(ends.items()))).way


@given(st.integers(0, 2**32))
@settings(max_examples=EXAMPLES, deadline=None, phases=[Phase.generate])
def test_whatever_a_random_walk_tells_apart_is_found(seed: int) -> None:
    chance = random.Random(seed)
    old, new = load(ACME, "acme"), mutated(load(ACME, "acme"), chance)
    found = compare(old, new, NOW)
    elsewhere = {n for one in found.changes if any(line.kind == ELSEWHERE for line in one.lines) for n in one.numbers}
    for _ in range(12):
        one = chance.randrange(2**32)
        who = chance.choice([CALLER, "+79160000001", None])
        called, at = chance.choice([*old.numbers]), NOW + chance.randrange(14 * 24) * 3600
        if way(old, one, who, called, at) != way(new, one, who, called, at):
            assert called in elsewhere, (one, who, called, at)
