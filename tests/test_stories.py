"""Whole stories over TCP: the real server, the stand-in switch, Redis.

Every test waits for something that happens, never for a time; the time limits are only there to fail.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import redis

from callcontrol.directory import directory_version
from freeswitch.simulator import Answers, Busy, Caller, NeverAnswers, Rejects, Unregistered
from scripts.rig import ROUTING, Rig

pytestmark = pytest.mark.tcp
NUMBER = "+74951234567"
SOMEBODY = "+79031234567"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("rig"), sounds=SOUNDS) as started:
        yield started


#: Sounds are short here: what is tested is the order of things, not their length.
SOUNDS: dict[str, float] = {}


@pytest.fixture(autouse=True)
def nobody_answers(rig: Rig) -> None:
    for extension in ("301", "302", "303"):
        rig.switch.phone(extension, NeverAnswers())


def in_menu(rig: Rig, from_: str = SOMEBODY, name: str = "") -> Caller:
    caller = rig.switch.call(from_, NUMBER, name=name)
    caller.wait("heard:speech", 10)
    return caller


def ended(rig: Rig, caller: Caller) -> dict[str, object]:
    """The one end of a call."""
    caller.wait("ended", 30)
    rig.wait_fact(caller.uuid, "call.ended", 15)
    (end,) = rig.facts(caller.uuid, "call.ended")
    return dict(end["data"])


def talking(rig: Rig, extension: str = "302", talk: float | None = None) -> Caller:
    rig.switch.phone(extension, Answers(after=0.1, talk=talk))
    caller = in_menu(rig)
    caller.press(extension, gap=0.1)
    caller.wait("talking", 15)
    rig.wait_fact(caller.uuid, "talk.started")
    return caller


def to_the_message(rig: Rig) -> Caller:
    """A caller whom nobody in service can be rung for."""
    for extension in ("301", "302", "303"):
        rig.switch.phone(extension, Unregistered())
    caller = in_menu(rig)
    caller.press("2")
    return caller


class TestTalks:
    def test_a_menu_key_rings_a_group_and_the_call_ends_after_the_talk(self, rig: Rig) -> None:
        rig.switch.phone("302", Answers(after=0.3, talk=0.5))
        caller = in_menu(rig)
        caller.press("2")
        caller.wait("talking", 15)
        assert caller.talking_to
        assert ended(rig, caller)["by"] == "cordboard"
        kinds = [fact["type"] for fact in rig.facts(caller.uuid)]
        assert kinds.index("talk.started") < kinds.index("talk.ended") < kinds.index("call.ended")

    def test_a_caller_who_ends_a_talk_that_nobody_owns_is_heard_by_somebody(self, rig: Rig) -> None:
        caller = talking(rig)
        caller.hangup()
        assert ended(rig, caller)["by"] == "unowned"
        assert len(rig.facts(caller.uuid, "talk.ended")) == 1

    def test_two_answers_at_once_make_one_talk(self, rig: Rig) -> None:
        rig.switch.phone("302", Answers(after=0.4, talk=0.5))
        rig.switch.phone("303", Answers(after=0.41, talk=0.5))
        caller = in_menu(rig)
        caller.press("2")
        caller.wait("talking", 15)
        ended(rig, caller)
        assert len(rig.facts(caller.uuid, "talk.started")) == 1

    @pytest.mark.parametrize(
        ("behaviour", "result"), [(Busy(), "busy"), (Rejects(0.1), "declined"), (Unregistered(), "unreachable")]
    )
    def test_what_a_telephone_does_is_told(self, rig: Rig, behaviour: object, result: str) -> None:
        rig.switch.phone("303", behaviour)  # type: ignore[arg-type]
        caller = in_menu(rig)
        caller.press("303", gap=0.1)
        rig.until(lambda: len(rig.facts(caller.uuid, "leg.result")) == 2, 15, "both results")
        results = {f["data"]["address"]: f["data"]["result"] for f in rig.facts(caller.uuid, "leg.result")}
        assert results["303"] == result
        caller.hangup()
        ended(rig, caller)

    def test_a_ringing_tone_that_must_stop_before_it_began_does_not_play_for_ever(self, rig: Rig) -> None:
        caller = to_the_message(rig)  # two stages of refusals, each sooner than the switch begins a sound
        caller.wait("recorded", 20)
        caller.hangup()
        ended(rig, caller)

    @pytest.mark.parametrize("hangs_up", [0.02, 0.03, 0.04, 0.05, 0.08])
    def test_a_phone_that_picks_up_and_drops_costs_one_takeover_at_most(self, rig: Rig, hangs_up: float) -> None:
        phone = rig.switch.phone("302", Answers(after=0.1, hangs_up=hangs_up))
        other = rig.switch.phone("303", NeverAnswers())
        caller = in_menu(rig)
        caller.press("2")
        rig.switch.wait(lambda: any(entry.what == "hangs up" for entry in phone.history), 10)
        rig.switch.sleep(1.5)
        assert len(rig.facts(caller.uuid, "call.taken_over")) <= 1
        caller.hangup()
        ended(rig, caller)
        rig.switch.wait(lambda: not phone.ringing and not other.ringing, 10)

    def test_a_talk_that_a_busy_switch_tells_late_is_told_all_the_same(self, rig: Rig) -> None:
        rig.switch.late = 0.5
        try:
            caller = talking(rig, talk=1.0)
        finally:
            rig.switch.late = 0.0
        ended(rig, caller)
        assert len(rig.facts(caller.uuid, "talk.started")) == 1

    def test_a_caller_who_leaves_stops_the_ringing(self, rig: Rig) -> None:
        phone = rig.switch.phone("303", NeverAnswers())
        caller = in_menu(rig)
        caller.press("303", gap=0.1)
        rig.switch.wait(lambda: phone.ringing, 10)
        caller.hangup()
        rig.switch.wait(lambda: not phone.ringing, 10)
        assert ended(rig, caller)["by"] == "caller"


class TestKills:
    def test_a_killed_controllers_caller_goes_on_in_the_same_menu(self, rig: Rig) -> None:
        caller = in_menu(rig)
        rig.wait_fact(caller.uuid, "step.entered")
        heard = len(caller.heard)
        rig.kill(rig.owner_of(caller.uuid))
        caller.wait(lambda c: len(c.heard) > heard, 10)
        assert rig.wait_fact(caller.uuid, "call.taken_over")["data"]["step"] == "greet"
        caller.hangup()
        ended(rig, caller)

    def test_a_talk_is_not_broken_and_comes_back(self, rig: Rig) -> None:
        caller = talking(rig, talk=2.0)
        for pid in rig.children():
            rig.kill(pid)
        assert caller.state == "talking"
        assert ended(rig, caller)["cause"] == "NORMAL_CLEARING"
        assert len(rig.facts(caller.uuid, "talk.ended")) == 1

    def test_a_ringing_telephone_rings_on(self, rig: Rig) -> None:
        phone = rig.switch.phone("303", Answers(after=2.5, talk=0.5))
        caller = in_menu(rig)
        caller.press("303", gap=0.1)
        rig.switch.wait(lambda: phone.ringing, 10)
        rig.wait_fact(caller.uuid, "leg.rung")
        rung = len([entry for entry in phone.history if entry.what == "rings"])
        rig.kill(rig.owner_of(caller.uuid))
        caller.wait("talking", 15)
        assert len([entry for entry in phone.history if entry.what == "rings"]) == rung
        ended(rig, caller)
        assert len([f for f in rig.facts(caller.uuid, "leg.rung") if f["data"]["address"] == "303"]) == 1

    def test_a_telephone_answered_while_nobody_listened_is_joined(self, rig: Rig) -> None:
        phone = rig.switch.phone("303", Answers(after=0.6, talk=0.5))
        caller = in_menu(rig)
        caller.press("303", gap=0.1)
        rig.switch.wait(lambda: phone.ringing, 10)
        rig.wait_fact(caller.uuid, "leg.rung")
        for pid in rig.children():
            rig.kill(pid)
        caller.wait("talking", 20)
        ended(rig, caller)

    @staticmethod
    def taken(rig: Rig, caller: Caller, times: int) -> bool:
        return len(rig.facts(caller.uuid, "call.taken_over")) >= times

    def test_five_restarts_in_one_waiting_call(self, rig: Rig) -> None:
        caller = in_menu(rig)
        for times in range(1, 6):
            rig.until(lambda: len(rig.children()) == rig.processes, 20, "both controllers")
            rig.wait_fact(caller.uuid, "step.entered")
            rig.kill(rig.owner_of(caller.uuid))
            rig.until(partial(self.taken, rig, caller, times), 20, "the takeover")
        rig.switch.phone("303", Answers(after=0.1, talk=0.3))
        caller.press("303", gap=0.1)
        caller.wait("talking", 15)
        ended(rig, caller)
        epochs = [fact["epoch"] for fact in rig.facts(caller.uuid, "call.taken_over")]
        assert epochs == sorted(set(epochs))

    def test_a_message_goes_on_over_a_kill(self, rig: Rig) -> None:
        caller = to_the_message(rig)
        caller.wait("recorded", 20)
        rig.until(lambda: len(rig.facts(caller.uuid, "step.entered")) == 5, 10, "the message")
        rig.kill(rig.owner_of(caller.uuid))
        rig.wait_fact(caller.uuid, "call.taken_over")
        rig.switch.sleep(0.8)
        caller.press("#")
        ended(rig, caller)
        (message,) = rig.facts(caller.uuid, "message.recorded")
        assert len(caller.recordings) == 1
        assert (rig.spool / message["data"]["files"][0]).stat().st_size > 44

    def test_a_hung_controller_is_killed_and_its_calls_go_on(self, rig: Rig) -> None:
        rig.until(lambda: len(rig.children()) == rig.processes, 20, "both controllers")
        caller = in_menu(rig)
        rig.wait_fact(caller.uuid, "step.entered")
        os.kill(rig.owner_of(caller.uuid), signal.SIGSTOP)
        rig.wait_fact(caller.uuid, "call.taken_over", 20)
        caller.hangup()
        ended(rig, caller)

    def test_a_rolling_restart_loses_nothing(self, rig: Rig) -> None:
        rig.until(lambda: len(rig.children()) == rig.processes, 20, "both controllers")
        before = set(rig.children())
        caller, talker = in_menu(rig), talking(rig)
        os.kill(rig.server_pid, signal.SIGUSR2)
        rig.until(lambda: not before & set(rig.children()), 30, "new controllers")
        rig.wait_fact(caller.uuid, "call.taken_over", 15)
        assert talker.state == "talking"
        for one in (caller, talker):
            one.hangup()
            ended(rig, one)

    def test_a_restart_of_everything_at_noon_drops_nobody(self, rig: Rig) -> None:
        caller, talker = in_menu(rig), talking(rig)
        heard = len(caller.heard)
        assert rig.stop_server() == 0
        rig.start_server()
        caller.wait(lambda c: len(c.heard) > heard, 20)
        assert talker.state == "talking"
        for one in (caller, talker):
            one.hangup()
            ended(rig, one)


class TestBadInput:
    def test_a_number_nobody_owns_does_not_exist(self, rig: Rig) -> None:
        caller = rig.switch.call(SOMEBODY, "+74950000000")
        ended(rig, caller)
        assert caller.hangup_cause == "UNALLOCATED_NUMBER"
        assert not caller.answered

    @pytest.mark.parametrize(
        "name",
        ["Bob%0Avariable_cordboard_state: AAAA", "x%0A%0Asendmsg", "${system(touch /tmp/x)}", "\u2028%C2%85", "%FF%FE"],
    )
    def test_a_hostile_name_changes_nothing(self, rig: Rig, name: str) -> None:
        caller = in_menu(rig, name=name)
        assert rig.switch.executed == []
        caller.hangup()
        assert ended(rig, caller)["by"] == "caller"
        assert rig.facts(caller.uuid, "call.taken_over") == []

    def test_a_peer_that_says_nothing_or_nonsense_costs_nobody_anything(self, rig: Rig) -> None:
        silent = socket.create_connection(("127.0.0.1", rig.port))
        for nonsense in (b"\xff" * 5000, b"Content-Length: 99999999999\n\n", b"\n" * 100, b"Content-Type: x\n\n", b""):
            with socket.create_connection(("127.0.0.1", rig.port)) as peer:
                peer.sendall(nonsense)
        caller = in_menu(rig)
        caller.hangup()
        ended(rig, caller)
        silent.close()

    def test_garbage_in_the_middle_of_a_call_hands_it_over(self, rig: Rig) -> None:
        caller = in_menu(rig)
        rig.wait_fact(caller.uuid, "step.entered")
        rig.switch.garbage(b"\xff\xfe garbage\n\n", caller)
        rig.wait_fact(caller.uuid, "call.taken_over", 15)
        caller.hangup()
        ended(rig, caller)

    def test_the_switchs_inbound_connection_is_made_again(self, rig: Rig) -> None:
        caller = in_menu(rig)
        rig.switch.drop_inbound()
        rig.switch.phone("303", Answers(after=0.1, talk=0.3))
        caller.press("303", gap=0.1)
        caller.wait("talking", 15)
        ended(rig, caller)

    def test_a_missing_sound_is_a_tone_and_a_fact(self, rig: Rig, tmp_path: Path) -> None:
        (words,) = [
            path
            for path in (rig.directory / "state/speech").rglob("*.txt")
            if path.read_text(encoding="utf-8").partition("\n")[2].strip() == "greet-ru.wav"
        ]
        sound = words.with_suffix(".wav")
        caller = in_menu(rig)
        own = ROUTING / "sounds/acme/greet-ru.wav"  # what is tried when the converted file is gone
        for file in (sound, own):
            file.rename(tmp_path / file.name)
        try:
            caller.press("9")
            missing = rig.wait_fact(caller.uuid, "sound.missing", 15)
        finally:
            for file in (sound, own):
                (tmp_path / file.name).rename(file)
        assert missing["data"]["sound"] == "greet-ru.wav"
        caller.press("2")
        rig.wait_fact(caller.uuid, "leg.rung", 15)
        caller.hangup()
        ended(rig, caller)

    def test_a_checkpoint_that_cannot_be_read_starts_the_call_again(self, rig: Rig) -> None:
        caller = in_menu(rig)
        rig.wait_fact(caller.uuid, "step.entered")
        rig.switch.channels[caller.uuid].set("cordboard_state", "bm90IG91cnM")
        heard = len(caller.heard)
        rig.kill(rig.owner_of(caller.uuid))
        caller.wait(lambda c: len(c.heard) > heard, 10)
        caller.hangup()
        ended(rig, caller)

    def test_fifty_calls_in_menus_survive_a_kill(self, rig: Rig) -> None:
        rig.until(lambda: len(rig.children()) == rig.processes, 20, "both controllers")
        callers = [rig.switch.call(f"+7903000{n:04d}", NUMBER) for n in range(50)]
        for caller in callers:
            caller.wait("heard:speech", 20)
            rig.wait_fact(caller.uuid, "step.entered")
        victim = rig.owner_of(callers[0].uuid)
        owned = [caller for caller in callers if rig.owner_of(caller.uuid) == victim]
        rig.kill(victim)
        for caller in owned:
            rig.wait_fact(caller.uuid, "call.taken_over", 15)
        for caller in callers:
            assert caller.state == "answered"
            caller.hangup()
        for caller in callers:
            ended(rig, caller)


def shipped(rig: Rig) -> list[dict[str, object]]:
    """Every fact in the stream."""
    with closing(redis.Redis.from_url(rig.redis_url)) as client:
        entries: list[tuple[bytes, dict[bytes, bytes]]] = client.xrange("cordboard:facts")  # type: ignore[assignment]
        return [json.loads(entry[b"fact"]) for _, entry in entries]


def test_redis_away_changes_nothing_for_calls_and_every_fact_comes_after(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", processes=1) as rig:
        rig.stop_redis()
        caller = talking(rig, "303", talk=0.3)
        ended(rig, caller)
        unowned = talking(rig, "303")
        unowned.hangup()
        ended(rig, unowned)
        rig.start_redis()
        rig.until(lambda: len(shipped(rig)) >= len(rig.facts()), 20, "the facts in the stream")
        ends = [fact["call"] for fact in shipped(rig) if fact["type"] == "call.ended"]
        assert sorted(ends, key=str) == sorted([caller.uuid, unowned.uuid])


def test_a_spool_that_takes_nothing_is_an_apology_and_not_the_end_of_the_call(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", processes=1) as rig:
        rig.spool.rmdir()
        caller = to_the_message(rig)
        rig.wait_fact(caller.uuid, "message.failed", 15)
        assert ended(rig, caller)["cause"] == "NORMAL_CLEARING"
        assert "nothing can be recorded" in rig.log()


def test_a_change_goes_live_at_sighup_for_new_calls_only_and_a_mistake_never(tmp_path: Path) -> None:
    shutil.copytree(ROUTING, tmp_path / "routing")
    file = tmp_path / "routing/acme.yaml"
    good = file.read_text()
    with Rig(tmp_path / "rig", routing=tmp_path / "routing", processes=1) as rig:
        old = in_menu(rig)

        def publish(text: str, said: str) -> None:
            seen = len(rig.log())
            file.write_text(text)
            os.kill(rig.server_pid, signal.SIGHUP)
            rig.until(lambda: said in rig.log()[seen:], 15, said)

        publish(good.replace("keys: {1: sales, 2: service,", "keys: {1: sales, 2: nobody,"), "does not go live")
        rig.switch.phone("302", Answers(after=0.1, talk=0.2))
        caller = in_menu(rig)
        caller.press("2")
        caller.wait("talking", 15)  # by the last good version
        ended(rig, caller)
        publish(good.replace("keys: {1: sales, 2: service,", "keys: {1: reject, 2: service,"), "was read again")
        new = in_menu(rig, "+79037654321")
        new.press("1")
        assert ended(rig, new)["cause"] == "USER_BUSY"
        old.press("2")
        old.wait("talking", 15)
        ended(rig, old)


class TestPhonesDirectory:
    def test_the_switch_has_it_when_calls_can_come_and_reads_it_again_after_a_change(self, rig: Rig) -> None:
        def has_it(version: str | None) -> bool:
            return rig.switch.directory_version == version

        before = directory_version(rig.directory / "state")
        assert before is not None
        rig.until(lambda: has_it(before), 15, "the switch to have the directory")
        passwords = rig.directory / "passwords.yaml"
        passwords.touch(mode=0o600)
        passwords.write_text("acme: {301: correct-horse-battery}\n")
        os.kill(rig.server_pid, signal.SIGHUP)
        rig.until(lambda: directory_version(rig.directory / "state") != before, 15, "the directory to change")
        rig.until(lambda: has_it(directory_version(rig.directory / "state")), 15, "the switch to read it again")

    def test_a_switch_that_comes_back_with_an_older_one_reads_it_again(self, rig: Rig) -> None:
        wanted = directory_version(rig.directory / "state")
        rig.switch.directory_version = "older"
        rig.switch.drop_inbound()
        rig.until(lambda: rig.switch.directory_version == wanted, 15, "the switch to read it again")


def test_a_log_on_a_full_disk_costs_lines_and_not_calls(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", processes=1, log=Path("/dev/full")) as rig:
        caller = in_menu(rig)
        rig.wait_fact(caller.uuid, "step.entered")
        rig.kill(rig.owner_of(caller.uuid))
        rig.wait_fact(caller.uuid, "call.taken_over", 15)
        caller.hangup()
        ended(rig, caller)


def test_a_name_as_long_as_a_datagram_is_served(rig: Rig) -> None:
    caller = in_menu(rig, name="%F0%9F%98%80" * 5_000)
    caller.hangup()
    ended(rig, caller)
