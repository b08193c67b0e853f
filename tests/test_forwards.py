"""Forward rules: where a person's calls go when they are not taken, also across takeovers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol import messages as m
from callcontrol.call import epilogue
from callcontrol.forwards import MOST_PEOPLE, Chain
from callcontrol.hunt import NEARNESS
from callcontrol.routing.model import Person, Place, Routing
from tests.playbook import CALL, Playbook, routing

END = "\n  talked: {play: Talked., then: bye}\n  no: {play: No., then: bye}\n  bye: {hangup: normal}"
ASKS = "(A call for you. To take it, press 1.)"
MOBILE = "+79161112233"


def company(*people: str, outbound: str = "{trunk: carrier-a, allow: [RU, IT]}") -> str:
    """The head of a company with these people, in the order 301, 302 …"""
    lines = [f"  {301 + index}: {{{person}}}" for index, person in enumerate(people)]
    return "\n".join(
        [
            "cordboard: 1",
            "company: Test",
            "country: RU",
            "timezone: Europe/Moscow",
            "languages: [en, ru]",
            "numbers:",
            '  "+74951234567": {flow: main}',
            "people:",
            *lines,
            *([f"outbound: {outbound}"] if outbound else []),
            "",
        ]
    )


def dials(what: str, *people: str, outbound: str = "{trunk: carrier-a, allow: [RU, IT]}") -> Playbook:
    head = company(*people, outbound=outbound)
    return Playbook(routing("main:\n  it: {dial: " + what + ", then: talked, otherwise: no}" + END, head))


def russia_only(built: Routing) -> Routing:
    """The same routing under a policy that has changed since it was checked."""
    return replace(built, outbound={**built.outbound, "allow": ("RU",)})


ANNA = f'name: Anna, mobile: "{MOBILE}"'


class TestRules:
    def test_always_rings_nothing_of_the_persons_own(self) -> None:
        dials("301", "name: Anna, forward: {always: 302}", "name: Boris").then("ringback", "ring 302 30s")

    def test_no_answer_comes_after_its_own_time(self) -> None:
        book = dials("301", f"{ANNA}, forward: {{no_answer: {{after: 10s, to: mobile}}}}")
        book.then("ringback", "ring 301 10s").waits().then("cancel 301", f"ring {MOBILE} 30s {ASKS}")
        book.answers(MOBILE).then(f"join {MOBILE} answering").joined(MOBILE).then("let go")
        assert book.told("call.forwarded") == [{"person": "301", "rule": "no_answer", "to": "mobile"}]
        assert book.told("talk.started")[0]["with"] == MOBILE

    @pytest.mark.parametrize("result", ["busy", "unreachable"])
    def test_a_result_follows_its_own_rule(self, result: str) -> None:
        book = dials("301", f"name: Anna, forward: {{{result}: 302, otherwise: 303}}", "name: B", "name: C")
        book.then("ringback", "ring 301 30s").fails("301", result).then("ring 302 30s")

    @pytest.mark.parametrize("result", [word for word in NEARNESS if word != "refused"])
    def test_any_other_follows_otherwise(self, result: str) -> None:
        book = dials("301", "name: Anna, forward: {otherwise: 302}", "name: Boris")
        book.then("ringback", "ring 301 30s").fails("301", result).then("ring 302 30s")

    def test_a_forward_that_fails_follows_otherwise_once(self) -> None:
        book = dials("301", f"{ANNA}, forward: {{busy: mobile, otherwise: 302}}", "name: Boris")
        book.then("ringback", "ring 301 30s").fails("301", "busy").then(f"ring {MOBILE} 30s {ASKS}")
        book.fails(MOBILE, "busy").then("ring 302 30s").fails("302", "no_answer").then("answer", "play No.")
        assert book.told("step.left")[0]["outcome"] == "busy"

    def test_the_rules_of_whoever_is_forwarded_to_hold_too(self) -> None:
        book = dials("301", "name: A, forward: {busy: 302}", "name: B, forward: {busy: 303}", "name: C")
        book.fails("301", "busy").fails("302", "busy").then("ringback", "ring 301 30s", "ring 302 30s", "ring 303 30s")

    def test_when_theirs_are_used_up_the_first_persons_otherwise_is_next(self) -> None:
        book = dials("301", "name: A, forward: {busy: 302, otherwise: 303}", "name: B", "name: C")
        book.fails("301", "busy").fails("302", "declined").then(
            "ringback", "ring 301 30s", "ring 302 30s", "ring 303 30s"
        )

    def test_a_circle_is_cut_and_said(self) -> None:
        book = dials("301", "name: A, forward: {busy: 302}", "name: B, forward: {busy: 301}")
        book.fails("301", "busy").fails("302", "busy")
        book.then("ringback", "ring 301 30s", "ring 302 30s", "answer", "play No.")
        assert book.told("forward.cut") == [{"person": "302", "to": "301"}]

    def test_a_circle_of_always_does_not_hang_the_call(self) -> None:
        people = {
            ext: Person(ext, ext, None, None, (), True, {"always": {"to": to}}, None, None, Place("", 0, 0))
            for ext, to in (("301", "302"), ("302", "301"))
        }
        chain = Chain.begin(people, "301")
        second = chain.enter(people, "302")
        assert second is not None
        assert second.enter(people, "301") is None

    def test_in_a_group_no_rule_holds(self) -> None:
        head = company("name: A, forward: {always: 302}", "name: B").replace(
            "outbound", "groups:\n  team: [301]\noutbound"
        )
        Playbook(routing("main:\n  it: {dial: team, otherwise: no}" + END, head)).then("ringback", "ring 301 30s")

    def test_nor_in_stages_with_several(self) -> None:
        book = dials("[{to: [301, 302], ring: 15s}]", "name: A, forward: {busy: 303}", "name: B", "name: C")
        book.then("ringback", "ring 301 15s", "ring 302 15s").fails("301", "busy").then()

    def test_an_extension_dialled_in_a_menu_is_dialled_alone(self) -> None:
        head = company("name: A, forward: {busy: 302}", "name: B")
        flow = "main:\n  it: {menu: Hi., keys: {1: no}, extensions: [301], then: talked, otherwise: no}" + END
        book = Playbook(routing(flow, head)).presses("301")
        book.then("answer", "play Hi. (keys)", "play ringback (loop)", "ring 301 30s")
        book.fails("301", "busy").then("ring 302 30s").fails("302", "busy").then("stop", "play No.")
        assert book.path == ["it", "no"]


class TestVoicemail:
    def test_the_caller_leaves_a_message_for_the_person_and_the_call_ends(self) -> None:
        book = dials("301", "name: A, forward: {otherwise: voicemail}").fails("301", "busy")
        book.then("ringback", "ring 301 30s", "answer", f"play {GREETING}").hears_all().then("play record_beep")
        book.hears_all().then("record m2 120s").presses("#").then("stop recording")
        name = f"test_{CALL}_m2.wav"
        book.happens(m.RecordEnded(book.recorded, name, 8.0)).then("hangup normal")
        assert book.told("message.recorded") == [{"for": ["301"], "files": [name], "seconds": 8.0}]

    def test_at_once_with_always(self) -> None:
        dials("301", "name: A, forward: {always: voicemail}").then("answer", f"play {GREETING}")

    def test_the_hangup_ends_message_and_call(self) -> None:
        book = recording()
        book.hangs_up().happens(m.RecordEnded(book.recorded, "x.wav", 3.0))
        assert [fact.type for fact in book.facts][-2:] == ["message.recorded", "call.ended"]
        assert book.call.over

    def test_a_takeover_goes_on_recording(self) -> None:
        again = recording().taken_over(after=5)
        again.then("record m2 115s again")

    def test_a_takeover_in_the_greeting_begins_it_again_and_rings_nobody(self) -> None:
        book = dials("301", "name: A, forward: {otherwise: voicemail}").fails("301", "busy")
        book.taken_over().then(f"play {GREETING}")

    def test_a_message_of_a_call_that_nobody_owned_is_told_at_its_end(self) -> None:
        book = recording()
        told = epilogue(book.routing, book.states[-1], CALL, cause="X", answered=True, now=book.now)
        assert [fact.type for fact in told] == ["message.recorded", "call.ended"]
        assert told[0].data["for"] == ["301"]


GREETING = "Nobody can take your call. Please leave a message after the tone."


def recording() -> Playbook:
    book = dials("301", "name: A, forward: {otherwise: voicemail}").fails("301", "busy").hears_all().hears_all()
    book.lines.clear()
    return book


class TestOutside:
    def test_it_must_press_one_unless_the_person_says_otherwise(self) -> None:
        dials("301", f"{ANNA}, forward: {{always: mobile}}").then("ringback", f"ring {MOBILE} 30s {ASKS}")
        dials("301", f"{ANNA}, confirm: false, forward: {{always: mobile}}").then("ringback", f"ring {MOBILE} 30s")

    def test_it_is_asked_in_the_persons_language(self) -> None:
        book = dials("301", f"{ANNA}, language: ru, forward: {{always: mobile}}")
        book.then("ringback", f"ring {MOBILE} 30s (Вам звонок. Чтобы ответить, нажмите 1.)")

    def test_a_persons_phones_ring_together(self) -> None:
        book = dials("301", f'name: A, phones: ["{MOBILE}"]')
        book.then("ringback", "ring 301 30s", f"ring {MOBILE} 30s {ASKS}")

    def test_a_country_that_is_not_allowed_is_refused_and_told(self) -> None:
        people = ("name: A, forward: {busy: '+390612345678', otherwise: 302}", "name: B")
        book = Playbook(russia_only(dials("301", *people).routing))
        book.fails("301", "busy").then("ringback", "ring 301 30s", "ring 302 30s")
        (refused,) = [fact for fact in book.told("leg.result") if fact["result"] == "refused"]
        assert refused["why"]
        assert refused["address"] == "+390612345678"

    def test_only_refusals_make_the_outcome_refused(self) -> None:
        book = Playbook(russia_only(dials('"+390612345678"', "name: A").routing)).then("answer", "play No.")
        assert book.told("step.left")[0]["outcome"] == "refused"

    def test_a_number_in_a_flow_must_press_one_unless_the_step_says_otherwise(self) -> None:
        dials(f'"{MOBILE}"', "name: A").then("ringback", f"ring {MOBILE} 30s {ASKS}")
        dials(f'"{MOBILE}", confirm: false', "name: A").then("ringback", f"ring {MOBILE} 30s")

    def test_a_value_that_a_caller_typed_dials_extensions_only(self) -> None:
        flow = (
            "main:\n  ask: {collect: Number?, digits: 3-12, into: who, then: it, otherwise: no}\n"
            "  it: {dial: '{who}', then: talked, otherwise: no}" + END
        )
        book = Playbook(routing(flow, company("name: A"))).presses("89161112233#")
        assert not any(line.startswith("ring") for line in book.lines)
        assert book.told("step.left")[-1]["outcome"] == "unreachable"
        assert Playbook(routing(flow, company("name: A"))).presses("301#").lines[-1] == "ring 301 30s"

    def test_a_value_that_the_routing_sets_may_dial_what_policy_allows(self) -> None:
        flow = "main:\n  s: {set: {who: '8 916 111-22-33'}, then: it}\n  it: {dial: '{who}', otherwise: no}"
        Playbook(routing(flow + END, company("name: A"))).then("ringback", f"ring {MOBILE} 30s {ASKS}")

    def test_what_it_shows_and_counts(self) -> None:
        outbound = '{trunk: [one, two], caller_id: {otherwise: "+74951234567"}, max_calls: 10}'
        book = dials("301", f"{ANNA}, max_calls: 2, forward: {{always: mobile}}", outbound=outbound)
        rung = book.rung[MOBILE]
        assert (rung.shown, rung.trunks) == ("+74951234567", ("one", "two"))
        assert dict(rung.caps) == {"test": 10, "test/301": 2}

    @pytest.mark.parametrize(
        ("show", "inside", "outside"),
        [
            ("", "+79031234567", "+74951234567"),
            (", show: caller", "+79031234567", "+79031234567"),
            (", show: company", "+74951234567", "+74951234567"),
            (', show: "+390612345678"', "+390612345678", "+390612345678"),
        ],
    )
    def test_the_number_shown_is_the_callers_or_the_companys(self, show: str, inside: str, outside: str) -> None:
        book = dials("301", f'name: A, phones: ["{MOBILE}"]{show}')
        assert (book.rung["301"].shown, book.rung[MOBILE].shown) == (inside, outside)

    @pytest.mark.parametrize("caller", ["+123", "+12*#", "+0000000000", "+9991234567", "+79031234567890123"])
    def test_a_caller_whose_number_is_none_is_not_shown_outside(self, caller: str) -> None:
        head = dials("301", f'name: A, phones: ["{MOBILE}"], show: caller').routing
        assert Playbook(head, caller=caller).rung[MOBILE].shown == "+74951234567"

    def test_a_colleague_who_wants_to_see_the_company_does_not_see_the_own_extension(self) -> None:
        built = dials("302", "name: A", "name: B, show: company").routing
        assert Playbook(built, called="302", extension="301").rung["302"].shown == "+74951234567"


class TestWhispers:
    def test_the_person_called_hears_it_before_the_caller_is_there(self) -> None:
        dials("301, whisper: A call for sales.", "name: A").then("ringback", "ring 301 30s (A call for sales.)")

    def test_a_persons_own_whisper_is_heard_where_the_step_has_none(self) -> None:
        book = dials("301", "name: A, whisper: Work calls.").then("ringback", "ring 301 30s (Work calls.)")
        book.happens(m.LegAnswered(book.legs["301"])).then().answers("301").then("join 301 answering")

    def test_whoever_is_being_asked_is_not_cut_off_at_the_end_of_the_ringing(self) -> None:
        book = dials('[{to: [301, 302], ring: 15s}], whisper: "Hi."', "name: A", "name: B")
        book.then("ringback", "ring 301 15s (Hi.)", "ring 302 15s (Hi.)")
        book.happens(m.LegAnswered(book.legs["301"]), 14).waits().then("cancel 302")
        book.answers("301", 2).then("join 301 answering")

    def test_but_not_for_ever(self) -> None:
        book = dials('301, whisper: "Hi."', "name: A").then("ringback", "ring 301 30s (Hi.)")
        book.happens(m.LegAnswered(book.legs["301"]), 29).waits().then().waits().then(
            "cancel 301", "answer", "play No."
        )

    def test_one_who_is_asked_while_the_owner_dies_is_found_again(self) -> None:
        book = dials('301, whisper: "Hi."', "name: A").then("ringback", "ring 301 30s (Hi.)")
        again = book.taken_over(after=29).then("ringback", "find 301")
        again.happens(m.LegAnswered(book.legs["301"]), 0).waits().then()
        again.answers("301").then("join 301 answering")


class TestTakeover:
    def test_the_chain_goes_on_where_it_was(self) -> None:
        people = ("name: A, forward: {busy: 302}", "name: B, forward: {no_answer: 303}", "name: C")
        book = dials("301", *people).fails("301", "busy")
        again = book.taken_over(after=3)
        again.then("ringback", "find 302").happens(m.LegRinging(book.legs["302"]))
        again.waits().then("cancel 302", "ring 303 30s")
        assert again.told("call.forwarded") == [{"person": "302", "rule": "no_answer", "to": "303"}]

    def test_who_was_tried_in_vain_is_not_entered_again(self) -> None:
        people = ("name: A, forward: {busy: 302, otherwise: 303}", "name: B", "name: C, forward: {busy: 302}")
        again = dials("301", *people).fails("301", "busy").fails("302", "busy").taken_over()
        again.then("ringback", "find 303").happens(m.LegRinging(again.legs["303"])).fails("303", "busy")
        again.then("answer", "play No.")
        assert again.told("forward.cut") == [{"person": "303", "to": "302"}]

    def test_an_outside_phone_that_rings_is_not_interrupted(self) -> None:
        book = dials("301", f"{ANNA}, forward: {{always: mobile}}")
        again = book.taken_over(after=3).then("ringback", f"find {MOBILE}")
        assert again.told("call.forwarded") == []

    def test_what_another_version_of_the_step_rang_is_stopped(self) -> None:
        book = dials("[{to: [301, 302], ring: 15s}]", "name: A", "name: B").then(
            "ringback", "ring 301 15s", "ring 302 15s"
        )
        alone = dials("301", "name: A", "name: B").routing
        again = Playbook(alone, taken=book.states[-1], now=book.now + 1)
        again.then("cancel all", "ringback", "ring 301 30s")
        back = Playbook(book.routing, taken=again.states[-1], now=again.now + 1)
        back.then("cancel all", "ringback", "ring 301 15s", "ring 302 15s")

    def test_a_step_that_is_gone_leaves_nobody_ringing(self) -> None:
        book = dials("301", "name: A").then("ringback", "ring 301 30s")
        other = routing("main:\n  hi: {play: Hi., then: hangup}", company("name: A"))
        Playbook(other, taken=book.states[-1], now=book.now + 1).then("cancel all", "answer", "play Hi.")

    def test_a_talk_with_a_mobile_is_known_by_its_leg(self) -> None:
        book = dials("301", f"{ANNA}, forward: {{always: mobile}}").answers(MOBILE).joined(MOBILE)
        again = book.taken_over(after=60, returned=True).then("play Talked.")
        assert again.told("talk.ended") == [{"with": MOBILE, "seconds": 60}]


RULES = st.dictionaries(
    st.sampled_from(["always", "busy", "no_answer", "unreachable", "otherwise"]),
    st.sampled_from(["301", "302", "303", "304", "mobile", "voicemail"]),
    max_size=5,
)


@given(st.lists(RULES, min_size=4, max_size=4), st.lists(st.sampled_from(NEARNESS), min_size=1, max_size=8))
def test_every_chain_ends_and_enters_nobody_twice(rules: list[dict[str, str]], results: list[str]) -> None:
    people = {
        str(301 + n): Person(
            str(301 + n), "X", None, MOBILE, (), True,
            {rule: {"to": to, "after": 20.0} for rule, to in forward.items()}, None, None, Place("", 0, 0),
        )
        for n, forward in enumerate(rules)
    }  # fmt: skip
    chain: Chain | None = Chain.begin(people, "301")
    entered = ["301"]
    for step in range(60):
        if chain is None:
            break
        assert Chain.read(chain.text, people) == chain
        assert len(chain.text) <= 7 * MOST_PEOPLE
        to = chain.to(people)
        if to == "voicemail":
            break
        onward = chain.enter(people, to) if to in people else None
        if onward is not None:
            entered.append(str(to))
            chain = onward
            continue
        chain = chain.failed(people, results[step % len(results)])
    else:
        raise AssertionError("the chain has no end")
    assert len(entered) == len(set(entered))
