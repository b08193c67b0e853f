"""The caller's side of a queue: entering, hearing, being given agents, being joined, giving up, changing hands."""

from __future__ import annotations

from typing import Self

import pytest

from callcontrol import messages as m
from callcontrol.call import epilogue
from callcontrol.routing.load import load_text
from callcontrol.steps.queue import MOST_NOTED
from tests.playbook import CALL, HEAD, Playbook, routing

#: What the queue says since when the caller stands in it, ms.
JOINED = 1795424400123
MOBILE = "+79161112233"
STEP = "{queue: sales, then: talked, otherwise: no}"
ENDS = "\n  talked: {play: Talked., then: bye}\n  no: {play: No., then: bye}\n  bye: {hangup: normal}"
MUSIC = ("answer", "play moh (loop)")


class Caller(Playbook):
    """A playbook with a queue in it."""

    def entered(self, after: float = 0.01) -> Self:
        self.happens(m.Entered(JOINED), after)
        return self

    def offered(self, offer: int, agent: str, after: float = 0.01) -> Self:
        self.happens(m.Offered(offer, agent), after)
        return self

    def granted(self, offer: int, after: float = 0.01) -> Self:
        self.happens(m.Taken(offer, True), after)
        return self

    def stops(self, after: float = 0.02) -> Self:
        """The sound that was stopped ends."""
        self.happens(m.PlayEnded(self.played), after)
        return self

    def passes(self, seconds: float) -> Self:
        """Time goes by, and the call wakes whenever it wants to."""
        end = self.now + seconds
        while self.wakes_at is not None and self.wakes_at <= end:
            self.waits()
        self.now = max(self.now, end)
        return self


def company(queue: str = "agents: [302, 303]", step: str = STEP, head: str = HEAD, more: str = "") -> Caller:
    text = head + f"queues:\n  sales: {{{queue}}}\n"
    return Caller(routing(f"main:\n  it: {step}" + ENDS + more, text))


def waiting(queue: str = "agents: [302, 303]", step: str = STEP, head: str = HEAD) -> Caller:
    """Somebody who stands in the queue and hears music."""
    book = company(queue, step, head).entered()
    book.then("enter sales", *MUSIC)
    return book


def ringing(queue: str = "agents: [302, 303], ring: 15s") -> Caller:
    """And for whom the telephone of 302 rings."""
    book = waiting(queue).offered(1, "302")
    book.then("ring 302 15s")
    return book


class TestEntering:
    def test_an_unanswered_caller_is_answered_by_the_music_when_they_are_in(self) -> None:
        book = company().then("enter sales")
        book.happens(m.Entered(JOINED), 0.01).then(*MUSIC)
        assert book.told("queue.joined") == [{"queue": "sales", "priority": 0}]

    def test_what_the_queue_is_told(self) -> None:
        queue = (
            "agents: [301, {agent: 302, level: 2}, {agent: 303, level: 3, skills: [french, german]}],"
            " levels: {3: 60s, 2: 30s, 4: 90s},"
            " skills: [german], priority: 3, ring: 12s, unstaffed: 10s, max_callers: 20, strategy: ring-all"
        )
        book = company(queue, STEP.replace("sales,", "sales, priority: 4, skills: [french, german],"))
        assert book.entered_with == m.Enter(
            "sales",
            7,
            ("french", "german"),
            0,
            0.0,
            1,
            12.0,
            patience=10.0,
            most=20,
            levels=(30.0, 60.0),
            together=True,
        )
        book.entered()
        assert book.told("queue.joined") == [{"queue": "sales", "priority": 7, "skills": ["french", "german"]}]

    @pytest.mark.parametrize("outcome", ["full", "no_agents", "paused"])
    def test_who_is_refused_at_once_has_not_been_answered(self, outcome: str) -> None:
        step = f"{{queue: sales, {outcome}: bye, otherwise: no}}"
        book = company(step=step).then("enter sales")
        book.happens(m.NotEntered(outcome), 0.01).then("leave", "hangup normal")
        assert book.told("queue.refused") == [{"queue": "sales", "outcome": outcome}]
        assert book.told("step.left")[0]["outcome"] == outcome

    def test_without_a_word_from_the_queue_there_is_music_all_the_same(self) -> None:
        book = company().then("enter sales").waits().then(*MUSIC)
        assert book.told("queue.joined") == []
        book.happens(m.Entered(JOINED), 60).then()
        assert len(book.told("queue.joined")) == 1

    def test_and_who_is_refused_then_stops_hearing_it(self) -> None:
        book = company().waits().then("enter sales", *MUSIC)
        book.happens(m.NotEntered("full"), 60).then("leave", "stop", "play No.")

    def test_an_answered_caller_hears_music_at_once(self) -> None:
        book = Playbook(
            routing(
                f"main:\n  hi: {{play: Hi., then: it}}\n  it: {STEP}" + ENDS,
                HEAD + "queues:\n  sales: {agents: [302]}\n",
            )
        ).hears_all()
        book.then("answer", "play Hi.", "enter sales", "play moh (loop)")

    def test_being_entered_again_by_a_queue_that_came_back_is_no_second_joining(self) -> None:
        book = waiting()
        written = len(book.states)
        book.happens(m.Entered(JOINED), 30).then()
        assert len(book.states) == written
        book.happens(m.Entered(JOINED + 5), 30).then()
        assert len(book.told("queue.joined")) == 1
        assert book.states[-1].progress["j"] == str(JOINED + 5)


class TestHearing:
    QUEUE = 'agents: [302], announce: {every: 45s, say: "You are number {position}."}'

    def test_an_announcement_stops_the_music_which_then_goes_on_where_it_was(self) -> None:
        book = waiting("agents: [302], announce: {every: 45s, say: Please wait.}")
        began = book.now
        book.passes(45).then("stop")
        heard = book.now - began
        book.stops(0.5).then("play Please wait.")
        book.hears_all(4).then(f"play moh (loop) from {heard + 0.5:g}s")

    def test_and_again_and_again(self) -> None:
        book = waiting("agents: [302], announce: {every: 45s, say: Please wait.}")
        for turn in (1, 2, 3):
            book.waits().then("stop")
            assert book.now == book.states[0].progress["t"] + 45 * turn
            book.stops().hears_all(4).lines.clear()

    def test_music_that_does_not_stop_keeps_nobody_from_being_told(self) -> None:
        book = waiting("agents: [302], announce: {every: 45s, say: Please wait.}")
        book.waits().then("stop")
        book.waits().then("play Please wait.")

    def test_the_place_is_asked_for_and_said(self) -> None:
        book = waiting(self.QUEUE).waits()
        book.then("ask place").happens(m.PlaceTold(3), 0.01).then("stop")
        book.stops().then("play You are number 3.")
        assert book.call.state().variables == {}

    @pytest.mark.parametrize("told", [[m.PlaceTold(0)], []], ids=["nobody knows", "nobody says"])
    def test_an_unknown_place_is_not_said(self, told: list[m.Event]) -> None:
        book = waiting(self.QUEUE).waits()
        book.then("ask place")
        for event in told:
            book.happens(event, 0.01)
        if not told:
            book.waits()
            book.happens(m.PlaceTold(3), 0.5)  # too late
        book.then().waits().then("ask place")  # the next time

    def test_nor_is_it_asked_for_while_the_caller_stands_nowhere(self) -> None:
        book = company(self.QUEUE).waits().then("enter sales", *MUSIC)
        book.passes(100).then()

    def test_announcements_that_are_due_together_are_said_one_after_another(self) -> None:
        both = "agents: [302], announce: [{every: 30s, say: One.}, {every: 60s, say: Two.}]"
        book = waiting(both).waits()
        book.then("stop").stops().then("play One.").hears_all(2).lines.clear()
        book.waits().then("stop").stops().then("play One.")
        book.hears_all(2).then("play Two.")
        book.hears_all(2).then("play moh (loop) from 58.01s")

    def test_each_caller_in_their_language(self) -> None:
        said = 'agents: [302], announce: {every: 45s, say: {en: "Number {position}.", ru: "Номер {position}."}}'
        text = HEAD + f"queues:\n  sales: {{{said}}}\n"
        flow = f"main:\n  ru: {{set: {{language: ru}}, then: it}}\n  it: {STEP}" + ENDS
        book = Caller(routing(flow, text)).entered().waits()
        book.happens(m.PlaceTold(2), 0.01).happens(m.PlayEnded(book.played))
        assert book.lines[-1] == "play Номер 2."

    def test_music_of_the_company_is_a_file(self) -> None:
        book = company("agents: [302], music: wait.ogg").entered()
        book.then("enter sales", "answer", "play wait.ogg (loop)")

    def test_or_has_a_name(self) -> None:
        company("agents: [302], music: jazz").entered().then("enter sales", "answer", "play jazz (loop)")

    @pytest.mark.parametrize(("music", "name"), [("wait.ogg", "wait.ogg"), ("jazz", "jazz")])
    def test_music_that_is_not_there_gives_way_to_a_ringing_tone_and_is_told_once(self, music: str, name: str) -> None:
        book = company(f"agents: [302], music: {music}, announce: {{every: 45s, say: Wait.}}").entered()
        book.lines.clear()
        book.happens(m.PlayEnded(book.played, missing=True)).then("play ringback (loop)")
        book.waits().then("stop").stops().hears_all(2).then("play Wait.", "play ringback (loop)")
        assert book.told("sound.missing") == [{"sound": name, "language": "en"}]
        assert [log.level for log in book.logs] == ["error"]

    def test_music_that_ends_begins_again_but_not_in_a_tight_loop(self) -> None:
        book = waiting()
        book.happens(m.PlayEnded(book.played), 5).then("play moh (loop)")
        book.happens(m.PlayEnded(book.played), 0.01).then()
        assert book.wakes_at == pytest.approx(book.now + 0.99)
        book.waits().then("play moh (loop)")

    def test_also_after_an_announcement(self) -> None:
        book = waiting("agents: [302], announce: {every: 45s, say: Wait.}").waits().stops().hears_all()
        book.lines.clear()
        book.happens(m.PlayEnded(book.played), 5).then("play moh (loop)")

    def test_an_announcement_that_is_not_there_is_a_tone(self) -> None:
        book = waiting("agents: [302], announce: {every: 45s, say: Wait.}").waits()
        book.then("stop").stops().then("play Wait.")
        book.happens(m.PlayEnded(book.played, missing=True)).then("play missing")
        book.hears_all(1).then("play moh (loop) from 45.01s")

    def test_hours_of_announcements_do_not_fill_the_record_of_the_step(self) -> None:
        book = company("agents: [302], music: x.wav, announce: {every: 10s, say: Wait.}, keys: {1: left}").entered()
        for _ in range(50):
            book.waits().stops().hears_all(1)
        book.presses("1")
        assert book.told("step.left")[0]["why"] == "pressed 1"


class TestKeys:
    def test_a_key_leads_where_it_is_written(self) -> None:
        book = waiting("agents: [302], keys: {1: main/bye}")
        book.presses("5").then().presses("1").then("leave", "stop", "hangup normal")
        assert book.told("queue.left") == [{"queue": "sales", "waited": 0, "key": "1", "outcome": "→ main/bye"}]
        assert book.told("step.left")[0]["outcome"] == "→ main/bye"

    def test_or_to_the_outcome_left(self) -> None:
        book = waiting("agents: [302], keys: {star: left}").presses("*", gap=61)
        book.then("leave", "stop", "play No.")
        assert book.told("queue.left") == [{"queue": "sales", "waited": 61, "key": "*", "outcome": "left"}]
        assert book.told("step.left")[0]["outcome"] == "left"

    def test_the_steps_own_keys_go_before_those_of_the_queue(self) -> None:
        step = STEP.replace("sales,", "sales, keys: {1: left},")
        waiting("agents: [302], keys: {1: main/bye, 2: main/bye}", step).presses("1").then("leave", "stop", "play No.")
        waiting("agents: [302], keys: {1: main/bye, 2: main/bye}", step).presses("2").then(
            "leave", "stop", "hangup normal"
        )

    def test_what_rings_is_stopped(self) -> None:
        book = ringing("agents: [302], ring: 15s, keys: {1: main/bye}").presses("1")
        book.then("leave", "cancel 302", "stop", "hangup normal")
        assert [fact["result"] for fact in book.told("leg.result")] == ["lost"]
        assert book.told("queue.missed") == []

    def test_none_counts_once_somebody_has_answered(self) -> None:
        book = ringing("agents: [302], ring: 15s, keys: {1: main/bye}").answers("302").presses("1")
        book.then("take 302")
        book.happens(m.Taken(1, True)).presses("1").then("join 302")

    def test_but_it_does_again_if_they_may_not_be_had(self) -> None:
        book = ringing("agents: [302], ring: 15s, keys: {1: main/bye}").answers("302")
        book.happens(m.Taken(1, False)).then("take 302", "cancel 302").presses("1").then(
            "leave", "stop", "hangup normal"
        )


class TestAgents:
    def test_an_agents_telephones_ring_and_the_first_that_answers_is_taken_then_joined(self) -> None:
        book = ringing().answers("302", 3).then("take 302").granted(1)
        book.then("join 302").joined("302").then("let go")
        assert book.told("queue.offered") == [{"queue": "sales", "agent": "302", "offer": 1}]
        assert book.told("queue.answered") == [{"queue": "sales", "agent": "302", "offer": 1, "waited": 3}]
        assert [fact["with"] for fact in book.told("talk.started")] == ["302"]

    def test_all_of_them(self) -> None:
        head = HEAD + "outbound: {trunk: one}\n"
        book = waiting("agents: [301], ring: 15s", head=head).offered(1, "301")
        assert book.lines[0] == "ring 301 15s"
        assert book.lines[1].startswith(f"ring {MOBILE} 15s (")
        book.lines.clear()
        book.answers("301").happens(m.Taken(1, True)).then("take 301", "join 301", f"cancel {MOBILE}")

    def test_what_the_agent_hears_is_the_queues_whisper(self) -> None:
        book = waiting("agents: [302], ring: 15s, whisper: A call for sales.").offered(1, "302")
        book.then("ring 302 15s (A call for sales.)")

    def test_a_telephone_that_may_not_be_rung_is_told(self) -> None:
        book = waiting("agents: [301], ring: 15s").offered(1, "301")
        book.then("ring 301 15s")
        assert [(fact["address"], fact["result"]) for fact in book.told("leg.result")] == [(MOBILE, "unreachable")]
        book.fails("301", "busy").then("miss 301 busy 15s")

    def test_an_agent_who_is_nobody_is_unreachable(self) -> None:
        book = waiting().offered(1, "999")
        book.then("miss 999 unreachable 15s")
        assert book.told("queue.missed") == [{"queue": "sales", "agent": "999", "offer": 1, "result": "unreachable"}]
        assert book.states[-1].ring_number == 1

    @pytest.mark.parametrize("result", ["declined", "busy", "no_answer"])
    def test_a_telephone_that_refuses_by_itself_is_not_asked_again_at_once(self, result: str) -> None:
        """Whatever ``delays`` says: it would be asked many times a second."""
        delays = f"delays: {{{result}: 0s}}"
        ringing(f"agents: [302], ring: 15s, {delays}").fails("302", result, 0.1).then(f"miss 302 {result} 1s")
        ringing(f"agents: [302], ring: 15s, {delays}").fails("302", result, 1.5).then(f"miss 302 {result}")

    @pytest.mark.parametrize(
        ("result", "missed"),
        [
            ("declined", "miss 302 declined 40s"),
            ("busy", "miss 302 busy 20s"),
            ("no_answer", "miss 302 no_answer 10s"),
            ("unreachable", "miss 302 unreachable 30s"),
            ("refused", "miss 302 unreachable 30s"),
        ],
    )
    def test_each_way_of_not_taking_a_call_has_its_own_delay(self, result: str, missed: str) -> None:
        delays = "delays: {declined: 40s, busy: 20s, no_answer: 10s, unreachable: 30s}, pause_after: 3"
        book = ringing(f"agents: [302], ring: 15s, {delays}").fails("302", result)
        book.then(missed)
        assert [fact["result"] for fact in book.told("queue.missed")] == [missed.split()[2]]
        assert book.pause_after == 3

    def test_a_switch_that_could_not_be_told_to_ring_is_no_miss_of_the_agents(self) -> None:
        book = ringing("agents: [302], ring: 15s, pause_after: 1").fails("302", "lost").then("miss 302 lost")
        assert not book.told("queue.missed")

    def test_ring_bounds_the_ringing(self) -> None:
        book = ringing().waits().then("cancel 302", "miss 302 no_answer 5s")
        assert book.now == pytest.approx(book.states[0].progress["t"] + 15, abs=0.1)

    def test_who_is_asked_to_press_1_gets_the_time_for_it(self) -> None:
        book = ringing()
        book.happens(m.LegAnswered(book.legs["302"]), 14).passes(20).then()
        book.answers("302").then("take 302")

    def test_but_not_more(self) -> None:
        book = ringing()
        book.happens(m.LegAnswered(book.legs["302"]), 14).passes(20).happens(m.LegAnswered(book.legs["302"])).passes(9)
        book.then()
        book.passes(1.1).then("cancel 302", "miss 302 no_answer 5s")

    def test_the_next_agent_is_rung_as_the_queue_says(self) -> None:
        book = ringing().fails("302", "busy").then("miss 302 busy 15s").offered(2, "303")
        book.then("ring 303 15s").answers("303").then("take 303").happens(m.Taken(2, True)).then("join 303")

    def test_an_offer_that_is_known_is_not_rung_twice(self) -> None:
        ringing().offered(1, "302").then()

    def test_a_number_that_was_used_is_looked_for_before_anything_rings(self) -> None:
        book = ringing().fails("302", "busy").then("miss 302 busy 15s").offered(1, "302")  # the miss was never heard of
        book.then("find 302").happens(m.LegFailed(book.legs["302"], "unreachable", "GONE")).then("miss 302 lost")
        assert len(book.told("queue.missed")) == 1
        assert len(book.told("queue.withdrawn")) == 1

    def test_an_agent_of_a_new_offer_has_no_old_one(self) -> None:
        ringing().offered(2, "302").then("cancel 302", "ring 302 15s")

    def test_a_withdrawn_offer_rings_no_longer_and_is_no_miss(self) -> None:
        book = ringing().happens(m.Withdrawn(1)).then("cancel 302").answers("302").then()
        assert book.told("queue.missed") == []
        assert book.told("queue.withdrawn") == [{"queue": "sales", "agent": "302", "offer": 1}]
        assert [fact["result"] for fact in book.told("leg.result")] == ["lost"]

    def test_who_answers_while_nobody_says_whether_they_may_be_had_is_joined(self) -> None:
        book = ringing().answers("302").then("take 302").waits()
        book.then("join 302")
        assert book.told("queue.answered")

    def test_who_talks_with_somebody_else_already_is_not(self) -> None:
        book = ringing().answers("302").happens(m.Taken(1, False)).then("take 302", "cancel 302")
        book.offered(2, "303").then("ring 303 15s")
        assert not book.told("queue.answered")
        assert [fact["agent"] for fact in book.told("queue.withdrawn")] == ["302"]

    def test_an_answer_for_another_offer_grants_nothing(self) -> None:
        ringing().answers("302").happens(m.Taken(7, True)).then("take 302")

    def test_a_withdrawal_after_the_answer_is_for_the_queue_to_judge(self) -> None:
        book = ringing().answers("302").happens(m.Withdrawn(1)).then("take 302")
        book.happens(m.Taken(1, False)).then("cancel 302")

    def test_who_hangs_up_before_the_word_comes_has_not_taken_the_call(self) -> None:
        book = ringing().answers("302").then("take 302").fails("302", "no_answer", 0.01)
        book.then("miss 302 no_answer 5s", "enter sales again")
        book.happens(m.Taken(1, True)).then()

    def test_what_is_offered_meanwhile_waits_for_the_word(self) -> None:
        book = ringing().answers("302").then("take 302").offered(2, "303")
        book.then().happens(m.Taken(1, False)).then("cancel 302", "ring 303 15s")

    def test_or_is_forgotten_if_it_ends_meanwhile(self) -> None:
        book = ringing().answers("302").then("take 302").offered(2, "303").happens(m.Withdrawn(2))
        book.happens(m.Taken(1, False)).then("cancel 302")

    @pytest.mark.parametrize("how", ["the switch says so", "nothing is heard", "the telephone drops"])
    def test_a_joining_that_fails_is_a_miss_and_the_caller_is_where_they_were(self, how: str) -> None:
        book = ringing().answers("302").granted(1)
        book.then("take 302", "join 302")
        if how == "the switch says so":
            book.happens(m.JoinFailed(book.legs["302"], "-ERR"))
        elif how == "the telephone drops":
            book.fails("302", "no_answer", 0.02).then()
            assert book.wakes_at == pytest.approx(book.now + 0.5)
            book.waits()
        else:
            book.waits()
        book.then("cancel 302", "miss 302 no_answer 5s", "enter sales again")
        assert book.entered_with is not None
        assert (book.entered_with.joined, book.entered_with.first) == (JOINED, 2)
        assert book.states[-1].talk is None
        assert "a" not in book.states[-1].progress
        book.offered(2, "303").then("ring 303 15s")

    def test_no_sound_begins_while_somebody_is_joined(self) -> None:
        book = ringing("agents: [302], ring: 15s, announce: {every: 10s, say: Wait.}").answers("302", 9.9).granted(1)
        book.then("take 302", "join 302").happens(m.PlayEnded(book.played), 0.01).passes(1).then()
        book.happens(m.JoinFailed(book.legs["302"], "-ERR"))
        book.then("cancel 302", "miss 302 no_answer 5s", "enter sales again", "play Wait.")

    def test_the_talk_over_is_then(self) -> None:
        book = ringing().answers("302").granted(1).joined("302")
        again = book.taken_over(after=65, returned=True).then("leave", "play Talked.")
        assert again.told("talk.ended") == [{"with": "302", "seconds": 65}]
        assert not again.told("queue.abandoned")

    def test_numbers_of_offers_never_come_again_in_a_call(self) -> None:
        text = "{queue: sales, then: it, otherwise: bye}"
        book = waiting(step=text).offered(1, "302").answers("302").granted(1).joined("302")
        again = book.taken_over(after=30, returned=True)
        assert again.entered_with is not None
        assert again.entered_with.first == 2


class TestRingingTogether:
    ALL = "agents: [302, 303], ring: 15s, strategy: ring-all"

    def both(self) -> Caller:
        book = waiting(self.ALL).offered(1, "302").offered(2, "303")
        book.then("ring 302 15s", "ring 303 15s")
        return book

    def test_the_first_to_answer_stops_the_others(self) -> None:
        book = self.both().answers("303").happens(m.Taken(2, True))
        book.then("take 303", "join 303", "cancel 302")
        results = {fact["address"]: fact["result"] for fact in book.told("leg.result")}
        assert results == {"303": "answered", "302": "lost"}
        assert not book.told("queue.missed")

    def test_two_answers_make_one_talk(self) -> None:
        book = self.both().answers("303").answers("302", 0.01).then("take 303")
        book.happens(m.Taken(2, True)).then("join 303", "cancel 302")

    def test_and_the_second_is_taken_if_the_first_may_not_be_had(self) -> None:
        book = self.both().answers("303").answers("302", 0.01).happens(m.Taken(2, False))
        book.then("take 303", "cancel 303", "take 302").happens(m.Taken(1, True)).then("join 302")

    def test_when_the_answer_comes_to_nothing_the_others_are_told_of_as_withdrawn(self) -> None:
        book = self.both().answers("303").fails("303", "no_answer", 0.01)
        book.then("take 303", "cancel 302", "miss 303 no_answer 5s", "enter sales again")
        assert [fact["agent"] for fact in book.told("queue.withdrawn")] == ["302"]
        assert [fact["agent"] for fact in book.told("queue.missed")] == ["303"]

    def test_one_who_is_busy_leaves_the_other_ringing(self) -> None:
        self.both().fails("302", "busy").then("miss 302 busy 15s").answers("303").then("take 303")

    def test_a_checkpoint_has_room_for_some_and_the_queue_names_the_others_again(self) -> None:
        people = "".join(f"  {number}: {{name: A}}\n" for number in range(310, 320))
        head = HEAD.replace("groups:", people + "groups:")
        agents = [str(number) for number in range(310, 320)]
        book = waiting(f"agents: [{', '.join(agents)}], ring: 15s, strategy: ring-all", head=head)
        for number, agent in enumerate(agents, 1):
            book.offered(number, agent, 0)
        noted = book.states[-1].progress["o"]
        assert len(noted) <= MOST_NOTED
        again = book.taken_over()
        found = [line for line in again.lines if line.startswith("find")]
        assert found == [f"find {agent}" for agent in agents[: len(found)]]
        assert len(found) == len(noted.split(","))
        again.lines.clear()
        again.offered(10, agents[9]).then(f"find {agents[9]}")
        again.offered(11, agents[8]).then(f"ring {agents[8]} 15s")


class TestGivingUp:
    def test_a_caller_who_leaves_is_nobodys(self) -> None:
        book = ringing().hangs_up(20).then("cancel 302", "leave")
        assert [fact.type for fact in book.facts][-2:] == ["queue.abandoned", "call.ended"]
        assert book.told("queue.abandoned") == [{"queue": "sales", "waited": 20}]
        assert len(book.told("call.ended")) == 1

    def test_also_before_the_queue_has_said_a_word(self) -> None:
        company().then("enter sales").hangs_up().then("leave")

    def test_or_as_somebody_has_answered(self) -> None:
        book = ringing().answers("302").hangs_up(0.01).then("take 302", "cancel 302", "miss 302 lost", "leave")
        assert len(book.told("queue.abandoned")) == 1
        assert not book.told("queue.missed")
        book = ringing().answers("302").granted(1).hangs_up(0.01)
        book.then("take 302", "join 302", "cancel 302", "miss 302 lost", "leave")
        assert (len(book.told("queue.answered")), book.told("queue.abandoned")) == (1, [])

    def test_max_wait_is_the_longest(self) -> None:
        book = waiting("agents: [302], max_wait: 60s")
        book.passes(59).then().passes(1.1).then("leave", "stop", "play No.")
        assert book.told("queue.timeout") == [{"queue": "sales", "waited": 60}]
        assert book.told("step.left")[0]["why"].endswith("nobody answered for 1m")
        assert book.told("step.left")[0] | {"why": ""} == {
            "flow": "main",
            "step": "it",
            "outcome": "timeout",
            "why": "",
        }

    def test_also_while_the_queue_says_nothing(self) -> None:
        book = company("agents: [302], max_wait: 60s").then("enter sales").waits().then(*MUSIC)
        book.passes(61).then("leave", "stop", "play No.")

    def test_what_rings_then_rings_no_longer(self) -> None:
        book = waiting("agents: [302], max_wait: 60s, ring: 15s").offered(1, "302", 50)
        book.then("ring 302 15s").passes(11).then("leave", "cancel 302", "stop", "play No.")
        assert not book.told("queue.missed")

    def test_but_who_has_answered_gets_the_time_to_press_1(self) -> None:
        book = waiting("agents: [302], max_wait: 60s, ring: 15s").offered(1, "302", 50)
        book.then("ring 302 15s").happens(m.LegAnswered(book.legs["302"]), 5).passes(20).then()
        book.answers("302").then("take 302")

    def test_and_no_more(self) -> None:
        book = waiting("agents: [302], max_wait: 60s, ring: 15s").offered(1, "302", 50)
        book.then("ring 302 15s").happens(m.LegAnswered(book.legs["302"]), 9).passes(31)
        book.then("cancel 302", "miss 302 no_answer 5s", "leave", "stop", "play No.")

    def test_nor_do_others_who_answer_after_that_make_the_wait_endless(self) -> None:
        book = waiting("agents: [302, 303], max_wait: 60s, ring: 15s, strategy: ring-all").offered(1, "302", 50)
        book.happens(m.LegAnswered(book.legs["302"]), 9).passes(20).offered(2, "303")
        book.then("ring 302 15s", "ring 303 15s").happens(m.LegAnswered(book.legs["303"]), 5)
        book.passes(30).then("cancel 302", "miss 302 no_answer 5s", "leave", "cancel 303", "stop", "play No.")
        assert book.told("queue.timeout") == [{"queue": "sales", "waited": 90}]

    def test_when_nobody_can_serve_any_more_the_caller_goes(self) -> None:
        for outcome in ("no_agents", "paused"):
            book = waiting().happens(m.Staffed(outcome), 30).then("leave", "stop", "play No.")
            assert book.told("queue.unstaffed") == [{"queue": "sales", "waited": 30, "outcome": outcome}]
            assert book.told("step.left")[0]["outcome"] == outcome

    def test_or_waits_as_long_as_the_queue_says(self) -> None:
        book = waiting("agents: [302], unstaffed: 60s").happens(m.Staffed("paused"), 30)
        book.passes(30).happens(m.Staffed("no_agents")).passes(28).then()
        book.passes(3).then("leave", "stop", "play No.")
        assert book.told("step.left")[0]["outcome"] == "no_agents"

    def test_and_stays_if_somebody_comes_back(self) -> None:
        book = waiting("agents: [302], unstaffed: 60s").happens(m.Staffed("paused")).happens(m.Staffed(""), 50)
        book.passes(100).then()

    def test_nobody_goes_while_somebody_is_about_to_press_1(self) -> None:
        book = ringing()
        book.happens(m.LegAnswered(book.legs["302"])).happens(m.Staffed("no_agents")).then()
        book.fails("302", "declined").then("miss 302 declined 15s", "leave", "stop", "play No.")

    def test_a_queue_that_came_back_and_has_nobody_lets_the_caller_go(self) -> None:
        book = waiting().happens(m.NotEntered("no_agents"), 30).then("leave", "stop", "play No.")
        assert not book.told("queue.refused")
        assert len(book.told("queue.unstaffed")) == 1


class TestTakeover:
    def test_the_caller_keeps_their_place_and_nothing_is_told_twice(self) -> None:
        book = waiting("agents: [302], max_wait: 60s").passes(20)
        again = book.taken_over(after=1).then("enter sales again", "play moh (loop) from 21s")
        assert again.entered_with is not None
        assert (again.entered_with.joined, again.entered_with.waited) == (JOINED, 21)
        again.happens(m.Entered(JOINED)).then()
        assert not again.told("queue.joined")
        again.passes(40).then("leave", "stop", "play No.")
        assert again.told("queue.timeout") == [{"queue": "sales", "waited": 60}]

    def test_who_was_killed_before_the_answer_came_enters_as_a_newcomer(self) -> None:
        again = company().then("enter sales").taken_over().then("enter sales")
        assert again.entered_with is not None
        assert (again.entered_with.joined, again.entered_with.first) == (0, 1)
        again.happens(m.Entered(JOINED)).then(*MUSIC)
        assert len(again.told("queue.joined")) == 1

    def test_announcements_go_by_when_the_caller_came(self) -> None:
        book = waiting("agents: [302], announce: {every: 45s, say: Wait.}").passes(30)
        again = book.taken_over(after=20).then("enter sales again", "play moh (loop) from 50s")
        again.waits().then("stop")
        assert again.now - again.states[-1].progress["t"] == 90

    def test_a_ringing_telephone_is_not_interrupted(self) -> None:
        book = ringing()
        again = book.taken_over(after=3).then("find 302", "play moh (loop) from 3s")
        again.happens(m.LegRinging(book.legs["302"])).then("enter sales again").offered(1, "302").then()
        again.answers("302").then("take 302").happens(m.Taken(1, True)).then("join 302")
        assert not again.told("queue.offered")

    def test_but_it_is_if_the_offer_has_ended_meanwhile(self) -> None:
        book = ringing()
        again = book.taken_over(after=3).happens(m.LegRinging(book.legs["302"]))
        assert again.entered_with is not None
        assert again.entered_with.rings == ((1, "302"),)
        again.lines.clear()
        again.happens(m.Entered(JOINED)).happens(m.Withdrawn(1)).then("cancel 302")

    def test_nor_rings_it_longer_than_it_would_have(self) -> None:
        book = ringing()
        again = book.taken_over(after=3).happens(m.LegRinging(book.legs["302"]))
        again.then("find 302", "play moh (loop) from 3s", "enter sales again").waits()
        again.then("cancel 302", "miss 302 no_answer 5s")
        assert again.now == pytest.approx(again.states[-1].progress["t"] + 15, abs=1)

    def test_who_answered_meanwhile_is_joined_before_anything_else(self) -> None:
        book = ringing()
        again = book.taken_over(after=3).then("find 302", "play moh (loop) from 3s")
        again.happens(m.LegReady(book.legs["302"])).then("take 302").happens(m.Taken(1, True)).then("join 302")

    def test_and_the_queue_is_entered_if_they_may_not_be_had(self) -> None:
        book = ringing()
        again = book.taken_over().happens(m.LegReady(book.legs["302"])).happens(m.Taken(1, False))
        assert again.lines[-3:] == ["take 302", "cancel 302", "enter sales again"]

    def test_who_is_about_to_press_1_is_let(self) -> None:
        book = ringing("agents: [302], ring: 15s, max_wait: 20s")
        again = book.taken_over(after=14).happens(m.LegAnswered(book.legs["302"])).passes(10)
        again.then("find 302", "play moh (loop) from 14s", "enter sales again").answers("302").then("take 302")

    def test_nobody_is_cut_off_for_having_answered_while_nobody_was_there(self) -> None:
        again = ringing().taken_over(after=20).then("find 302", "play moh (loop) from 20s")
        again.answers("302", 0.1).then("take 302")

    def test_a_telephone_rings_no_longer_than_a_whole_ring_whatever_the_checkpoint_says(self) -> None:
        book = ringing()
        book.states[-1].progress["o"] = "302.1.999999"
        again = book.taken_over().happens(m.LegRinging(book.legs["302"]))
        again.then("find 302", "play moh (loop)", "enter sales again")
        again.passes(16).then("cancel 302", "miss 302 no_answer 5s")

    def test_a_telephone_that_is_gone_is_no_miss_of_the_agents(self) -> None:
        book = ringing()
        again = book.taken_over(after=3).then("find 302", "play moh (loop) from 3s")
        again.happens(m.LegFailed(book.legs["302"], "unreachable", "GONE"))
        again.then("miss 302 lost", "enter sales again")
        assert not again.told("queue.missed")
        assert not again.told("leg.result")
        again.offered(2, "302").then("ring 302 15s")

    def test_what_a_telephone_says_after_it_was_found_counts(self) -> None:
        book = ringing()
        again = book.taken_over().happens(m.LegRinging(book.legs["302"])).fails("302", "declined")
        assert again.lines[-1] == "miss 302 declined 15s"

    def test_one_of_two_telephones_that_is_gone_leaves_the_other(self) -> None:
        head = HEAD + "outbound: {trunk: one}\n"
        book = waiting("agents: [301], ring: 15s", head=head).offered(1, "301")
        again = book.taken_over()
        again.happens(m.LegFailed(book.legs["301"], "unreachable", "GONE")).happens(m.LegRinging(book.legs[MOBILE]))
        again.lines.clear()
        again.fails(MOBILE, "busy").then("miss 301 busy 15s")

    def test_a_switch_that_says_nothing_of_a_telephone_keeps_nobody_out_of_the_queue(self) -> None:
        again = ringing().taken_over().then("find 302", "play moh (loop)").waits().then("enter sales again")
        again.answers("302").then("take 302")

    def test_who_dropped_as_they_were_joined_has_missed_the_call(self) -> None:
        book = ringing().answers("302").granted(1)
        again = book.taken_over()
        again.then("find 302", "play moh (loop) from 1s")
        again.happens(m.LegFailed(book.legs["302"], "unreachable", "GONE"))
        again.then("miss 302 no_answer 5s", "enter sales again")
        assert not again.told("talk.ended")
        assert [fact["result"] for fact in again.told("queue.missed")] == ["no_answer"]

    def test_and_is_joined_again_if_they_have_not(self) -> None:
        book = ringing().answers("302").granted(1)
        again = book.taken_over().happens(m.LegReady(book.legs["302"]))
        assert again.lines[-1] == "take 302"

    def test_a_caller_who_leaves_after_a_takeover_stops_the_ringing(self) -> None:
        ringing().taken_over().then("find 302", "play moh (loop)").hangs_up().then("cancel 302", "leave")

    def test_five_takeovers_in_a_row_ring_one_telephone_once(self) -> None:
        book = ringing()
        for _ in range(5):
            book = book.taken_over(after=0.5)
            assert [line for line in book.lines if line.startswith(("ring", "find"))] == ["find 302"]
            book.happens(m.LegRinging(ringing().legs["302"]))
        book.lines.clear()
        book.answers("302").then("take 302")

    def test_a_clock_that_was_set_back_makes_nobody_wait_for_ever(self) -> None:
        book = waiting("agents: [302], max_wait: 60s")
        again = book.taken_over(after=-3600).then("enter sales again", "play moh (loop)")
        again.passes(61).then("leave", "stop", "play No.")

    @pytest.mark.parametrize("noted", ["", "x", "302.1", "302.1.99999999", "302.1.5.6,,", "'; DROP", "999.1.5"])
    def test_a_checkpoint_that_somebody_has_written_on_crashes_nothing(self, noted: str) -> None:
        book = ringing()
        book.states[-1].progress.update({"o": noted, "j": "x", "t": "soon"})
        again = book.taken_over()
        assert not again.told("step.failed")
        assert not again.taken_over().told("step.failed")


class TestTheEndOfACallThatNobodyOwned:
    def ended(self, book: Caller) -> list[str]:
        told = epilogue(book.routing, book.states[-1], CALL, cause="X", answered=True, now=book.now + 30)
        return [f"{fact.type} {fact.data.get('waited', '')}".strip() for fact in told]

    def test_who_waited_has_left(self) -> None:
        assert self.ended(waiting()) == ["queue.abandoned 30", "call.ended"]

    def test_who_talked_has_not(self) -> None:
        book = ringing().answers("302").granted(1)
        assert self.ended(book) == ["talk.ended", "call.ended"]

    def test_nor_has_who_was_being_hung_up(self) -> None:
        book = waiting("agents: [302], keys: {1: hangup}").presses("1")
        book.then("leave", "stop", "hangup normal")
        assert self.ended(book) == ["call.ended"]


class TestNobodyIsLeftInAQueue:
    """The driver says that the caller is gone wherever no step does."""

    def test_when_the_step_crashes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        book = ringing()
        monkeypatch.setattr("callcontrol.steps.queue.ring_leg", lambda *_: 1 / 0)
        book.offered(2, "303").then("cancel 302", "leave", "play apology")

    def test_when_the_step_is_gone_from_the_routing(self) -> None:
        book = ringing()
        other = routing("main:\n  new: {play: New.}")
        again = Caller(other, now=book.now, answered=True, taken=book.states[-1])
        again.then("leave", "cancel all", "play New.")

    def test_when_it_is_another_step_now(self) -> None:
        book = ringing()
        other = routing("main:\n  it: {dial: 303, otherwise: bye}\n  bye: {hangup: normal}")
        again = Caller(other, now=book.now, answered=True, taken=book.states[-1])
        again.then("leave", "cancel all", "play ringback (loop)", "ring 303 30s")

    def test_when_it_was_another_step_before(self) -> None:
        before = Caller(routing("main:\n  it: {dial: 303, otherwise: bye}\n  bye: {hangup: normal}"))
        taken = before.states[-1]
        text = HEAD + "queues:\n  sales: {agents: [302]}\n"
        again = Caller(routing(f"main:\n  it: {STEP}" + ENDS, text), now=before.now, answered=True, taken=taken)
        again.then("cancel all", "enter sales", "play moh (loop)")

    def test_when_the_call_was_being_hung_up(self) -> None:
        book = waiting("agents: [302], keys: {1: hangup}").presses("1")
        book.taken_over().then("leave", "hangup normal")

    def test_but_who_never_stood_in_one_says_nothing(self) -> None:
        book = Caller(routing("main:\n  it: {dial: 303, otherwise: bye}\n  bye: {hangup: normal}"))
        book.then("ringback", "ring 303 30s").hangs_up().then("cancel 303")


def test_every_checkpoint_of_a_waiting_caller_fits_if_check_lets_the_routing_pass() -> None:
    people = "".join(f"  99{number:04}: {{name: A}}\n" for number in range(8))
    text = HEAD.replace("groups:", people + "groups:")
    agents = [f"99{number:04}" for number in range(8)]
    text += f"queues:\n  sales: {{agents: [{', '.join(agents)}], ring: 120s, strategy: ring-all}}\n"
    rooms = []
    for size in range(1, 30):  # until one letter more is too much
        sets = ", ".join(f"{'v' * size}{letter}: {'x' * 20}" for letter in "abcde")
        flow = f"main:\n  a: {{set: {{{sets}}}, then: it}}\n  it: {STEP}" + ENDS
        lines = "\n".join("  " + line for line in flow.splitlines())
        loaded = load_text(f"{text}flows:\n{lines}\n", path="t.yaml", company="test")
        if "E413" in {problem.code for problem in loaded.problems}:
            break
        rooms.append(flow)
    assert 0 < len(rooms) < 29
    book = Caller(routing(rooms[-1], text)).entered()
    for number, agent in enumerate(agents, 1):
        book.offered(number, agent, 100)
    assert not [log for log in book.logs if "cannot be taken over" in log.text]
