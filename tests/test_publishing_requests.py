"""What people ask of the publisher: publish, roll back, pin; once, whole, told, by whom and why.  And who may not."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, MutableMapping
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from callcontrol import asking, history, outcomes, publishing
from callcontrol.asking import Answer, Request
from callcontrol.outcomes import Moment, Outcome, Taken
from callcontrol.published import Published
from callcontrol.publishing import Publisher, answer_requests, prune_speech, publish
from callcontrol.routing.load import load_compiled
from callcontrol.routing.packing import program
from callcontrol.speech import SpeechStore, hash_of, hashes
from callcontrol.supervisor import process_name
from callcontrol.versions import VersionStore
from tests.releases import asked, publish_yes, request
from tests.test_publishing import BETA, change, grow_old

NUMBER = "+74957654321"
Logs = list[MutableMapping[str, Any]]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "routing").mkdir()
    (tmp_path / "routing/beta.yaml").write_text(BETA)
    (tmp_path / "routing/gamma.yaml").write_text(BETA.replace("Beta", "Gamma").replace(NUMBER, "+74950000001"))
    return tmp_path / "routing"


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    store = VersionStore(tmp_path / "state")
    (store.state / "requests").mkdir(parents=True)
    return store


@pytest.fixture
def publisher(directory: Path, store: VersionStore) -> Publisher:
    return Publisher(directory, store)


def outcome_of(store: VersionStore) -> Outcome:
    found = outcomes.read_outcome(store.state)
    assert found is not None
    return found


def become(directory: Path, store: VersionStore, verdict: str, company: str = "beta") -> str:
    """Publish a company whose callers are told so; its version."""
    text = (directory / f"{company}.yaml").read_text()
    old = text.rpartition("hangup: ")[2].partition("}")[0]
    (directory / f"{company}.yaml").write_text(text.replace(f"hangup: {old}", f"hangup: {verdict}"))
    return publish(directory, store).live[company]


class TestPublishing:
    def test_a_plan_says_all_of_it_and_changes_nothing(
        self, directory: Path, store: VersionStore, publisher: Publisher
    ) -> None:
        before = publish(directory, store)
        change(directory / "beta.yaml", NUMBER, "+74957654322")
        (directory / "gamma.yaml").unlink()
        plan = asked(publisher, request("plan"))
        assert plan.changes["beta"][0] == before.live["beta"]
        assert plan.changes["gamma"] == (before.live["gamma"], "")
        assert list(plan.needs.values()) == ["gamma takes no more calls (+74950000001): its file is gone"]
        assert plan.lines == ("beta gets +74957654322", f"beta gives up {NUMBER}")
        assert outcomes.read_outcome(store.state) == before
        assert {name: store.current(name) for name in ("beta", "gamma")} == before.live

    def test_what_was_said_yes_to_is_done_and_recorded(
        self, directory: Path, store: VersionStore, publisher: Publisher
    ) -> None:
        before = publish(directory, store)
        (directory / "gamma.yaml").unlink()
        plan = asked(publisher, request("plan"))
        held = asked(publisher, request("publish"))
        assert (held.errors, held.changes) == (1, {})
        assert outcome_of(store).live == before.live
        wanted = request("publish", by="anna", why="Gamma has left us", confirmed=list(plan.needs))
        done = asked(publisher, wanted)
        assert done.changes == {"gamma": (before.live["gamma"], "")}
        assert outcome_of(store).live == {"beta": before.live["beta"]}
        assert store.current("gamma") is None
        record = history.read(store.state)[-1]
        assert (record.how, record.by, record.why, record.request) == (
            "publish",
            "anna",
            "Gamma has left us",
            wanted.id,
        )
        assert (record.serial, record.changes) == (done.serial, {"gamma": (before.live["gamma"], "")})

    def test_only_the_companies_that_were_named_change(
        self, directory: Path, store: VersionStore, publisher: Publisher
    ) -> None:
        before = publish(directory, store)
        change(directory / "beta.yaml", "busy", "declined")
        change(directory / "gamma.yaml", "busy", "bussy")
        (directory / "new.yaml").write_text(BETA.replace(NUMBER, "+74950000009"))
        done = asked(publisher, request("publish", "beta"))
        assert ([*done.changes], done.errors) == (["beta"], 0)
        assert outcome_of(store).live["gamma"] == before.live["gamma"]
        assert publish(directory, store).live.keys() == {
            "beta",
            "gamma",
            "new",
        }  # and nothing was forgotten of the rest

    def test_a_company_that_is_none_is_refused(
        self, directory: Path, store: VersionStore, publisher: Publisher
    ) -> None:
        before = publish(directory, store)
        assert asked(publisher, request("publish", "acne")).refused == f"there is no company acne in {directory}"
        shutil.rmtree(directory)
        assert "cannot be read" in asked(publisher, request("publish")).refused
        assert outcomes.read_outcome(store.state) == before

    def test_what_is_on_disk_changes_between_the_plan_and_the_yes(
        self, directory: Path, store: VersionStore, publisher: Publisher
    ) -> None:
        """A yes to one number is none to another."""
        before = publish(directory, store)
        (directory / "gamma.yaml").unlink()
        change(
            directory / "beta.yaml",
            f'"{NUMBER}": {{flow: reception}}',
            f'"{NUMBER}": {{flow: reception}}\n  "+74950000001": {{flow: reception}}',
        )
        plan = asked(publisher, request("plan"))
        (directory / "new.yaml").write_text(BETA.replace(NUMBER, "+74950000001"))
        change(directory / "beta.yaml", '\n  "+74950000001": {flow: reception}', "")
        done = asked(publisher, request("publish", confirmed=list(plan.needs)))
        assert "E522" in done.problems[0]
        assert outcome_of(store).live == before.live

    def test_what_was_not_shown_does_not_go_live(
        self, directory: Path, store: VersionStore, publisher: Publisher
    ) -> None:
        before = publish(directory, store)
        change(directory / "beta.yaml", "busy", "declined")
        plan = asked(publisher, request("plan"))
        shown = {company: new for company, (_, new) in plan.changes.items()}
        change(directory / "gamma.yaml", "busy", "declined")
        refused = asked(publisher, request("publish", shown=shown)).refused
        assert refused.startswith("what would become of gamma is not what was shown: files were changed meanwhile")
        assert outcomes.read_outcome(store.state) == before
        change(directory / "gamma.yaml", "declined", "busy")
        asked(publisher, request("publish", "beta"))  # somebody else is quicker, with what was shown
        done = asked(publisher, request("publish", shown=shown))
        assert (done.refused, done.changes) == ("", {})

    def test_a_version_that_stays_live_and_is_damaged_is_told(
        self, directory: Path, store: VersionStore, publisher: Publisher
    ) -> None:
        first = publish(directory, store).live["beta"]
        become(directory, store, "declined")
        asked(publisher, request("rollback", "beta"))
        path = store.state / "versions/beta" / first
        whole = path.read_bytes()
        path.write_bytes(b"damaged")
        for _ in range(2):
            codes = {found.code: found.message for found in publish(directory, store, how="reload").problems}
            assert codes.keys() == {"E525", "W538"}
            assert codes["E525"].startswith(f"version {first}, by which beta goes on, is damaged in {store.state}: ")
        assert asked(publisher, request("publish", "gamma")).problems == ()
        change(directory / "beta.yaml", "declined", "busy")  # says the same, and so brings it back
        assert publish(directory, store, how="reload").problems == ()
        assert path.read_bytes() == whole


class TestRollingBack:
    def test_the_version_before_is_live_and_pinned(
        self, directory: Path, store: VersionStore, publisher: Publisher
    ) -> None:
        first, second = publish(directory, store).live["beta"], become(directory, store, "declined")
        text = (directory / "beta.yaml").read_text()
        done = asked(publisher, request("rollback", "beta", by="anna", why="callers are lost"))
        assert done.changes == {"beta": (second, first)}
        outcome = outcome_of(store)
        assert (outcome.live["beta"], store.current("beta")) == (first, first)
        pin = outcome.pins["beta"]
        assert (pin.version, pin.by, pin.why) == (first, "anna", "callers are lost")
        assert (directory / "beta.yaml").read_text() == text
        published = Published(store)
        published.load()
        assert published.find(NUMBER, None)[0].version == first

    def test_starts_and_reloads_leave_it_alone_until_it_is_published_by_name(
        self, directory: Path, store: VersionStore, publisher: Publisher
    ) -> None:
        first, second = publish(directory, store).live["beta"], become(directory, store, "declined")
        asked(publisher, request("rollback", "beta"))
        for how in ("start", "reload"):
            change(
                directory / "gamma.yaml",
                "busy" if how == "start" else "declined",
                "declined" if how == "start" else "busy",
            )
            before = outcome_of(store)
            outcome = publish(directory, store, how=how)
            assert (outcome.live["beta"], [found.code for found in outcome.problems]) == (first, ["W538"])
            assert outcome.live["gamma"] != before.live["gamma"]
        assert asked(publisher, request("publish")).changes == {}
        done = asked(publisher, request("publish", "beta"))
        assert done.changes == {"beta": (first, second)}
        assert done.lines[0].startswith(f"beta is not pinned any more: it was pinned to version {first} by anna since ")
        assert outcome_of(store).pins == {}
        assert history.read(store.state)[-1].released == ("beta",)

    def test_a_yes_to_an_offer_ends_a_pin(self, directory: Path, store: VersionStore, publisher: Publisher) -> None:
        first, second = publish(directory, store).live["beta"], become(directory, store, "declined")
        asked(publisher, request("rollback", "beta", why="callers are lost"))
        change(directory / "gamma.yaml", "busy", "declined")
        plan = asked(publisher, request("plan"))
        assert [*plan.changes] == ["gamma"]
        assert plan.offers["beta"].startswith(f"pinned to version {first} by anna since ")
        assert plan.offers["beta"].endswith(f"(callers are lost); its file would make it version {second}")
        done = asked(publisher, request("publish", unpinned=["beta"]))
        assert [*done.changes] == ["beta", "gamma"]
        assert (outcome_of(store).pins, history.read(store.state)[-1].released) == ({}, ("beta",))

    def test_a_file_that_is_wrong_does_not_release_it(
        self, directory: Path, store: VersionStore, publisher: Publisher
    ) -> None:
        first = publish(directory, store).live["beta"]
        become(directory, store, "declined")
        asked(publisher, request("rollback", "beta"))
        change(directory / "beta.yaml", "declined", "bussy")
        assert asked(publisher, request("publish", "beta")).errors == 1
        assert outcome_of(store).pins["beta"].version == outcome_of(store).live["beta"] == first

    def test_each_further_one_goes_one_further_back(
        self, directory: Path, store: VersionStore, publisher: Publisher
    ) -> None:
        versions = [publish(directory, store).live["beta"]]
        versions += [become(directory, store, verdict) for verdict in ("declined", "congestion")]
        for version in (versions[1], versions[0]):
            asked(publisher, request("rollback", "beta"))
            assert outcome_of(store).live["beta"] == version
        assert asked(publisher, request("rollback", "beta")).refused.startswith("beta has no version before this one")

    def test_one_is_named_by_its_beginning(self, directory: Path, store: VersionStore, publisher: Publisher) -> None:
        first, second = publish(directory, store).live["beta"], become(directory, store, "declined")
        become(directory, store, "congestion")
        asked(publisher, request("rollback", "beta", version=first[:6]))
        assert outcome_of(store).live["beta"] == first
        asked(publisher, request("rollback", "beta", version=first))  # what it has: the pin alone is new
        assert outcome_of(store).live["beta"] == first
        missing = asked(publisher, request("rollback", "beta", version="0000000"))
        assert missing.refused.startswith("beta has no version that begins with 0000000; there are: ")
        assert {first, second} < set(missing.refused.replace(",", "").split())

    def test_a_beginning_of_several_is_refused(
        self, directory: Path, store: VersionStore, publisher: Publisher
    ) -> None:
        publish(directory, store)
        for name in ("aa11111111111111", "aa22222222222222"):
            (store.state / "versions/beta" / name).write_bytes(b"x")
        refused = asked(publisher, request("rollback", "beta", version="aa")).refused
        assert refused == "several versions of beta begin with aa: aa11111111111111, aa22222222222222"
        assert "cannot be used by this program" in asked(publisher, request("rollback", "beta", version="aa1")).refused

    def test_a_company_that_was_never_there_is_refused(self, store: VersionStore, publisher: Publisher) -> None:
        assert asked(publisher, request("rollback", "acme")).refused == "nothing was ever published of a company acme"

    def test_one_that_was_withdrawn_comes_back(
        self, directory: Path, store: VersionStore, publisher: Publisher
    ) -> None:
        first = publish(directory, store).live["beta"]
        (directory / "beta.yaml").unlink()
        publish_yes(directory, store)
        asked(publisher, request("rollback", "beta"))
        assert publish(directory, store).live["beta"] == store.current("beta") == first

    def test_a_version_whose_number_is_anothers_by_now_is_refused(
        self, directory: Path, store: VersionStore, publisher: Publisher
    ) -> None:
        first = publish(directory, store).live["beta"]
        change(directory / "beta.yaml", NUMBER, "+74957654322")
        change(directory / "gamma.yaml", "+74950000001", NUMBER)
        before = publish_yes(directory, store)
        refused = asked(publisher, request("rollback", "beta", version=first)).refused
        assert refused == (f"{NUMBER} of version {first} of beta belongs to gamma now: publish gamma without it first")
        assert outcome_of(store).live == before.live

    def test_a_version_whose_speech_is_gone_is_refused(
        self, directory: Path, store: VersionStore, publisher: Publisher
    ) -> None:
        speech, voice = SpeechStore(store.state), {"en": "amy"}

        def render(*given: Any) -> publishing.Rendered:
            for name in hashes(replace(given[0], voices=voice)):
                speech.unborn(name).write_bytes(b"x" * 100)
                speech.add(name, "en", "said")
            return publishing.NothingRendered(voices=voice)

        first = publish(directory, store, render=render).live["beta"]
        change(directory / "beta.yaml", "busy", "declined")
        second = publish(directory, store, render=render).live["beta"]
        name = min(hashes(load_compiled(store.get("beta", first) or b"")))
        speech.path(name).unlink()
        refused = asked(publisher, request("rollback", "beta")).refused
        assert refused.startswith(f"version {first} of beta has 1 texts or sounds whose files are not there any more")
        assert outcome_of(store).live["beta"] == second

    def test_no_file_is_read_for_it(self, directory: Path, store: VersionStore, publisher: Publisher) -> None:
        """What is wrong in the directory does not keep anybody from going back."""
        first = publish(directory, store).live["beta"]
        become(directory, store, "declined")
        shutil.rmtree(directory)
        asked(publisher, request("rollback", "beta"))
        assert outcome_of(store).live["beta"] == first

    def test_a_new_program_can_read_it_at_once(
        self, directory: Path, store: VersionStore, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = publish(directory, store).live["beta"]
        become(directory, store, "declined")
        monkeypatch.setattr(publishing, "program", lambda: "0" * 12)
        asked(publisher, request("rollback", "beta"))
        assert store.derived("beta", first, "0" * 12) is not None

    def test_a_lost_outcome_does_not_lose_the_pin(
        self, directory: Path, store: VersionStore, publisher: Publisher
    ) -> None:
        first = publish(directory, store).live["beta"]
        become(directory, store, "declined")
        serial = asked(publisher, request("rollback", "beta", why="lost")).serial
        (store.state / "published.json").write_bytes(b"")
        outcome = publish(directory, store)
        assert (outcome.live["beta"], outcome.pins["beta"].why) == (first, "lost")
        assert outcome.serial == serial + 1

    def test_after_a_lost_outcome_no_process_seems_to_have_what_it_never_saw(
        self, directory: Path, store: VersionStore
    ) -> None:
        """Publications that changed nothing stand in no history."""
        publish(directory, store)
        outcomes.acknowledge(store.state, process_name(), Taken(57))
        (store.state / "published.json").write_bytes(b"")
        assert publish(directory, store).serial == 58


class TestWhatIsKept:
    def test_the_last_versions_and_pinned_ones_stay_and_older_ones_go(
        self, directory: Path, store: VersionStore, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(publishing, "KEPT", 3)
        versions = [publish(directory, store).live["beta"]]
        versions += [become(directory, store, verdict) for verdict in ("declined", "congestion")]
        grow_old(store, 30)
        versions.append(become(directory, store, "failure"))
        assert store.versions("beta") == sorted(versions[1:])
        asked(publisher, request("rollback", "beta", version=versions[1]))
        grow_old(store, 30)
        become(directory, store, "declined", "gamma")
        assert store.versions("beta") == sorted(versions[1:])

    def test_speech_that_no_stored_version_names_goes_once_a_day(
        self, directory: Path, store: VersionStore, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        live = publish(directory, store, render=lambda *_: publishing.NothingRendered(voices={"en": "amy"})).live
        named = min(hashes(load_compiled(store.get("beta", live["beta"]) or b"")))
        speech, lost = SpeechStore(store.state), hash_of("amy", "en", "Nobody says this any more.")
        for name in (named, lost):
            speech.unborn(name).write_bytes(b"x" * 100)
            speech.add(name, "en", "said")
            os.utime(speech.path(name), (time.time() - 3 * 86_400,) * 2)
        told = store.state / "versions/swept.json"

        def sweep(days_ago: float, program: str = program()) -> list[str]:
            told.write_text(json.dumps({"program": program, "at": time.time() - days_ago * 86_400}))
            return prune_speech(store, 86_400.0)

        assert sweep(2, program="0" * 12) == []  # processes of that one may still run
        assert sweep(0.5) == []
        assert sweep(-2) == []  # the clock was set
        (store.state / "versions/gamma" / live["gamma"]).write_bytes(b"damaged")
        (store.state / "versions/gamma" / f"{live['gamma']}.{program()}").unlink()
        assert sweep(2) == []  # what it says is not known
        (store.state / "versions/gamma" / live["gamma"]).unlink()
        assert sweep(2) == [lost]
        assert (speech.has(named), speech.has(lost)) == (True, False)

    def test_publishing_sweeps(self, directory: Path, store: VersionStore, monkeypatch: pytest.MonkeyPatch) -> None:
        kept: list[float] = []
        monkeypatch.setattr(publishing, "prune_speech", lambda _, keep: kept.append(keep))
        publish(directory, store, keep=7.0)
        assert kept == [7.0]


# ------------------------------------------------------------------------------------ killed at any moment


class Dead(BaseException):
    """A kill -9, as far as a process can be its own witness."""


def die(*_: Any, **__: Any) -> None:
    raise Dead


def after(what: Callable[..., Any]) -> Callable[..., None]:
    def done(*given: Any, **more: Any) -> None:
        what(*given, **more)
        raise Dead

    return done


ADD = history.add


def die_at_a_request(state: Path, record: history.Record) -> None:
    if record.request:
        raise Dead
    ADD(state, record)


BEFORE_IT_COUNTS: dict[str, tuple[Any, str, Any]] = {
    "reading the request": (asking, "_judged", die),
    "storing": (VersionStore, "put", die),
    "pointing": (VersionStore, "publish", after(VersionStore.publish)),
    "telling the switch": (Publisher, "announce", die),
    "saying": (outcomes, "write_outcome", die),
}
SINCE_IT_COUNTS: dict[str, tuple[Any, str, Any]] = {
    "said": (outcomes, "write_outcome", after(outcomes.write_outcome)),
    "the history": (history, "add", die_at_a_request),
    "remembering": (publishing._Publication, "_remember", die),
    "pruning": (VersionStore, "prune", die),
    "answering": (asking, "answer", die),
    "answered": (asking, "_write_answer", after(asking._write_answer)),
}


@pytest.mark.parametrize("moment", [*BEFORE_IT_COUNTS, *SINCE_IT_COUNTS])
@pytest.mark.parametrize("verb", ["publish", "rollback"])
def test_a_publisher_that_dies_at_any_moment_has_done_it_wholly_or_not_at_all_and_once(
    directory: Path, store: VersionStore, monkeypatch: pytest.MonkeyPatch, moment: str, verb: str
) -> None:
    publish(directory, store)
    become(directory, store, "declined")
    change(directory / "beta.yaml", "declined", "congestion")
    before = outcome_of(store)
    calls: list[object] = []
    publisher = Publisher(directory, store, announce=calls.append)
    wanted = request(verb, "beta", why="the reason")
    asking.leave(store.state, wanted)
    where, name, act = {**BEFORE_IT_COUNTS, **SINCE_IT_COUNTS}[moment]
    with monkeypatch.context() as patch:
        if name == "announce":
            publisher = replace(publisher, announce=act)
        else:
            patch.setattr(where, name, act)
        if moment == "storing" and verb == "rollback":
            return  # it stores nothing
        with pytest.raises(Dead):
            answer_requests(publisher)
    published = Published(store)
    published.load()
    found = published.find(NUMBER, None)[0].version
    done = outcome_of(store)
    if moment in BEFORE_IT_COUNTS:
        assert (found, done) == (before.live["beta"], before)
    else:
        assert found == done.live["beta"] != before.live["beta"]
        assert done.record is not None
        assert (done.record.request, "beta" in done.pins) == (wanted.id, verb == "rollback")
    answer_requests(replace(publisher, announce=calls.append))  # the next publisher
    assert store.current("beta") == outcome_of(store).live["beta"]
    assert outcome_of(store).serial == before.serial + 1
    mine = [record for record in history.read(store.state, outcome_of(store).record) if record.request == wanted.id]
    assert len(mine) == 1
    answer = asking.answer_to(store.state, wanted)
    assert answer is not None
    assert (answer.serial, answer.refused) == (before.serial + 1, "")
    assert [*answer.changes] == ["beta"]
    publish(directory, store, how="reload")
    assert len(history.read(store.state)) == len({record.serial for record in history.read(store.state)}) == 3
    assert len([record for record in history.read(store.state) if record.request == wanted.id]) == 1


@pytest.mark.parametrize("moment", [*BEFORE_IT_COUNTS, *SINCE_IT_COUNTS])
def test_a_pin_survives_a_reload_that_dies(
    directory: Path, store: VersionStore, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    first = publish(directory, store).live["beta"]
    become(directory, store, "declined")
    asked(publisher, request("rollback", "beta"))
    change(directory / "beta.yaml", "declined", "congestion")
    change(directory / "gamma.yaml", "busy", "declined")
    where, name, act = {**BEFORE_IT_COUNTS, **SINCE_IT_COUNTS}[moment]
    with monkeypatch.context() as patch:
        if name == "announce":
            publisher = replace(publisher, announce=act)
        else:
            patch.setattr(where, name, act)
        if where is not asking:
            with pytest.raises(Dead):
                publisher.publish("reload")
    assert outcome_of(store).live["beta"] == first
    assert publish(directory, store).live["beta"] == first
    assert outcome_of(store).pins["beta"].version == first


def test_a_full_disk_after_the_moment_that_counts_is_no_failure(
    directory: Path, store: VersionStore, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, logs: Logs
) -> None:
    publish(directory, store)

    def full(state: Path, record: history.Record) -> None:
        if record.serial == 2:
            raise OSError(28, "No space left on device")

    change(directory / "beta.yaml", "busy", "declined")
    with monkeypatch.context() as patch:
        patch.setattr(history, "add", full)
        done = publisher.do(request("publish"))
        assert "published, and not all is tidied up" in [line["event"] for line in logs]
    assert outcome_of(store).serial == done.serial == 2
    publish(directory, store)
    assert [record.serial for record in history.read(store.state)] == [1, 2]


@pytest.mark.parametrize("verb", ["publish", "rollback"])
def test_a_disk_that_is_full_at_any_write_leaves_all_of_it_or_nothing_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    put, kinds = Path.replace, set()
    for full in range(100):
        root = tmp_path / str(full)
        (root / "routing").mkdir(parents=True)
        (root / "state/requests").mkdir(parents=True)
        (root / "routing/beta.yaml").write_text(BETA)
        store = VersionStore(root / "state")
        first = publish(root / "routing", store).live["beta"]
        second = become(root / "routing", store, "declined")
        publisher, wanted, writes = Publisher(root / "routing", store), request(verb, "beta"), 0
        change(root / "routing/beta.yaml", "declined", "congestion")
        asking.leave(store.state, wanted)

        def replace(self: Path, target: Path, full: int = full) -> Path:
            nonlocal writes
            writes += 1
            if writes == full + 1:
                raise OSError(28, "No space left on device", str(target))
            return put(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", replace)
            failed = False
            try:
                answer_requests(publisher)
            except OSError:
                failed = True
        answer = asking.answer_to(store.state, wanted)
        live, done = outcome_of(store).live["beta"], outcome_of(store).serial == 3
        assert (live == second) != done
        assert done or (failed and answer is None), full
        kinds.add((failed, done))
        assert list(store.state.rglob(".new-*")) == []
        answer_requests(publisher)  # there is room again
        answer = asking.answer_to(store.state, wanted)
        assert answer is not None
        assert (answer.serial, outcome_of(store).serial, answer.refused) == (3, 3, "")
        assert (outcome_of(store).live["beta"] == first) == (verb == "rollback")
        assert [record.request for record in history.read(store.state, outcome_of(store).record)][-1] == wanted.id
        if writes <= full:
            break
    assert kinds == {(True, False), (True, True), (False, True)}


def test_a_full_disk_is_told_with_its_place(
    directory: Path, store: VersionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publishing, "die_with_parent", lambda _: None)
    monkeypatch.setattr(os, "nice", lambda _: None)
    monkeypatch.setattr("callcontrol.serving.configure_logs", lambda: None)
    monkeypatch.setattr(Publisher, "publish", full)
    config = SimpleNamespace(voices={}, music={}, longest_call=1.0)
    monkeypatch.setattr(publishing, "_config", lambda *_: (config, ""))
    line = publishing.command(
        directory, directory, store.state, tmp_path / "cordboard.yaml", "cordboard.test", os.getppid()
    )
    assert publishing.main(line[line.index("callcontrol.publishing") + 1 :]) == 3
    assert capsys.readouterr().out == f"{store.state}: No space left on device\n"


# ------------------------------------------------------------------------------------- files that are none


def refusals(store: VersionStore) -> dict[str, str]:
    told: dict[str, str] = {}
    assert asking.waiting(store.state, told.__setitem__) == []
    return told


def written(store: VersionStore, wanted: Request, **more: object) -> Path:
    path = store.state / "requests" / f"{wanted.id}.request"
    path.write_text(json.dumps({**asdict(wanted), **more}))
    path.chmod(0o600)
    return path


def test_requests_are_done_in_the_order_in_which_they_were_asked(store: VersionStore) -> None:
    every = [request("publish", "beta") for _ in range(5)]
    for one in reversed(every):
        asking.leave(store.state, one)
    assert [one.id for one in asking.waiting(store.state, print)] == [one.id for one in every]


def test_two_at_a_time_are_both_done(directory: Path, store: VersionStore, publisher: Publisher) -> None:
    first = publish(directory, store).live
    for company in ("beta", "gamma"):
        change(directory / f"{company}.yaml", "busy", "declined")
    both = [request("publish", "beta", by="anna"), request("publish", "gamma", by="boris")]
    for one in both:
        asking.leave(store.state, one)
    answer_requests(publisher)
    assert [list(answer.changes) for one in both if (answer := asking.answer_to(store.state, one))] == [
        ["beta"],
        ["gamma"],
    ]
    assert [record.by for record in history.read(store.state)] == ["", "anna", "boris"]
    assert all(outcome_of(store).live[company] != first[company] for company in first)


def test_one_that_is_withdrawn_while_another_is_done_is_not_done(
    directory: Path, store: VersionStore, logs: Logs
) -> None:
    first = publish(directory, store).live
    for company in ("beta", "gamma"):
        change(directory / f"{company}.yaml", "busy", "declined")
    both = [request("publish", "beta"), request("publish", "gamma")]
    for one in both:
        asking.leave(store.state, one)
    answer_requests(Publisher(directory, store, announce=lambda _: asking.withdraw(store.state, both[1])))
    assert outcome_of(store).live["beta"] != first["beta"]
    assert outcome_of(store).live["gamma"] == first["gamma"]
    assert "who asked gave up, or is gone" in [line.get("why") for line in logs]


def test_a_request_that_is_being_written_is_left_alone(store: VersionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = request("publish")
    finish = Path.replace

    def meanwhile(self: Path, target: Path) -> Path:
        assert refusals(store) == {}
        return finish(self, target)

    monkeypatch.setattr(Path, "replace", meanwhile)
    asking.leave(store.state, wanted)
    assert [one.id for one in asking.waiting(store.state, print)] == [wanted.id]


HOSTILE: dict[str, dict[str, object]] = {
    "another id": {"id": "0" * 16},
    "another verb": {"verb": "delete"},
    "no verb": {"verb": None},
    "a path": {"companies": ["../etc"]},
    "no list": {"companies": "beta"},
    "no names": {"companies": [["beta"]]},
    "too many": {"companies": ["beta"] * 10_001},
    "a version that is none": {"verb": "rollback", "companies": ["beta"], "version": "../current"},
    "nobody rolled back": {"verb": "rollback", "companies": []},
    "two rolled back": {"verb": "rollback", "companies": ["beta", "gamma"]},
    "a terminal moved": {"why": "\x1b[2J"},
    "a long reason": {"why": "x" * 501},
    "no reason": {"why": None},
    "yes to what is no text": {"confirmed": [1]},
    "an end of a pin that is none": {"unpinned": ["../etc"]},
    "an end of one pin": {"unpinned": "beta"},
    "shown what is no version": {"shown": {"beta": "../current"}},
    "shown what is none": {"shown": ["beta"]},
    "shown a number": {"shown": {"beta": 1}},
    "no moment": {"asked": 3},
    "a moment that is none": {"until": {"boot": "x", "seconds": "soon"}},
    "for ever": {"until": {"boot": "x", "seconds": 1e300}},
    "not a number": {"until": {"boot": "x", "seconds": float("nan")}},
    "more than there is": {"sudo": True},
}


@pytest.mark.parametrize("what", [*HOSTILE])
def test_a_request_that_nothing_of_ours_wrote_is_refused_told_and_gone(store: VersionStore, what: str) -> None:
    wanted = request("publish", "beta")
    path = written(store, wanted, **HOSTILE[what])
    assert refusals(store) == {path.name: "it is no request"}
    assert not path.exists()
    assert asking.answer_to(store.state, wanted) == Answer(refused="it is no request")


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"null", b'{"id": 1}'])
def test_a_damaged_request_is_refused(store: VersionStore, raw: bytes) -> None:
    path = store.state / "requests" / f"{'a' * 16}.request"
    path.write_bytes(raw)
    path.chmod(0o600)
    assert refusals(store) == {path.name: "it is no request"}
    assert not path.exists()


def test_a_request_that_is_no_file_of_ours_is_refused(store: VersionStore, tmp_path: Path) -> None:
    folder = store.state / "requests"
    others = [f"{letter * 16}.request" for letter in "abcdef"]
    real = written(store, request("publish"))
    (folder / others[0]).symlink_to(real)
    os.mkfifo(folder / others[1])
    (folder / others[2]).write_bytes(b"x" * (asking.LARGEST + 1))
    (folder / others[2]).chmod(0o600)
    (folder / others[3]).write_text("{}")
    (folder / others[3]).chmod(0o666)
    (folder / "..x.request").write_text("{}")
    (folder / others[4]).mkdir()
    told: dict[str, str] = {}
    assert [f"{one.id}.request" for one in asking.waiting(store.state, told.__setitem__)] == [real.name]
    assert "it cannot be read" in told[others[0]]
    assert told[others[1]] == "it is not a regular file"
    assert told[others[2]].startswith("it is longer than")
    assert told[others[3]] == "somebody else than the server's user and root could have written it"
    assert told["..x.request"] == "its name is none that a request can have"
    assert others[4] in told
    left = {name for name in os.listdir(folder) if name.endswith(".request")}
    assert left == {real.name, others[4]}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_request_of_another_user_is_refused_and_one_of_root_is_the_servers(store: VersionStore) -> None:
    wanted = request("publish")
    path = written(store, wanted)
    os.chown(path, 12345, 12345)
    assert refusals(store) == {path.name: "somebody else than the server's user and root could have written it"}
    os.chown(store.state / "requests", 12345, 12345)
    asking.leave(store.state, wanted)
    assert path.stat().st_uid == 12345


def test_a_request_lives_as_long_as_who_asked_and_as_its_time(store: VersionStore) -> None:
    now = outcomes.now()
    early = Moment(now.boot, now.seconds - 10.0)
    for more, why in (
        ({"asker": process_name() + "0"}, "who asked is gone; ask again"),
        ({"asked": asdict(early), "until": asdict(Moment(now.boot, now.seconds - 5.0))}, "its time is over; ask again"),
        ({"asked": asdict(Moment("another boot", 1.0))}, "its time is over; ask again"),
        (
            {"asked": asdict(Moment(now.boot, now.seconds + 60)), "until": asdict(Moment(now.boot, now.seconds + 90))},
            "its time is over; ask again",
        ),
    ):
        wanted = request("publish")
        path = written(store, wanted, **more)
        assert refusals(store) == {path.name: why}
        assert asking.answer_to(store.state, wanted) == Answer(refused=why)


def test_answers_that_nobody_fetched_go_after_a_day(store: VersionStore) -> None:
    wanted = request("plan")
    asking.answer(store.state, wanted, Answer(3))
    assert refusals(store) == {}
    assert asking.answer_to(store.state, wanted) == Answer(3)
    path = store.state / "requests" / f"{wanted.id}.answer"
    os.utime(path, (time.time() - 2 * 86_400,) * 2)
    assert refusals(store) == {}
    assert not path.exists()
