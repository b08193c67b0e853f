"""Ringing: one mechanism for dial, groups and menu extensions, also across takeovers."""

from __future__ import annotations

import pytest

from callcontrol import messages as m
from callcontrol.hunt import NEARNESS
from tests.playbook import Playbook, routing

END = "\n  talked: {play: Talked., then: bye}\n  no: {play: No., then: bye}\n  bye: {hangup: normal}"


def dial(what: str) -> Playbook:
    return Playbook("main:\n  it: {dial: " + what + ", then: talked, otherwise: no}" + END)


STAGES = "[{to: 302, ring: 15s}, {to: team, ring: 20s}]"


class TestOneTelephone:
    def test_an_unanswered_caller_hears_ringing_and_is_answered_by_the_joining(self) -> None:
        book = dial("302").then("ringback", "ring 302 30s")
        book.answers("302").then("join 302 answering").joined("302").then("let go")
        assert book.call.let_go
        assert [fact["with"] for fact in book.told("talk.started")] == ["302"]

    def test_an_answered_caller_hears_a_tone_meanwhile(self) -> None:
        book = Playbook(
            "main:\n  hi: {play: Hi., then: it}\n  it: {dial: 302, then: talked, otherwise: no}" + END
        ).then("answer", "play Hi.")
        book.hears_all().then("play ringback (loop)", "ring 302 30s").answers("302").then("join 302")

    @pytest.mark.parametrize("result", [word for word in NEARNESS if word != "refused"])
    def test_its_result_is_the_outcome(self, result: str) -> None:
        book = dial("302").then("ringback", "ring 302 30s").fails("302", result)
        book.then("answer", "play No.")
        assert book.told("step.left")[0]["outcome"] == result

    def test_the_end_of_the_ringing_time_is_no_answer(self) -> None:
        book = dial("302").then("ringback", "ring 302 30s").waits()
        book.then("cancel 302", "answer", "play No.")
        assert book.told("step.left")[0]["outcome"] == "no_answer"

    def test_a_caller_who_leaves_stops_the_ringing(self) -> None:
        book = dial("302").then("ringback", "ring 302 30s").hangs_up().then("cancel 302")
        assert [fact.type for fact in book.facts][-1] == "call.ended"

    def test_an_answer_after_the_caller_left_means_nothing(self) -> None:
        dial("302").then("ringback", "ring 302 30s").hangs_up().then("cancel 302").answers("302").then()

    def test_a_joining_that_fails_counts_as_no_answer(self) -> None:
        book = dial("302").then("ringback", "ring 302 30s").answers("302").then("join 302 answering")
        book.happens(m.JoinFailed(book.legs["302"], "-ERR")).then("cancel 302", "play No.")
        assert len(book.told("join.failed")) == 1

    def test_a_joining_of_which_nothing_is_heard_is_given_up(self) -> None:
        dial("302").then("ringback", "ring 302 30s").answers("302").then("join 302 answering").waits().then(
            "cancel 302", "play No."
        )

    def test_ring_bounds_the_ringing(self) -> None:
        Playbook("main:\n  it: {dial: 302, ring: 12s, otherwise: no}" + END).then("ringback", "ring 302 12s")

    def test_the_talk_over_is_then(self) -> None:
        book = dial("302").then("ringback", "ring 302 30s").answers("302").joined("302")
        again = book.taken_over(after=65, returned=True).then("play Talked.")
        assert again.told("talk.ended") == [{"with": "302", "seconds": 65}]

    def test_without_a_way_out_an_outside_phone_is_unreachable(self) -> None:
        book = Playbook('main:\n  it: {dial: "+79161112233", otherwise: no}' + END)
        book.then("answer", "play No.")  # nothing rings, so nothing is heard of it
        assert book.told("step.left")[0]["outcome"] == "unreachable"

    def test_a_persons_phones_ring_together_as_far_as_they_can(self) -> None:
        book = dial("301").then("ringback", "ring 301 30s")
        assert [fact["address"] for fact in book.told("leg.result")] == ["+79161112233"]


class TestSeveral:
    def test_a_group_rings_together_and_the_first_wins(self) -> None:
        book = dial("team").then("ringback", "ring 302 30s", "ring 303 30s")
        book.answers("303").then("join 303 answering", "cancel 302").joined("303").then("let go")
        results = {fact["address"]: fact["result"] for fact in book.told("leg.result")}
        assert results == {"303": "answered", "302": "lost"}

    def test_two_answers_make_one_talk(self) -> None:
        book = dial("team").then("ringback", "ring 302 30s", "ring 303 30s")
        book.answers("303").then("join 303 answering", "cancel 302").answers("302", 0.01).then().joined("303").then(
            "let go"
        )

    def test_one_busy_leaves_the_other_ringing(self) -> None:
        book = dial("team").then("ringback", "ring 302 30s", "ring 303 30s")
        book.fails("302", "busy").then().fails("303", "unreachable").then("answer", "play No.")
        assert book.told("step.left")[0]["outcome"] == "busy"

    def test_a_failed_joining_rings_the_others_again(self) -> None:
        book = dial("team").then("ringback", "ring 302 30s", "ring 303 30s")
        book.answers("303", 10).then("join 303 answering", "cancel 302")
        old = book.legs["302"]
        book.happens(m.JoinFailed(book.legs["303"], "-ERR")).then("cancel 303", "ring 302 20s")
        assert book.legs["302"] != old
        book.answers("302").then("join 302")

    def test_in_order_rings_one_by_one(self) -> None:
        book = Playbook("main:\n  it: {dial: team, strategy: in-order, ring: 10s, otherwise: no}" + END)
        book.then("ringback", "ring 302 10s").waits().then("cancel 302", "ring 303 10s").fails("303", "declined")
        book.then("answer", "play No.")
        assert book.told("step.left")[0]["outcome"] == "declined"

    def test_a_later_stage_ends_the_earlier(self) -> None:
        book = dial(STAGES).then("ringback", "ring 302 15s").waits()
        book.then("cancel 302", "ring 302 20s", "ring 303 20s").waits()
        book.then("cancel 302", "cancel 303", "answer", "play No.")

    def test_the_ringing_tone_goes_on_between_stages(self) -> None:
        book = Playbook("main:\n  hi: {play: Hi., then: it}\n  it: {dial: " + STAGES + ", otherwise: no}" + END).then(
            "answer", "play Hi."
        )
        book.hears_all().then("play ringback (loop)", "ring 302 15s").fails("302", "busy")
        book.then("ring 302 20s", "ring 303 20s").fails("302", "busy").fails("303", "busy").then("stop", "play No.")

    def test_nobody_is_rung_twice_at_once(self) -> None:
        dial("[{to: [302, team], ring: 15s}]").then("ringback", "ring 302 15s", "ring 303 15s")

    def test_a_rota_rings_the_member_of_the_week(self) -> None:
        head = """\
cordboard: 1
company: Test
country: RU
timezone: Europe/Moscow
languages: [en]
numbers:
  "+74951234567": {flow: main}
people:
  301: {name: Anna}
  302: {name: Boris}
groups:
  oncall: {members: [301, 302], rotate: weekly, from: 2026-11-23 09:00}
"""
        built = routing("main:\n  it: {dial: oncall, otherwise: bye}\n  bye: {hangup: normal}", head)
        first = Playbook(built, at="2026-11-23 09:00").then("ringback", "ring 301 30s")
        Playbook(built, at="2026-11-30 08:59").then("ringback", "ring 301 30s")
        Playbook(built, at="2026-11-30 09:00").then("ringback", "ring 302 30s")
        assert first.path == ["it"]

    def test_a_variable_dials_a_person_by_extension_or_mail(self) -> None:
        for value in ("302", "BORIS@acme.test"):
            head_people = value if value == "302" else "ANNA@acme.test"
            flow = (
                f"main:\n  s: {{set: {{who: {head_people}}}, then: it}}\n  it: {{dial: '{{who}}', otherwise: no}}" + END
            )
            rung = "302" if value == "302" else "301"
            Playbook(flow).then("ringback", f"ring {rung} 30s")

    @pytest.mark.parametrize("value", ["999", "+79161112233", "nobody@acme.test", "30"])
    def test_a_variable_that_is_nobody_is_unreachable(self, value: str) -> None:
        flow = f"main:\n  s: {{set: {{who: '{value}'}}, then: it}}\n  it: {{dial: '{{who}}', otherwise: no}}" + END
        Playbook(flow).then("answer", "play No.")


class TestTakeover:
    def test_a_ringing_telephone_is_not_interrupted(self) -> None:
        book = dial("302").then("ringback", "ring 302 30s")
        again = book.taken_over(after=3).then("ringback", "find 302")
        again.happens(m.LegRinging(book.legs["302"])).then().answers("302").then("join 302 answering")

    def test_a_telephone_that_was_answered_meanwhile_is_joined(self) -> None:
        book = dial("team").then("ringback", "ring 302 30s", "ring 303 30s")
        again = book.taken_over(after=3).then("ringback", "find 302", "find 303")
        again.happens(m.LegRinging(book.legs["302"])).happens(m.LegReady(book.legs["303"]))
        again.then("join 303 answering", "cancel 302")

    def test_a_telephone_that_is_gone_is_rung_again_for_the_time_that_is_left(self) -> None:
        book = dial("302").then("ringback", "ring 302 30s")
        again = book.taken_over(after=10).then("ringback", "find 302")
        again.happens(m.LegFailed(book.legs["302"], "unreachable", "GONE"), 0).then().waits().then("ring 302 20s")

    def test_what_a_telephone_says_while_others_are_looked_for_is_not_lost(self) -> None:
        book = dial("team").then("ringback", "ring 302 30s", "ring 303 30s")
        again = book.taken_over(after=3).then("ringback", "find 302", "find 303")
        again.happens(m.LegRinging(book.legs["302"]), 0).fails("302", "busy", 0)  # before 303 is found
        again.happens(m.LegFailed(book.legs["303"], "unreachable", "GONE"), 0).waits().then("ring 303 27s")
        again.fails("303", "no_answer").then("answer", "play No.")
        assert again.told("step.left")[0]["outcome"] == "busy"

    def test_nor_while_it_is_waited_to_ring_one_again(self) -> None:
        book = dial("team").then("ringback", "ring 302 30s", "ring 303 30s")
        again = book.taken_over(after=3).then("ringback", "find 302", "find 303")
        again.happens(m.LegFailed(book.legs["303"], "unreachable", "GONE"), 0)
        again.happens(m.LegRinging(book.legs["302"]), 0).fails("302", "declined", 0.1).then()
        again.waits().then("ring 303 27s").fails("303", "busy").then("answer", "play No.")
        assert again.told("step.left")[0]["outcome"] == "declined"

    def test_but_at_least_five_seconds(self) -> None:
        book = dial("302").then("ringback", "ring 302 30s")
        again = book.taken_over(after=29).then("ringback", "find 302")
        again.happens(m.LegFailed(book.legs["302"], "unreachable", "GONE"), 0).waits().then("ring 302 5s")

    def test_takeovers_do_not_make_a_stage_endless(self) -> None:
        book = dial("302").then("ringback", "ring 302 30s")
        for after in (29, 5, 5, 5):
            book = book.taken_over(after=after).then("ringback", "find 302")
            book.happens(m.LegRinging(book.legs["302"]), 0)
        assert book.wakes_at is not None
        assert book.wakes_at == book.now + 1  # 30 s and 15 more, 44 of them are over

    def test_a_clock_that_was_set_back_makes_nobody_ring_for_an_hour(self) -> None:
        book = dial("302").then("ringback", "ring 302 30s")
        again = book.taken_over(after=-3600).then("ringback", "find 302")
        again.happens(m.LegFailed(book.legs["302"], "unreachable", "GONE"), 0).waits().then("ring 302 30s")

    def test_the_stage_is_the_same_and_the_results_so_far_count(self) -> None:
        book = dial(STAGES).then("ringback", "ring 302 15s").fails("302", "declined")
        book.then("ring 302 20s", "ring 303 20s")
        again = book.taken_over().then("ringback", "find 302", "find 303")
        for phone in ("302", "303"):
            again.happens(m.LegRinging(book.legs[phone]))
        again.waits().then("cancel 302", "cancel 303", "answer", "play No.")
        assert again.told("step.left")[0]["outcome"] == "declined"

    def test_a_switch_that_does_not_say_what_became_of_a_leg_does_not_stop_the_hunt(self) -> None:
        book = dial("302").then("ringback", "ring 302 30s")
        again = book.taken_over().then("ringback", "find 302")
        again.waits()
        again.answers("302").then("join 302 answering")

    def test_a_takeover_before_the_joining_took_place_finds_the_leg_again(self) -> None:
        book = dial("302").then("ringback", "ring 302 30s").answers("302").then("join 302 answering")
        again = book.taken_over().then("play ringback (loop)", "find 302")
        again.happens(m.LegReady(book.legs["302"])).then("join 302")

    def test_a_leg_that_died_as_it_was_joined_is_no_talk_and_not_rung_again(self) -> None:
        book = dial("302").then("ringback", "ring 302 30s").answers("302", 4).then("join 302 answering")
        again = book.taken_over().then("play ringback (loop)", "find 302")  # it came back without a talk
        again.happens(m.LegFailed(book.legs["302"], "unreachable", "GONE"), 0).then().waits().then("stop", "play No.")
        assert again.told("talk.ended") == []
        assert again.told("leg.result")[0]["result"] == "no_answer"

    def test_but_the_others_of_its_group_are(self) -> None:
        book = dial("team").then("ringback", "ring 302 30s", "ring 303 30s")
        book.answers("302", 4).then("join 302 answering", "cancel 303")
        again = book.taken_over().then("play ringback (loop)", "find 302", "find 303")
        for phone in ("302", "303"):
            again.happens(m.LegFailed(book.legs[phone], "unreachable", "GONE"), 0)
        again.then().waits().then("ring 303 26s")

    def test_a_leg_that_drops_as_it_is_joined_mostly_belongs_to_another_owner_already(self) -> None:
        book = dial("302").then("ringback", "ring 302 30s").answers("302").then("join 302 answering")
        book.fails("302", "no_answer", 0.02).then()
        assert book.wakes_at == pytest.approx(book.now + 0.5)
        book.waits().then("cancel 302", "play No.")

    def test_an_earlier_talk_is_not_taken_for_this_one(self) -> None:
        flow = "main:\n  a: {dial: 302, then: b, otherwise: no}\n  b: {dial: 302, then: talked, otherwise: no}" + END
        first = Playbook(flow).answers("302").joined("302")
        second = first.taken_over(after=30, returned=True)
        assert second.path == ["a", "b"]
        second.answers("302")
        third = Playbook(
            second.routing,
            taken=second.states[-1],
            answered=True,
            now=second.now,
            talked_to=first.legs["302"],
        )
        assert third.lines[-1] == "find 302"

    def test_five_takeovers_in_a_row_ring_one_telephone_once(self) -> None:
        book = dial("302").then("ringback", "ring 302 30s")
        leg = book.legs["302"]
        for _ in range(5):
            book = book.taken_over(after=0.5).then("ringback", "find 302").happens(m.LegRinging(leg))
        book.answers("302").then("join 302 answering").joined("302").then("let go")
        assert book.call.epoch == 6

    def test_a_caller_who_leaves_after_a_takeover_stops_the_ringing(self) -> None:
        book = dial("302").then("ringback", "ring 302 30s")
        again = book.taken_over().then("ringback", "find 302")
        again.hangs_up(0.01).then("cancel 302")
