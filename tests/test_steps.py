"""Each step's dialogue, as a playbook."""

from __future__ import annotations

import pytest

from callcontrol import messages as m
from callcontrol.call import Life
from tests.playbook import CALL, MONDAY_NOON, Playbook

BYE = "bye: {hangup: normal}"


def one(step: str, *more: str) -> str:
    """A flow whose first step is ``it``; every edge ends at ``bye``, ``no`` or ``good``."""
    return "\n".join(
        ["main:", f"  it: {step}", *(f"  {line}" for line in more), "  good: {play: Good., then: bye}",
         "  no: {play: No., then: bye}", f"  {BYE}"]
    )  # fmt: skip


class TestHangup:
    @pytest.mark.parametrize("reason", m.HANGUP_REASONS)
    def test_it_ends_an_unanswered_call_for_the_reason_given(self, reason: str) -> None:
        Playbook(f"main:\n  it: {{hangup: {reason}}}").then(f"hangup {reason}")

    def test_the_end_is_told_once_with_who_ended_it(self) -> None:
        book = Playbook("main:\n  it: {hangup: busy}")
        book.happens(m.HungUp("USER_BUSY", "cordboard"), 0.1).happens(m.HungUp("USER_BUSY", "cordboard"))
        assert [fact["by"] for fact in book.told("call.ended")] == ["cordboard"]

    def test_it_asks_again_when_the_switch_does_not_agree(self) -> None:
        Playbook("main:\n  it: {hangup: normal}").then("hangup normal").waits().then("hangup normal")


class TestPlay:
    def test_the_first_sound_answers_and_the_end_of_the_sound_goes_on(self) -> None:
        book = Playbook(one("{play: Hello., then: good}")).then("answer", "play Hello.")
        book.happens(m.Answered(), 0.1).then()
        book.hears_all().then("play Good.").hears_all().then("hangup normal")

    def test_an_answered_call_is_not_answered_again(self) -> None:
        Playbook(one("{play: Hello., then: good}"), answered=True).then("play Hello.")

    def test_without_then_the_call_ends(self) -> None:
        Playbook("main:\n  it: {play: Hello.}").then("answer", "play Hello.").hears_all().then("hangup normal")

    def test_keys_do_nothing(self) -> None:
        Playbook(one("{play: Hello., then: good}")).then("answer", "play Hello.").presses("123").then()

    def test_variables_are_filled_in_once(self) -> None:
        book = Playbook(one('{play: "{brand} for {caller}", then: good}'))
        book.then("answer", "play Test for +79031234567")

    def test_a_value_that_looks_like_a_hole_is_not_filled_again(self) -> None:
        view = Playbook(one("{play: Hello., then: good}")).call.view
        view.variables["brand"] = "{caller}"
        assert view.fill("Hi {brand} {other}", ["brand"]) == "Hi {caller} {other}"

    def test_a_missing_sound_is_a_tone_and_an_alarm_never_silence(self) -> None:
        book = Playbook(one("{play: gone.wav, then: good}")).then("answer", "play gone.wav")
        book.happens(m.PlayEnded(book.played, missing=True)).then("play missing")
        assert book.told("sound.missing") == [{"sound": "gone.wav", "language": "en"}]
        assert [log.level for log in book.logs] == ["error"]
        book.hears_all().then("play Good.")

    def test_the_end_of_another_sound_means_nothing(self) -> None:
        book = Playbook(one("{play: Hello., then: good}")).then("answer", "play Hello.")
        book.happens(m.PlayEnded(99)).then()

    def test_the_callers_language_is_played(self) -> None:
        step = "{play: {en: Hello., ru: Привет.}, then: good}"
        Playbook(one(step)).then("answer", "play Hello.")
        book = Playbook(one("{set: {language: ru}, then: say}", f"say: {step}"))
        book.then("answer", "play Привет.")

    def test_a_playback_whose_end_never_comes_ends_by_its_deadline(self) -> None:
        Playbook(one("{play: Hello., then: good}")).then("answer", "play Hello.").waits().then("play Good.")


class TestCaller:
    FLOW = one("{caller: {blocked: no, vip: good}, otherwise: bye}")

    @pytest.mark.parametrize(
        ("caller", "first"),
        [
            ("+79160000001", "play Good."),
            ("+78121234567", "play Good."),
            ("+88212345678", "play No."),
            (None, "play No."),
            ("+79031234567", "hangup normal"),
            ("301", "hangup normal"),
            ("+7916000000", "hangup normal"),
            ("+791600000011", "hangup normal"),
        ],
    )
    def test_the_first_list_that_has_the_caller_decides(self, caller: str | None, first: str) -> None:
        assert Playbook(self.FLOW, caller=caller).lines[-1] == first


class TestHours:
    FLOW = one("{hours: {office: good}, otherwise: no}")

    @pytest.mark.parametrize(
        ("at", "first"),
        [
            (MONDAY_NOON, "play Good."),
            ("2026-11-23 08:59:59", "play No."),
            ("2026-11-23 09:00", "play Good."),
            ("2026-11-23 17:59:59", "play Good."),
            ("2026-11-23 18:00", "play No."),
            ("2026-11-22 12:00", "play No."),
            ("2026-11-04 12:00", "play No."),  # Unity Day, a Wednesday
        ],
    )
    def test_the_first_hours_that_are_on_decide(self, at: str, first: str) -> None:
        assert Playbook(self.FLOW, at=at).lines[-1] == first


class TestSetAndFlow:
    def test_a_flow_comes_back_to_then(self) -> None:
        book = Playbook(
            one("{flow: survey, then: good}")
            + "\nsurvey:\n  ask: {play: How was it?, then: thanks}\n  thanks: {play: Thanks., then: return}"
        )
        book.then("answer", "play How was it?").hears_all().then("play Thanks.").hears_all().then("play Good.")
        assert book.path == ["it", "survey/ask", "survey/thanks", "good"]

    def test_a_step_without_then_ends_the_call_inside_a_flow_too(self) -> None:
        book = Playbook(one("{flow: survey, then: good}") + "\nsurvey:\n  ask: {play: How was it?}")
        book.then("answer", "play How was it?").hears_all().then("hangup normal")

    def test_return_with_nobody_to_return_to_ends_the_call(self) -> None:
        Playbook("main:\n  it: {play: Hello., then: return}").then("answer", "play Hello.").hears_all().then(
            "hangup normal"
        )

    def test_leaving_for_another_flow_forgets_the_way_back(self) -> None:
        book = Playbook(
            one("{flow: survey, then: good}")
            + "\nsurvey:\n  ask: {play: How?, then: other/say}\nother:\n  say: {play: Other., then: return}"
        )
        book.then("answer", "play How?").hears_all().then("play Other.").hears_all().then("hangup normal")

    def test_a_flow_is_come_back_from_after_a_takeover(self) -> None:
        book = Playbook(one("{flow: survey, then: good}") + "\nsurvey:\n  ask: {play: How?, then: return}")
        again = book.taken_over().then("play How?")
        again.hears_all().then("play Good.")


class TestMenu:
    FLOW = one("{menu: Press., keys: {1: good, 3: no, star: it}, extensions: [301, team], wait: 5s, otherwise: bye}")

    def started(self) -> Playbook:
        return Playbook(self.FLOW).then("answer", "play Press. (keys)")

    def test_a_key_during_the_prompt_is_followed_at_once(self) -> None:
        self.started().presses("1").then("play Good.")

    def test_a_key_after_the_prompt_is_followed_at_once(self) -> None:
        self.started().hears_all().then().presses("1").then("play Good.")

    def test_a_key_that_begins_an_extension_waits_for_the_rest(self) -> None:
        book = self.started().presses("3").then()
        assert book.wakes_at == book.now + 2.0
        book.waits().then("play No.")

    def test_an_extension_is_rung(self) -> None:
        self.started().presses("302").then("play ringback (loop)", "ring 302 30s")

    def test_hash_ends_an_ambiguous_entry(self) -> None:
        self.started().presses("3#").then("play No.")

    def test_silence_is_asked_again_and_is_a_timeout_at_last(self) -> None:
        book = self.started()
        for _ in range(2):
            book.hears_all().then().waits().then("play Press. (keys)")
        book.hears_all().waits().then("hangup normal")
        assert book.told("step.left")[0]["outcome"] == "timeout"

    def test_wrong_keys_are_asked_again_and_are_invalid_at_last(self) -> None:
        book = self.started()
        for _ in range(2):
            book.presses("8").then().waits().then("play Press. (keys)")
        book.presses("8").waits().then("hangup normal")
        assert book.told("step.left")[0]["outcome"] == "invalid"

    def test_the_rest_of_a_wrong_entry_does_not_answer_the_next_prompt(self) -> None:
        book = self.started().presses("391").then("play Press. (keys)")  # three keys: no extension is longer
        book.presses("91").then().waits().then("play Press. (keys)")

    def test_a_menu_of_keys_only_asks_again_at_once(self) -> None:
        book = Playbook(one("{menu: Press., keys: {1: good}, otherwise: bye}")).then("answer", "play Press. (keys)")
        book.presses("8").then("play Press. (keys)")

    def test_each_outcome_can_have_an_edge_of_its_own(self) -> None:
        flow = one("{menu: Press., keys: {1: good}, tries: 1, timeout: no, invalid: good}")
        Playbook(flow).then("answer", "play Press. (keys)").presses("8").then("play Good.")
        Playbook(flow).then("answer", "play Press. (keys)").hears_all().waits().then("play No.")

    def test_a_takeover_asks_again_with_the_tries_that_are_left(self) -> None:
        book = self.started().presses("8").waits().then("play Press. (keys)")
        again = book.taken_over().then("play Press. (keys)")
        again.presses("8").waits().then("play Press. (keys)").presses("8").waits().then("hangup normal")

    def test_a_talk_with_a_dialled_extension_is_the_menus_then(self) -> None:
        flow = one("{menu: Press., keys: {1: no}, extensions: [302], then: good, otherwise: bye}")
        book = Playbook(flow).then("answer", "play Press. (keys)").presses("302")
        book.then("play ringback (loop)", "ring 302 30s").answers("302").then("join 302").joined("302").then("let go")
        book.taken_over(after=60, returned=True).then("play Good.")

    def test_any_other_result_of_a_dialled_extension_is_its_otherwise(self) -> None:
        book = self.started().presses("302").then("play ringback (loop)", "ring 302 30s")
        book.fails("302", "busy").then("stop", "hangup normal")

    def test_a_dialled_extension_is_adopted_by_a_takeover(self) -> None:
        book = self.started().presses("302").then("play ringback (loop)", "ring 302 30s")
        again = book.taken_over().then("play ringback (loop)", "find 302")
        again.happens(m.LegRinging(book.legs["302"])).then().answers("302").then("join 302")

    def test_somebody_outside_the_menus_extensions_cannot_be_dialled(self) -> None:
        flow = one("{menu: Press., extensions: [302], tries: 1, otherwise: no}")
        Playbook(flow).then("answer", "play Press. (keys)").presses("301").then("play No.")


class TestCollect:
    FLOW = one(
        "{collect: Number?, digits: 4-6, into: order, tries: 2, then: say, otherwise: no}",
        'say: {play: "Got {order}", then: bye}',
    )

    def started(self) -> Playbook:
        return Playbook(self.FLOW).then("answer", "play Number? (keys)")

    def test_the_longest_entry_is_complete_at_once(self) -> None:
        self.started().presses("123456").then("play Got 123456")

    def test_a_shorter_one_ends_with_hash(self) -> None:
        self.started().presses("1234#").then("play Got 1234")

    def test_or_with_silence(self) -> None:
        self.started().presses("12345").then().waits().then("play Got 12345")

    def test_too_few_digits_are_invalid(self) -> None:
        book = self.started().presses("12").waits().then("play Number? (keys)").presses("12#").waits()
        book.then("play No.")
        assert book.told("step.left")[0]["outcome"] == "invalid"

    def test_silence_is_a_timeout(self) -> None:
        book = self.started().hears_all().waits().then("play Number? (keys)").hears_all().waits().then("play No.")
        assert book.told("step.left")[0]["outcome"] == "timeout"

    def test_what_was_collected_survives_a_takeover(self) -> None:
        book = self.started().presses("1234#").then("play Got 1234")
        book.taken_over().then("play Got 1234")


class TestVoicemail:
    FLOW = one("{voicemail: [302], greeting: Speak., max_length: 1m, then: good}")

    def recording(self) -> Playbook:
        book = Playbook(self.FLOW).then("answer", "play Speak.").hears_all().then("play record_beep")
        return book.hears_all(0.6).then("record m1 60s")

    def done(self, book: Playbook, seconds: float) -> Playbook:
        return book.happens(m.RecordEnded(book.recorded, "x", seconds), 0.1)

    def test_a_key_ends_the_message_and_it_is_told(self) -> None:
        book = self.recording().presses("#").then("stop recording").presses("1").then()
        self.done(book, 7.5).then("play Good.")
        (fact,) = book.told("message.recorded")
        assert fact == {"for": ["302"], "seconds": 7.5, "files": [f"test_{CALL}_m1.wav"]}

    def test_silence_ends_it(self) -> None:
        self.done(self.recording(), 12.0).then("play Good.")

    def test_its_longest_time_ends_it(self) -> None:
        book = self.recording().waits().then("stop recording")
        self.done(book, 60.0).then("play Good.")

    def test_a_caller_who_hangs_up_leaves_the_message_too(self) -> None:
        book = self.recording().hangs_up(5)
        assert not book.told("message.recorded")
        assert not book.call.over
        self.done(book, 4.9)
        assert book.call.over
        ends = [fact.type for fact in book.facts if fact.type in ("message.recorded", "call.ended")]
        assert ends == ["message.recorded", "call.ended"]

    def test_an_end_of_the_recording_that_never_comes_is_given_up_by_the_shell(self) -> None:
        book = self.recording().hangs_up(5)
        book.takes(book.call.close(book.now + 6))
        assert book.call.over
        assert len(book.told("call.ended")) == 1

    def test_or_by_the_step_itself(self) -> None:
        book = self.recording().presses("#").then("stop recording").waits().then("play apology")
        assert len(book.told("message.failed")) == 1
        book.hears_all().then("play Good.")

    def test_hanging_up_at_the_tone_leaves_no_message(self) -> None:
        book = self.done(self.recording(), 0.3)
        assert book.told("message.recorded") == []
        assert len(book.told("message.empty")) == 1

    def test_a_takeover_lets_the_recording_go_on_for_the_time_that_is_left(self) -> None:
        book = self.recording()
        for _ in range(5):
            book = book.taken_over(after=4)
        book.then("record m1 39s again")
        (fact,) = self.done(book, 25).told("message.recorded")
        assert fact["files"] == [f"test_{CALL}_m1.wav"]

    def test_a_takeover_in_the_greeting_plays_the_greeting(self) -> None:
        book = Playbook(self.FLOW).then("answer", "play Speak.")
        book.taken_over().then("play Speak.")

    def test_a_takeover_when_the_time_is_used_up_ends_the_message_soon(self) -> None:
        again = self.recording().taken_over(after=90).then("record m1 1s again")
        again.waits().then("stop recording")

    def test_a_disk_that_takes_nothing_is_an_apology_and_the_call_goes_on(self) -> None:
        book = self.recording()
        book.happens(m.RecordEnded(book.recorded, "x", 0.0, failed=True)).then("play apology")
        assert len(book.told("message.failed")) == 1
        book.hears_all().then("play Good.")

    def test_two_messages_of_one_call_have_two_names(self) -> None:
        book = Playbook(one("{voicemail: [302], then: it}")).then("answer", "play record_beep")
        book.hears_all().then("record m1 120s")
        self.done(book, 4).then("play record_beep").hears_all().then("record m2 120s")


def test_every_life_ends_exactly_once_whatever_comes_after() -> None:
    book = Playbook(one("{play: Hello., then: good}")).hangs_up()
    assert book.call.life is Life.ENDED
    for event in (m.Digit("1"), m.PlayEnded(1), m.HungUp("X"), m.Answered(), m.Joined("x" * 8), m.TimeCame()):
        book.happens(event)
    assert len(book.told("call.ended")) == 1
