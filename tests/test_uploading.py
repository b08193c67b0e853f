"""Uploading against a real store (rclone), alone and behind a proxy that fails and lies."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import itertools
import json
import os
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from callcontrol.settings import Config, SwitchAddress
from callcontrol.spool import message_file, segment_file
from scripts.chaos.faulty import Faulty
from tests.recordings import HURRY, SHORT, House, key, put, wav
from workers.context import Context
from workers.journal.tables import Recording
from workers.recordings import jobs, spool, uploading
from workers.recordings.forgetting import MOST, StillRecorded, delete, forget_old
from workers.recordings.local_store import LocalStore
from workers.recordings.manifest import Manifest, Note
from workers.recordings.store import Store, StoreError


@pytest.fixture(scope="session")
def local_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStore]:
    """A store that all tests share."""
    with LocalStore(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(scope="session")
def _straight(local_store: LocalStore) -> Store:
    return Store(local_store.storage, SHORT)


@pytest.fixture
def house(tmp_path: Path, _straight: Store) -> House:
    """A house whose store never fails."""
    return House(tmp_path, _straight)


@pytest.fixture(scope="session")
def _proxy(local_store: LocalStore) -> Iterator[Faulty]:
    with Faulty(local_store, slow=1.0) as proxy:
        yield proxy


@pytest.fixture
def faulty(_proxy: Faulty) -> Faulty:
    """The proxy before the store, in order until a test says otherwise."""
    _proxy.reset()
    return _proxy


@pytest.fixture(scope="session")
def _behind(local_store: LocalStore, _proxy: Faulty) -> Store:
    return Store(dataclasses.replace(local_store.storage, endpoint=_proxy.endpoint), SHORT)


@pytest.fixture
def shaky(tmp_path: Path, _behind: Store, faulty: Faulty) -> House:
    """A house whose store is behind the proxy."""
    return House(tmp_path, _behind)


def store_of(house: House) -> Store:
    assert house.store is not None
    return house.store


class Once:
    """Chooses a fault for the first requests of a method."""

    def __init__(self, method: str, fault: str, times: int = 1) -> None:
        self.method, self.fault, self.left = method, fault, times

    def __call__(self, method: str, key: str) -> str:
        if method != self.method or self.left == 0:
            return ""
        self.left -= 1
        return self.fault


# ------------------------------------------------------------------------------------------------- the whole way


def test_a_recording_is_stored_as_it_is_and_its_file_goes(house: House, local_store: LocalStore) -> None:
    file = house.talk(data := wav(0.5))
    house.worker.drain()
    assert (local_store.data / key(file)).read_bytes() == data
    assert house.left() == []
    segment, recording = house.segment(file), house.recording(file)
    assert (segment.state, segment.key, segment.bytes, segment.seconds) == ("stored", key(file), len(data), 0.5)
    assert (recording.state, recording.seconds) == ("available", 0.5)
    assert house.told() == [
        {"recording": file.recording, "kind": "talk", "seconds": 0.5, "bytes": len(data), "segments": 1}
    ]


def test_a_talk_is_told_of_when_its_call_is_over_and_all_its_segments_are_stored(house: House) -> None:
    first = house.talk(ended=False)
    second = house.talk(call=first.call, number=2, ended=False)
    house.fact("recording.started", third := segment_file("acme", first.call, second.leg or "", 3))
    house.worker.drain()
    assert [house.segment(one).state for one in (first, second)] == ["stored", "stored"]
    assert house.told() == []
    house.lay(third, None, ended=False)
    house.worker.drain()
    assert house.told() == []
    house.call(first.call, ended=True)
    house.worker.drain()
    house.worker.drain()
    assert [told["segments"] for told in house.told("recording.available")] == [3]


def test_a_message_is_told_of_at_once_with_whom_it_is_for(house: House) -> None:
    file = house.message()
    house.call(file.call, ended=False)
    house.fact("message.recorded", file, **{"for": ["301"], "files": [file.name], "seconds": None})
    house.worker.drain()
    assert [told["for"] for told in house.told("recording.available")] == [["301"]]


def test_a_segment_that_turns_up_later_makes_it_another_recording(house: House) -> None:
    first = house.talk()
    house.worker.drain()
    house.talk(call=first.call, number=2)
    house.worker.drain()
    assert [told["segments"] for told in house.told("recording.available")] == [1, 2]


def test_retention_begins_with_the_recording(tmp_path: Path, house: House) -> None:
    house.worker.keep = lambda company: 86_400.0 if company == "acme" else None
    house.fact("recording.expected", file := house.talk())
    house.worker.drain()
    recording = house.recording(file)
    assert recording.keep_until is not None
    assert recording.keep_until == recording.began + 86_400.0


def test_a_talk_whose_second_segment_vanished_is_told_of_without_it(shaky: House, faulty: Faulty) -> None:
    first = shaky.talk()
    shaky.call(first.call, ended=False)
    shaky.worker.drain()
    second = shaky.talk(call=first.call, number=2)
    faulty.choose = Once("PUT", "500")
    shaky.worker.drain()
    (shaky.spool / second.name).unlink()
    shaky.worker.keep = lambda company: 60.0
    shaky.worker.drain()
    assert [told["recording"] for told in shaky.told("recording.lost")] == [first.recording]
    assert [told["segments"] for told in shaky.told("recording.available")] == [1]
    recording = shaky.recording(first)
    assert (recording.state, recording.keep_until) == ("available", recording.began + 60.0)


# ---------------------------------------------------------------------------------------------- what is whole


def test_a_file_that_somebody_still_writes_is_left_alone_whatever_was_told(house: House) -> None:
    file = house.talk()
    house.fact("recording.stopped", file, seconds=0.25)
    with (house.spool / file.name).open("ab"):
        house.worker.drain()
        assert house.left() == [file.name]
    house.worker.drain()
    assert house.left() == []


def test_a_file_is_whole_when_it_has_not_changed_for_a_while_or_the_switch_says_so(house: House) -> None:
    house.worker.pace = dataclasses.replace(HURRY, quiet=30.0)
    file, told = house.talk(ended=False), house.talk(ended=False)
    house.fact("recording.stopped", told, seconds=0.25)
    house.worker.drain()
    assert house.left() == [file.name]
    house.now += 31
    house.worker.drain()
    assert house.left() == []


def test_a_file_that_changed_in_times_to_come_is_whole(house: House) -> None:
    """The clock was wrong, and was set back."""
    house.worker.pace = dataclasses.replace(HURRY, quiet=30.0)
    file = house.talk(ended=False)
    house.now -= 86_400.0
    house.worker.drain()
    assert house.left() == []
    assert house.segment(file).state == "stored"


def test_where_the_kernel_may_not_tell_a_silent_file_waits_for_the_end_of_its_call(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "written_by_somebody", lambda fd: None)
    file = house.talk(ended=False)
    house.fact("recording.started", file)
    house.now += 3000
    house.worker.drain()
    assert house.left() == [file.name]
    house.call(file.call, ended=True)
    house.worker.drain()
    assert house.left() == []


def test_a_file_that_grew_after_its_manifest_is_stored_again_whole(
    house: House, local_store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = house.talk()
    path, send = house.spool / file.name, uploading.Uploader._send

    def grows(worker: uploading.Uploader, held: Manifest, fd: int, until: float) -> None:
        send(worker, held, fd, until)
        with path.open("ab") as more:
            more.write(b"and more")

    with monkeypatch.context() as patched:
        patched.setattr(uploading.Uploader, "_send", grows)
        assert house.worker.drain()
    assert house.left() == [file.name, file.name + ".json"]
    whole = path.read_bytes()
    house.another().drain()
    assert (local_store.data / key(file)).read_bytes() == whole
    assert house.left() == []


def test_a_file_that_somebody_opens_as_it_is_stored_stays_until_they_are_done(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = house.talk()
    path, send = house.spool / file.name, uploading.Uploader._send
    opened = []

    def opens(worker: uploading.Uploader, held: Manifest, fd: int, until: float) -> None:
        send(worker, held, fd, until)
        opened.append(path.open("ab"))

    with monkeypatch.context() as patched:
        patched.setattr(uploading.Uploader, "_send", opens)
        assert house.worker.drain()
    assert path.exists()
    opened[0].close()
    house.another().drain()
    assert house.left() == []


def test_what_is_not_ours_is_left_alone_and_reported_once(house: House, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(wav())
    call = "c0ffee00-0000-4000-8000-000000000001"
    names = [message_file("acme", call, number).name for number in range(1, 4)]
    (house.spool / names[0]).symlink_to(secret)
    os.link(secret, house.spool / names[1])
    os.mkfifo(house.spool / names[2])
    (house.spool / "notes.txt").write_text("mine")
    house.now += 1000
    house.worker.drain()
    house.worker.drain()
    assert house.left() == sorted([*names, "notes.txt"])
    assert house.alarms() == ["recordings/switch1/strangers"]
    for path in house.spool.iterdir():
        path.unlink()
    house.worker.drain()
    assert house.alarms() == []


# --------------------------------------------------------------------------------------- what the header says


@pytest.mark.parametrize("said", [0, 2**32 - 1, 100, 999_999])
def test_a_header_of_a_switch_that_died_is_described_and_the_file_is_stored_as_it_is(
    house: House, local_store: LocalStore, said: int
) -> None:
    file = house.talk(data := wav(0.5, said=said))
    house.worker.drain()
    assert (local_store.data / key(file)).read_bytes() == data
    assert house.segment(file).why is not None
    if said != 100:
        assert house.segment(file).seconds == pytest.approx(0.5)


def test_a_length_that_the_switch_told_otherwise_is_noted_and_no_loss(house: House) -> None:
    house.fact("recording.stopped", file := house.talk(wav(0.5)), seconds=60.0)
    house.worker.drain()
    segment = house.segment(file)
    assert (segment.state, segment.seconds) == ("stored", 0.5)
    assert segment.why == "the switch told of 60.0 s, the file has 0.5 s"


def test_a_switch_that_could_not_tell_the_length_has_not_told_it(house: House) -> None:
    house.fact("recording.stopped", file := house.talk(wav(3.0)), seconds=0.0)
    house.worker.drain()
    assert (house.segment(file).seconds, house.segment(file).why) == (3.0, None)


def test_what_is_no_wav_is_stored_all_the_same(house: House, local_store: LocalStore) -> None:
    file = house.talk(b"RIFF of something else")
    house.worker.drain()
    assert (local_store.data / key(file)).read_bytes() == b"RIFF of something else"
    assert (house.segment(file).seconds, house.segment(file).why) == (None, "it has no WAV header")


@pytest.mark.parametrize("data", [b"", wav(0.0)], ids=["no bytes", "a header only"])
def test_a_file_without_sound_is_absent(house: House, data: bytes) -> None:
    file = house.talk(data)
    house.worker.drain()
    assert (house.segment(file).state, house.recording(file).state) == ("absent", "absent")
    assert [told["recording"] for told in house.told("recording.absent")] == [file.recording]
    assert house.left() == []


def test_the_lengths_are_those_of_a_reader_of_another_make(house: House, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as other:
        other.setnchannels(1)
        other.setsampwidth(2)
        other.setframerate(16_000)
        other.writeframes(bytes(32_000))
    file = house.talk(path.read_bytes())
    house.worker.drain()
    assert (house.segment(file).seconds, house.segment(file).why) == (1.0, None)


def test_a_caller_who_left_no_message_leaves_no_recording(house: House) -> None:
    file = house.message(wav(0.1))
    house.fact("message.empty", file, **{"for": ["301"], "files": [file.name], "seconds": 0.1})
    house.worker.drain()
    assert house.left() == []
    assert (house.told(), house.recording(file).state) == ([], "absent")


# ------------------------------------------------------------------------------------------------------ absent


@pytest.mark.parametrize("last", ["recording.expected", "recording.started", "recording.stopped"])
def test_what_was_expected_and_never_came_is_told_with_the_reason(house: House, last: str) -> None:
    house.worker.pace = dataclasses.replace(HURRY, absent=120.0)
    file = segment_file("acme", "c0ffee00-0000-4000-8000-000000000001", "1e9", 1)
    house.fact(last, file)
    house.call(file.call, ended=True)
    house.worker.drain()
    assert house.segment(file).state != "absent"
    house.now += 200
    house.worker.drain()
    house.worker.drain()
    assert house.segment(file).state == "absent"
    assert len(house.told("recording.absent")) == 1
    assert house.segment(file).why in house.told("recording.absent")[0]["why"]


def test_a_file_that_was_said_to_be_absent_is_stored_when_it_turns_up(house: House) -> None:
    file = segment_file("acme", "c0ffee00-0000-4000-8000-000000000001", "1e9", 1)
    house.fact("recording.started", file)
    house.call(file.call, ended=True)
    house.worker.drain()
    house.lay(file, None, ended=True)
    house.worker.drain()
    assert (house.segment(file).state, house.recording(file).state) == ("stored", "available")


def test_nothing_is_absent_on_a_switch_of_another_host(house: House) -> None:
    file = segment_file("acme", "c0ffee00-0000-4000-8000-000000000001", "1e9", 1)
    house.fact("recording.started", file)
    house.call(file.call, ended=True)
    house.worker.switch = "switch2"
    house.worker.drain()
    assert house.segment(file).state == "started"


def test_what_a_switch_that_has_another_name_now_never_wrote_is_absent_after_a_while(house: House) -> None:
    file = segment_file("acme", "c0ffee00-0000-4000-8000-000000000001", "1e9", 1)
    house.fact("recording.started", file)
    house.call(file.call, ended=True)
    house.worker.switch, house.worker.switches = "west", ["west", "east"]
    house.worker.pace = dataclasses.replace(HURRY, unheard=3600.0)
    house.worker.drain()
    assert house.segment(file).state == "started"
    house.now += 3600
    house.worker.first = False
    house.worker.drain()
    assert house.segment(file).state == "started"
    house.worker.first = True
    house.worker.drain()
    assert (house.segment(file).state, len(house.told("recording.absent"))) == ("absent", 1)


def test_a_recording_that_the_switch_refused_is_absent_when_its_call_is_over(house: House) -> None:
    file = segment_file("acme", "c0ffee00-0000-4000-8000-000000000001", "1e9", 1)
    house.fact("recording.failed", file, why="-ERR no room")
    house.call(file.call, ended=False)
    house.worker.drain()
    assert house.told() == []
    house.call(file.call, ended=True)
    house.worker.drain()
    house.worker.drain()
    assert [told["why"] for told in house.told("recording.absent")] == [f"{file.name}: -ERR no room"]


# ---------------------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        *itertools.product(["HEAD", "PUT", "GET"], ["500", "reset", "lost", "slow"]),
        *itertools.product(["PUT"], ["cut", "nothing", "half", "altered"]),
        ("GET", "short"),
    ],
)
def test_no_fault_and_no_lie_of_the_store_costs_a_byte(
    shaky: House, faulty: Faulty, local_store: LocalStore, method: str, fault: str
) -> None:
    file = shaky.talk(data := wav(seed=hash((method, fault)) % 1000))
    faulty.watch = lambda key: (shaky.spool / file.name).exists()
    faulty.choose = Once(method, fault)
    for _ in range(3):
        shaky.worker.drain()
    assert (local_store.data / key(file)).read_bytes() == data
    assert shaky.left() == []
    assert len(shaky.told("recording.available")) == 1
    reads = [one for one in faulty.asked("GET", file.name) if one.fault == "" and one.body == data]
    assert any(one.there for one in reads)


def test_a_file_that_fails_waits_longer_each_time_and_the_others_go_on(shaky: House, faulty: Faulty) -> None:
    shaky.worker.pace = dataclasses.replace(HURRY, pause=10.0, longest_pause=25.0)
    bad, good = shaky.talk(), shaky.talk()
    faulty.choose = lambda method, key: "500" if bad.name in key else ""
    shaky.worker.drain()
    assert shaky.left() == [bad.name, bad.name + ".json"]
    asked = len(faulty.asked("HEAD", bad.name))
    shaky.worker.drain()
    assert len(faulty.asked("HEAD", bad.name)) == asked
    pauses, allowed = [], [(5, 10), (10, 20), (12, 25), (12, 25)]
    for _ in range(4):
        pauses.append(json.loads((shaky.spool / f"{bad.name}.json").read_text())["next_at"] - shaky.now)
        shaky.now += pauses[-1] + 0.1
        shaky.worker.drain()
    assert [low <= pause <= high for pause, (low, high) in zip(pauses, allowed, strict=True)] == [True] * 4
    assert (shaky.segment(bad).attempts, shaky.segment(good).state) == (5, "stored")
    assert "500" in (shaky.segment(bad).why or "") or "InternalError" in (shaky.segment(bad).why or "")


def test_failing_for_long_is_an_alarm_and_told_once_and_goes_on_being_tried(shaky: House, faulty: Faulty) -> None:
    shaky.worker.pace = dataclasses.replace(HURRY, failed=3600.0)
    file = shaky.talk()
    faulty.choose = lambda method, key: "500"
    shaky.worker.drain()
    assert (shaky.segment(file).state, shaky.alarms()) == ("finished", [])
    shaky.now += 3601
    shaky.worker.drain()
    shaky.worker.drain()
    assert (shaky.segment(file).state, shaky.recording(file).state) == ("failed", "failed")
    assert shaky.alarms() == [f"recording/{file.name}"]
    assert [told["recording"] for told in shaky.told("recording.failed")] == [file.recording]
    assert file.name in shaky.left()
    faulty.choose = lambda method, key: ""
    shaky.worker.drain()
    assert (shaky.recording(file).state, shaky.alarms(), shaky.left()) == ("available", [], [])


def test_a_clock_that_was_set_back_does_not_put_the_next_try_off(shaky: House, faulty: Faulty) -> None:
    shaky.worker.pace = dataclasses.replace(HURRY, pause=10.0, longest_pause=25.0)
    shaky.talk()
    faulty.choose = Once("PUT", "500")
    shaky.worker.drain()
    assert shaky.told() == []
    shaky.now -= 86_400.0
    shaky.worker.drain()
    assert (len(shaky.told("recording.available")), shaky.left()) == (1, [])


def test_a_clock_that_was_set_back_does_not_put_the_alarm_off(shaky: House, faulty: Faulty) -> None:
    shaky.worker.pace = dataclasses.replace(HURRY, failed=3600.0)
    file = shaky.talk()
    faulty.choose = lambda method, key: "500"
    shaky.now += 86_400.0
    shaky.worker.drain()
    shaky.now -= 86_400.0
    shaky.worker.drain()
    shaky.now += 3601
    shaky.worker.drain()
    assert shaky.alarms() == [f"recording/{file.name}"]


def test_a_fault_of_ours_in_one_file_keeps_nobody_else_back(
    house: House, monkeypatch: pytest.MonkeyPatch, logs: list[dict[str, object]]
) -> None:
    bad, good, real = house.talk(), house.talk(), spool.measure

    def fails(fd: int, said: float | None) -> spool.Sound:
        if os.path.sameopenfile(fd, opened.fileno()):
            raise ZeroDivisionError
        return real(fd, said)

    monkeypatch.setattr(spool, "measure", fails)
    house.fact("recording.failed", gone := segment_file("acme", bad.call, "1e9", 7))
    with (house.spool / bad.name).open("rb") as opened:
        house.worker.drain()
    assert (house.segment(good).state, house.segment(gone).state) == ("stored", "failed")
    assert house.left() == [bad.name]
    assert len(house.told("recording.available")) == 1
    assert [line["error"] for line in logs if line["event"] == "alarm"] == ["ZeroDivisionError: "]


def test_what_somebody_else_has_under_the_key_is_never_replaced(house: House, local_store: LocalStore) -> None:
    file = house.talk()
    place = local_store.data / key(file)
    put(house.store, key(file), b"somebody's")
    house.worker.drain()
    assert place.read_bytes() == b"somebody's"
    assert (house.segment(file).state, house.alarms()) == ("failed", [f"recording/{file.name}"])
    assert file.name in house.left()


def test_what_the_key_has_already_is_not_sent_again(shaky: House, faulty: Faulty) -> None:
    file = shaky.talk(data := wav(seed=77))
    put(faulty.behind, key(file), data)
    shaky.worker.drain()
    assert (faulty.asked("PUT"), shaky.segment(file).state) == ([], "stored")


@pytest.mark.parametrize("what", ["bucket", "keys"])
def test_a_store_that_is_set_up_wrong_is_an_alarm_until_it_is_right(
    house: House, local_store: LocalStore, tmp_path: Path, what: str
) -> None:
    wrong = tmp_path / "storage.yaml"
    wrong.write_text("access_key: CBnobody\nsecret_key: wrong\n")
    wrong.chmod(0o600)
    right = house.worker.store
    changes = {"bucket": "nowhere"} if what == "bucket" else {"credentials": wrong}
    house.worker.store = Store(dataclasses.replace(local_store.storage, **changes), SHORT)
    file = house.talk()
    house.worker.drain()
    assert house.alarms() == ["recordings/switch1/store"]
    assert file.name in house.left()
    house.worker.store = right
    house.worker.drain()
    assert (house.alarms(), house.left()) == ([], [])


def test_a_file_that_vanished_before_it_was_stored_is_told_to_be_lost(shaky: House, faulty: Faulty) -> None:
    file = shaky.talk()
    faulty.choose = Once("PUT", "500")
    shaky.worker.drain()
    (shaky.spool / file.name).unlink()
    shaky.worker.drain()
    assert [told["recording"] for told in shaky.told("recording.lost")] == [file.recording]
    assert (shaky.segment(file).state, shaky.left()) == ("failed", [])


def test_without_a_store_recordings_stay_in_the_spool(tmp_path: Path) -> None:
    house = House(tmp_path)
    file = house.talk()
    house.worker.drain()
    assert (house.left(), house.told()) == ([file.name], [])


def test_the_spools_disk_nearly_full_is_an_alarm(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "room", lambda directory: (5 * 10**8, 10**11))
    house.worker.drain()
    assert house.alarms() == ["recordings/switch1/full"]
    monkeypatch.undo()
    monkeypatch.setattr(spool, "room", lambda directory: (5 * 10**10, 10**11))
    house.worker.drain()
    assert house.alarms() == []


@pytest.mark.parametrize("kind", ["other", "fifo"])
def test_a_manifest_that_we_did_not_write_is_not_believed(
    house: House, local_store: LocalStore, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    file, other = house.talk(data := wav(seed=5)), message_file("other", "c0ffee00-0000-4000-8000-000000000001", 1)
    with monkeypatch.context() as patched:
        patched.setattr(uploading.Uploader, "_send", lambda *_: (_ for _ in ()).throw(StoreError("no")))
        house.worker.drain()
    manifest = house.spool / f"{file.name}.json"
    if kind == "fifo":
        manifest.unlink()
        os.mkfifo(manifest)
        house.worker.drain()
        assert (house.left(), house.alarms()) == ([file.name, manifest.name], ["recordings/switch1/strangers"])
        manifest.unlink()
    else:
        said = json.loads(manifest.read_text())
        manifest.write_text(json.dumps({**said, "key": key(other)}))
    house.worker.drain()
    assert (local_store.data / key(file)).read_bytes() == data
    assert not (local_store.data / key(other)).exists()
    assert house.left() == []


class TestADiskThatIsFull:
    """Only what is stored makes room on it: so it must be stored although no manifest can be written."""

    @pytest.fixture(autouse=True, params=["refused", "cut"])
    def _full(self, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
        real = os.pwrite

        def refuses(fd: int, data: bytes, at: int) -> int:
            if request.param == "cut":
                return real(fd, data[:10], at)
            raise OSError(errno.ENOSPC, "no space left")

        monkeypatch.setattr(os, "pwrite", refuses)

    def test_takes_no_manifest_and_is_emptied_all_the_same(self, shaky: House, local_store: LocalStore) -> None:
        file = shaky.talk(data := wav(seed=6))
        shaky.worker.drain()
        assert (local_store.data / key(file)).read_bytes() == data
        assert (shaky.left(), len(shaky.told("recording.available"))) == ([], 1)

    def test_a_worker_killed_on_it_is_followed_by_another(
        self, shaky: House, local_store: LocalStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = shaky.talk(data := wav(seed=8))

        def dies(*_: object) -> None:
            raise Killed

        with monkeypatch.context() as patched:
            patched.setattr(Store, "verify", dies)
            with pytest.raises(Killed):
                shaky.worker.see_to(file.name, time.monotonic() + 10)
        shaky.another().drain()
        assert (local_store.data / key(file)).read_bytes() == data
        assert (shaky.left(), len(shaky.told("recording.available"))) == ([], 1)

    def test_two_workers_on_it_do_not_meet(self, house: House) -> None:
        file = house.talk()
        one = Manifest.hold(house.spool / file.name)
        assert one is not None
        note = Note(file.recording, file.company, file.call, 1, "0" * 64, key(file), 1)
        with one:
            assert one.write(note)
            one.change(sent=True, durable=False)
            assert one.said.sent
            assert Manifest.hold(house.spool / file.name) is None


# ------------------------------------------------------------------------------------------ kills, two at once


class Killed(BaseException):
    """The worker ends here."""


_LINES = ("write", "change", "put", "verify", "_verified", "remove_if", "remove")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("line", _LINES)
def test_a_worker_killed_at_any_line_loses_nothing_and_tells_nothing_twice(
    shaky: House,
    faulty: Faulty,
    local_store: LocalStore,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    after: bool,
) -> None:
    file = shaky.talk(data := wav(seed=len(line) + after))
    place = {"put": Store, "verify": Store, "_verified": uploading.Uploader, "remove_if": spool}.get(line, Manifest)
    real = getattr(place, line)

    def dies(*args: object, **more: object) -> object:
        if after:
            real(*args, **more)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(place, line, dies)
        with pytest.raises(Killed):
            shaky.worker.see_to(file.name, time.monotonic() + 10)
    assert (shaky.spool / file.name).exists() or (local_store.data / key(file)).read_bytes() == data
    shaky.another().drain()
    assert (local_store.data / key(file)).read_bytes() == data
    assert shaky.left() == []
    assert (shaky.segment(file).state, len(shaky.told())) == ("stored", 1)


def test_two_workers_at_once_store_everything_once(shaky: House, faulty: Faulty) -> None:
    files = [shaky.talk() for _ in range(12)]
    workers = [threading.Thread(target=shaky.another().drain) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    shaky.another().drain()
    assert shaky.left() == []
    assert len(shaky.told("recording.available")) == len(files)
    assert all(len(faulty.asked("PUT", file.name)) == 1 for file in files)


def test_a_manifest_that_somebody_holds_keeps_everybody_else_away(house: House) -> None:
    file = house.talk()
    manifest = house.spool / f"{file.name}.json"
    manifest.write_text("{}")
    with manifest.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        house.worker.drain()
        assert house.left() == [file.name, manifest.name]
    house.worker.drain()
    assert house.left() == []


def test_a_manifest_that_was_replaced_as_it_was_being_locked_is_not_held(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = house.talk()
    path, real = house.spool / f"{file.name}.json", fcntl.flock
    path.write_text("{}")

    def slow(fd: int, how: int) -> None:
        (house.spool / "new").write_text("{}")
        (house.spool / "new").rename(path)
        real(fd, how)

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", slow)
        assert Manifest.hold(house.spool / file.name) is None
    assert Manifest.hold(house.spool / file.name) is not None


# ------------------------------------------------------------------------------------------------- large files


@pytest.fixture
def large(shaky: House, local_store: LocalStore, faulty: Faulty) -> House:
    """A house where more than 5 MB go in parts."""
    storage = dataclasses.replace(local_store.storage, endpoint=faulty.endpoint, multipart_above=6 * 2**20)
    shaky.worker.store = shaky.store = Store(storage, SHORT, part=5 * 2**20)
    return shaky


def test_a_large_file_goes_on_where_it_was_interrupted(large: House, faulty: Faulty, local_store: LocalStore) -> None:
    file = large.talk(data := wav(360, rate=8000))
    parts: list[str] = []

    def third_fails(method: str, key: str) -> str:
        if method == "PUT":
            parts.append(key)
        return "500" if method == "PUT" and len(parts) == 3 else ""

    faulty.choose = third_fails
    large.worker.drain()
    assert file.name in large.left()
    large.another().drain()
    assert (local_store.data / key(file)).read_bytes() == data
    assert len(parts) == 4  # three parts, one of them twice
    assert large.left() == []


def test_an_upload_with_a_part_that_is_not_as_it_should_be_begins_anew(large: House, local_store: LocalStore) -> None:
    file = large.talk(data := wav(360, seed=9))
    store = large.worker.store
    assert store is not None
    upload = store._client.create_multipart_upload(Bucket=store.bucket, Key=key(file))["UploadId"]
    store._client.upload_part(Bucket=store.bucket, Key=key(file), UploadId=upload, PartNumber=1, Body=bytes(5 * 2**20))
    fd = os.open(large.spool / file.name, os.O_RDONLY)
    new: list[str] = []
    assert store.put_in_parts(key(file), fd, len(data), upload, new.append, time.monotonic() + 60)
    os.close(fd)
    assert ((local_store.data / key(file)).read_bytes() == data, len(new)) == (True, 1)


def test_uploads_that_nobody_goes_on_with_are_aborted(large: House) -> None:
    file = large.talk(wav(360, seed=10))
    store = large.worker.store
    assert store is not None
    store._client.create_multipart_upload(Bucket=store.bucket, Key=key(file))
    large.worker.drain()
    assert store._uploads(key(file)) == []
    store._client.create_multipart_upload(Bucket=store.bucket, Key=key(file))
    store._client.create_multipart_upload(Bucket=store.bucket, Key="somebody/else")
    assert store.abort_old(time.time() - 60) == 0
    assert store.abort_old(time.time() + 60) == 1
    assert {one[0] for one in store._uploads("")} == {"somebody/else"}


# ---------------------------------------------------------------------------------------------------- deleting


def test_a_deleted_recording_is_gone_from_the_store_and_told_of_once(house: House, local_store: LocalStore) -> None:
    file = house.talk()
    house.worker.drain()
    assert not delete(house.database, house.store, "other", file.recording, "mallory", house.now)
    assert delete(house.database, house.store, "acme", file.recording, "operator", house.now)
    assert not delete(house.database, house.store, "acme", file.recording, "operator", house.now)
    assert not (local_store.data / key(file)).exists()
    assert [told["why"] for told in house.told("recording.deleted")] == ["operator"]
    assert (house.recording(file).state, house.segment(file).state) == ("deleted", "deleted")


def test_retention_deletes_what_is_past_its_time_and_nothing_else(house: House, local_store: LocalStore) -> None:
    old, young, forever = house.talk(), house.talk(), house.talk()
    house.worker.drain()
    with house.database.writing() as session:
        for file, at in ((old, house.now - 1), (young, house.now + 1)):
            session.get_one(Recording, file.recording).keep_until = at
    assert (forget_old(house.database, store_of(house), house.now)) == 1
    assert (forget_old(house.database, store_of(house), house.now)) == 0
    there = [(local_store.data / key(file)).exists() for file in (old, young, forever)]
    assert there == [False, True, True]
    assert [told["why"] for told in house.told("recording.deleted")] == ["retention"]


def test_what_is_stored_while_it_is_being_deleted_is_deleted_too(
    shaky: House, faulty: Faulty, local_store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = shaky.talk()
    faulty.choose = Once("PUT", "500")
    shaky.worker.drain()  # its key is written down, and nothing is there yet
    real = Store.delete

    def slow(store: Store, key: str) -> None:
        real(store, key)
        monkeypatch.setattr(Store, "delete", real)
        shaky.another().drain()  # another worker is faster than the row
        assert shaky.segment(file).state == "stored"

    monkeypatch.setattr(Store, "delete", slow)
    assert delete(shaky.database, shaky.store, "acme", file.recording, "operator", shaky.now)
    assert not (local_store.data / key(file)).exists()


def test_retention_goes_on_at_once_while_there_is_more(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A hundred in ten minutes are fewer than a large company records."""
    left = iter((MOST, MOST, 3))
    monkeypatch.setattr(jobs, "forget_old", lambda *_: next(left))
    switches = (SwitchAddress("switch1", "127.0.0.1", 1, "x"),)
    context = Context(Config(switches), "redis://127.0.0.1:1/0", house.database, tmp_path, house.spool)
    assert [jobs._forget(context, store_of(house)) for _ in range(4)] == [True, True, False, False]
    assert next(left, None) is None


def test_what_the_store_keeps_from_us_is_not_said_to_be_deleted(shaky: House, faulty: Faulty) -> None:
    file = shaky.talk()
    shaky.worker.drain()
    with shaky.database.writing() as session:
        session.get_one(Recording, file.recording).keep_until = shaky.now - 1
    faulty.choose = lambda method, key: "500" if method in ("DELETE", "HEAD") else ""
    assert forget_old(shaky.database, store_of(shaky), shaky.now) == 0
    assert (shaky.recording(file).state, shaky.told("recording.deleted")) == ("available", [])


def test_a_recording_that_is_deleted_before_it_is_stored_takes_its_file_with_it(
    shaky: House, faulty: Faulty, local_store: LocalStore
) -> None:
    file = shaky.talk()
    faulty.choose = Once("GET", "500")
    shaky.worker.drain()
    assert (local_store.data / key(file)).exists()
    assert delete(shaky.database, shaky.store, "acme", file.recording, "operator", shaky.now)
    shaky.worker.drain()
    assert shaky.left() == []
    assert not (local_store.data / key(file)).exists()
    assert shaky.told("recording.available") == []


def test_what_is_being_recorded_is_not_deleted(house: House) -> None:
    house.fact("recording.started", file := segment_file("acme", "c0ffee00-0000-4000-8000-000000000001", "1e9", 1))
    with pytest.raises(StillRecorded):
        delete(house.database, house.store, "acme", file.recording, "operator", house.now)
    assert house.segment(file).state == "started"
