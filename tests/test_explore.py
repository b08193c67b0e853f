"""Every walk there is: what is asked, what is shared, what is left out and said."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from callcontrol.routing.model import Routing
from callcontrol.workbench.explore import Explored, Explorer, Ground, Walked
from tests.playbook import CALLED, HEAD, epoch, routing

NOW = epoch("2026-11-23 12:00")


def every(*versions: Routing, most: int = 2000) -> Explored:
    return Explorer(Ground(versions, NOW), versions, most).walks(*[CALLED] * len(versions))


def ends(found: Explored) -> set[tuple[object, ...]]:
    return {walk.told[0].end for walk in found.walks}


def answers(walk: Walked) -> list[object]:
    return [one.answer for one in walk.asked]


class TestAnswers:
    def test_a_menu_is_walked_by_each_key_none_and_one_that_means_nothing(self) -> None:
        found = every(
            routing("""
main:
  ask: {menu: Press., keys: {1: yes, 2: no}, tries: 2, timeout: late, invalid: wrong}
  yes: {hangup: busy}
  no: {hangup: declined}
  late: {voicemail: [301], then: hangup}
  wrong: {voicemail: [302], then: hangup}
""")
        )
        assert {(tuple(answers(walk)), walk.told[0].end) for walk in found.walks} == {
            (("1",), ("hangup", "busy")),
            (("2",), ("hangup", "declined")),
            (("", ""), ("voicemail", ("301",))),
            (("9", "9"), ("voicemail", ("302",))),
        }
        assert not found.cut

    def test_of_telephones_that_ring_together_each_answers_once_and_all_fail_alike(self) -> None:
        found = every(routing("main:\n  team: {dial: team, then: hangup, otherwise: no}\n  no: {hangup: busy}"))
        assert sorted(map(answers, found.walks)) == sorted(
            [["answers", "no_answer"], ["no_answer", "answers"]]
            + [[word, word] for word in ("no_answer", "busy", "unreachable", "declined")]
        )

    def test_ten_people_in_stages_are_no_product_of_all_that_they_may_do(self) -> None:
        head = HEAD.replace(
            "groups:", "  401: {name: D}\n  402: {name: E}\n  403: {name: F}\n  404: {name: G}\ngroups:"
        )
        found = every(
            routing(
                """
main:
  all:
    dial:
      - {to: [302, 303, 401], ring: 10s}
      - {to: [402, 403, 404], ring: 10s}
    otherwise: no
  no: {hangup: busy}
""",
                head,
            )
        )
        # Three answer in the first stage; four ways to fail, and after each of them three answer or four fail.
        assert len(found.walks) == 3 + 4 * (3 + 4)
        assert ends(found) == {("talk", one) for one in ("302", "303", "401", "402", "403", "404")} | {
            ("hangup", "busy")
        }

    def test_a_lookup_brings_somebody_nobody_and_both_ways_to_fail(self) -> None:
        found = every(
            routing("""
main:
  who: {lookup: "https://crm.test/{caller}", into: [manager], then: him, otherwise: no}
  him: {dial: "{manager}", ring: 20s, otherwise: no}
  no: {hangup: busy}
""")
        )
        assert ("talk", "301") in ends(found)
        assert {"failed", "not_found"} <= {one for walk in found.walks for one in answers(walk) if isinstance(one, str)}

    def test_a_menu_that_is_come_back_to_is_asked_again_only_if_something_was_set(self) -> None:
        flows = """
main:
  ask: {menu: {en: Press., ru: Press.}, keys: {1: sales, 9: russian, star: ask}, otherwise: no}
  russian: {set: {language: ru}, then: ask}
  sales: {hangup: declined}
  no: {hangup: busy}
"""
        pressed = {tuple(answers(walk)) for walk in every(routing(flows)).walks}
        assert ("9", "1") in pressed
        assert ("*", "1") not in pressed
        assert ("*", "", "", "") in pressed

    def test_a_call_that_goes_round_for_ever_is_an_end(self) -> None:
        found = every(routing("main:\n  ask: {menu: Press., keys: {1: stop}, otherwise: ask}\n  stop: {hangup: busy}"))
        assert ends(found) == {("hangup", "busy"), ("round",)}

    def test_a_queue_without_a_longest_wait_is_an_end(self) -> None:
        head = HEAD + "queues:\n  sales: {agents: [301, 302], strategy: ring-all, ring: 15s}\n"
        found = every(routing("main:\n  wait: {queue: sales, otherwise: no}\n  no: {hangup: busy}", head))
        assert {("waits", "sales"), ("talk", "301"), ("talk", "302"), ("hangup", "busy")} <= ends(found)

    def test_what_is_left_out_is_said(self) -> None:
        flows = "main:\n  ask: {menu: Press., keys: {1: a, 2: a, 3: a}, otherwise: a}\n  a: {hangup: busy}"
        found = every(routing(flows), most=2)
        assert len(found.walks) == 2
        assert "only the 2 likeliest ways were walked" in found.cut


class TestGround:
    def test_times_and_callers_are_split_only_where_they_matter(self) -> None:
        found = every(
            routing("""
main:
  gate: {caller: {blocked: no}, otherwise: clock}
  clock: {hours: {office: yes}, otherwise: no}
  yes: {voicemail: [301], then: hangup}
  no: {hangup: busy}
""")
        )
        ground = Ground([routing("main:\n  a: {hangup: busy}")], NOW)
        assert len(found.walks) == 3
        blocked = next(walk for walk in found.walks if len(walk.told[0].steps) == 2)
        assert blocked.times == ground.everything["times"]  # whoever is blocked, the hours do not matter

    def test_all_walks_together_are_all_times_and_callers_once(self) -> None:
        versions = [routing("main:\n  clock: {hours: {office: a}, otherwise: a}\n  a: {hangup: busy}")]
        found = every(*versions)
        whole = Ground(versions, NOW).everything["times"]
        assert sum(walk.times for walk in found.walks) == whole
        assert not found.walks[0].times & found.walks[1].times

    @pytest.mark.parametrize("at", ["2026-11-23 08:59", "2026-11-23 09:00", "2026-11-23 18:00", "2026-11-28 12:00"])
    def test_a_time_is_on_when_its_hours_are(self, at: str) -> None:
        one = routing("main:\n  a: {hangup: busy}")
        ground = Ground([one], epoch("2026-11-23 00:00"))
        time, until = ground.time_at(epoch(at))
        assert (ground.on[one.hours["office"]] >> time & 1 == 1) == one.hours["office"].is_on(epoch(at))
        assert until == one.hours["office"].next_change(epoch(at))

    def test_callers_are_told_apart_by_the_lists_of_every_version(self) -> None:
        old = routing("main:\n  a: {hangup: busy}")
        new = routing("main:\n  a: {hangup: busy}", HEAD.replace('"+7812*"', '"+7812*", "+79031112233"'))
        ground = Ground([new, old], NOW)
        moved = [one for one in ground.callers if one.examples == ["+79031112233"]]
        assert len(moved) == 1
        assert moved[0].lists == {new.lists["vip"]}
        assert any(one.open and not one.lists for one in ground.callers)  # everybody else

    def test_whose_turn_it_is_is_a_question_that_has_each_member_for_an_answer(self) -> None:
        head = HEAD.replace(
            "lists:", "  oncall: {members: [301, 302, 303], rotate: weekly, from: 2026-11-23 09:00}\nlists:"
        )
        found = every(routing("main:\n  who: {dial: oncall, otherwise: no}\n  no: {hangup: busy}", head))
        rung = {walk.told[0].chain[0][1][0][0]: walk.turns for walk in found.walks}
        assert set(rung) == {"301", "302", "303"}
        assert len(set(rung.values())) == 3


class TestTwoVersions:
    def test_both_get_the_same_keys_whatever_their_steps_are_called(self) -> None:
        old = routing(
            "main:\n  ask: {menu: Press., keys: {1: a}, otherwise: b}\n  a: {hangup: busy}\n  b: {hangup: declined}"
        )
        new = routing(
            "main:\n  why: {menu: Press., keys: {1: a}, otherwise: b}\n  a: {hangup: busy}\n  b: {hangup: declined}"
        )
        found = every(old, new)
        assert len(found.walks) == 3
        assert all(walk.told[0] == walk.told[1] for walk in found.walks)
        assert all(one.sides == {0, 1} for walk in found.walks for one in walk.asked)

    def test_a_key_that_only_one_of_them_knows_is_pressed_in_both(self) -> None:
        tail = "otherwise: b}\n  a: {hangup: busy}\n  b: {hangup: declined}"
        old = routing(f"main:\n  ask: {{menu: Press., keys: {{1: a}}, {tail}")
        new = routing(f"main:\n  ask: {{menu: Press., keys: {{1: a, 3: a}}, {tail}")
        three = next(walk for walk in every(old, new).walks if "3" in answers(walk))
        assert [told.end for told in three.told] == [("hangup", "declined"), ("hangup", "busy")]

    def test_a_menu_that_only_one_of_them_has_is_walked_by_all_its_keys(self) -> None:
        old = routing("main:\n  b: {hangup: declined}")
        new = routing(
            "main:\n  ask: {menu: Press., keys: {1: a}, otherwise: b}\n  a: {hangup: busy}\n  b: {hangup: declined}"
        )
        for versions in ((old, new), (new, old)):
            assert {tuple(answers(walk)) for walk in every(*versions).walks} == {("",) * 3, ("1",), ("9",) * 3}

    def test_the_same_twice_is_hardly_walked_at_all(self) -> None:
        flows = (
            "main:\n  ask: {menu: Press., keys: {1: a, 2: a, 3: a}, otherwise: a}\n  a: {dial: team, otherwise: b}\n"
        )
        one = routing(flows + "  b: {hangup: busy}")
        assert len(every(one, replace(one)).walks) == 1
        assert len(every(one).walks) > 20

    def test_what_differs_behind_a_step_that_is_the_same_is_found(self) -> None:
        flows = "main:\n  ask: {menu: Press., keys: {1: a, 2: b}, otherwise: b}\n  a: {dial: 301, otherwise: b}\n  b: "
        found = every(routing(flows + "{hangup: busy}"), routing(flows + "{hangup: declined}"))
        assert {tuple(answers(walk)) for walk in found.walks if walk.told[0].way != walk.told[1].way} >= {
            ("1", "no_answer"),
            ("2",),
        }


def test_horizon_is_whole_days_from_midnight_on() -> None:
    ground = Ground([routing("main:\n  a: {hangup: busy}")], NOW)
    assert ground.begin == epoch("2026-11-23 00:00")
    assert ground.today == dt.date(2026, 11, 23)
    assert ground.spans(ground.everything["times"]) == [(ground.begin, ground.end)]
