"""The publisher: mistakes never go live, what did not change is not parsed, nothing counts before the end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from callcontrol import outcomes, publishing
from callcontrol.outcomes import Outcome
from callcontrol.published import Published
from callcontrol.publishing import NothingRendered, Rendered, publish
from callcontrol.routing.codes import problem
from callcontrol.routing.files import load_file
from callcontrol.routing.load import Beside, Loaded, LoadError, load_compiled
from callcontrol.routing.model import Place, Routing
from callcontrol.routing.packing import program
from callcontrol.versions import VersionStore

ROUTING = Path(__file__).parent.parent / "routing"
BETA = """\
cordboard: 1
company: Beta
country: RU
timezone: Europe/Moscow
languages: [en]
numbers:
  "+74957654321": {flow: reception}
flows:
  reception:
    bye: {hangup: busy}
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    shutil.copytree(ROUTING, tmp_path / "routing")
    (tmp_path / "routing/beta.yaml").write_text(BETA)
    return tmp_path / "routing"


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    return VersionStore(tmp_path / "state")


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The companies that were parsed; clear it to begin anew."""
    found: list[str] = []

    def noted(file: Path, raw: bytes, sounds: frozenset[str], beside: Sequence[Beside]) -> Loaded:
        found.append(file.stem)
        return load_file(file, raw, sounds, beside)

    monkeypatch.setattr(publishing, "load_file", noted)
    return found


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def codes(outcome: Outcome) -> list[str]:
    return [found.code for found in outcome.problems]


class TestWhatIsParsed:
    def test_only_files_that_changed(self, directory: Path, store: VersionStore, parsed: list[str]) -> None:
        first = publish(directory, store)
        assert parsed == ["acme", "beta"]
        parsed.clear()
        change(directory / "beta.yaml", "busy", "declined")
        second = publish(directory, store)
        assert parsed == ["beta"]
        assert second.live["acme"] == first.live["acme"]
        assert second.live["beta"] != first.live["beta"]
        assert second.serial == first.serial + 1

    def test_a_company_whose_sounds_changed(self, directory: Path, store: VersionStore, parsed: list[str]) -> None:
        publish(directory, store)
        parsed.clear()
        (directory / "sounds/acme/night.wav").unlink()
        outcome = publish(directory, store)
        assert parsed == ["acme"]
        assert "E209" in codes(outcome)

    def test_everything_when_the_operators_music_changed(
        self, directory: Path, store: VersionStore, parsed: list[str], tmp_path: Path
    ) -> None:
        music = {"moh": tmp_path / "our.wav"}
        publish(directory, store, music=music)
        parsed.clear()
        publish(directory, store, music=music)
        assert parsed == []
        music["moh"].write_bytes(b"x")
        publish(directory, store, music=music)
        assert parsed == ["acme", "beta"]

    def test_everything_when_voices_or_the_program_changed(
        self, directory: Path, store: VersionStore, parsed: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(directory, store, voices={"en": "amy"})
        parsed.clear()
        publish(directory, store, voices={"en": "joe"})
        assert parsed == ["acme", "beta"]
        publish(directory, store, voices={"en": "joe"})
        assert parsed == ["acme", "beta"]
        parsed.clear()
        monkeypatch.setattr(publishing, "program", lambda: "0" * 12)
        publish(directory, store, voices={"en": "joe"})
        assert parsed == ["acme", "beta"]

    @pytest.mark.parametrize("ending", ["", f".{program()}"])
    @pytest.mark.parametrize("damage", ["gone", "damaged"])
    def test_a_company_whose_stored_version_is_not_whole(
        self, directory: Path, store: VersionStore, parsed: list[str], ending: str, damage: str
    ) -> None:
        version = publish(directory, store).live["acme"]
        parsed.clear()
        file = store.state / "versions/acme" / (version + ending)
        file.write_bytes(b"x") if damage == "damaged" else file.unlink()
        publish(directory, store)
        if ending and damage == "damaged":  # whoever reads it finds that out, and mends it
            assert parsed == []
        else:
            assert parsed == ["acme"]
            assert len(file.read_bytes()) > 100

    def test_everything_when_what_was_remembered_is_damaged(
        self, directory: Path, store: VersionStore, parsed: list[str]
    ) -> None:
        first = publish(directory, store)
        for damage in (b"", b"[]", b'{"files": []}', b'{"files": {"x": 1}}'):
            parsed.clear()
            (store.state / "versions/index.json").write_bytes(damage)
            assert publish(directory, store).live == first.live
            assert parsed == ["acme", "beta"]
        index = json.loads((store.state / "versions/index.json").read_text())
        for entry in index["files"].values():
            entry["problems"] = [{"place": 3}]
        (store.state / "versions/index.json").write_text(json.dumps(index))
        parsed.clear()
        assert publish(directory, store).live == first.live
        assert parsed == ["acme", "beta"]

    def test_the_problems_of_a_file_that_was_not_parsed_again_are_told_again(
        self, directory: Path, store: VersionStore, parsed: list[str]
    ) -> None:
        change(directory / "beta.yaml", "hangup: busy", "hangup: bussy")
        first = publish(directory, store)
        parsed.clear()
        second = publish(directory, store)
        assert parsed == []
        assert first.problems == second.problems
        assert str(first.problems[0]).startswith(f"{directory}/beta.yaml:10:")

    def test_a_number_of_two_companies_is_found_when_only_one_was_parsed(
        self, directory: Path, store: VersionStore
    ) -> None:
        before = publish(directory, store)
        change(directory / "beta.yaml", "+74957654321", "+74951234567")
        outcome = publish(directory, store)
        assert codes(outcome) == ["E502"]
        assert outcome.live == before.live
        change(directory / "acme.yaml", "tries: 3", "tries: 4")  # now the mistake is in the file that did not change
        assert codes(publish(directory, store)) == ["E502"]


class TestRendering:
    @staticmethod
    def render(**given: Any) -> publishing.Render:
        def render(routing: Routing, sounds: Path, state: Path, voices: Mapping[str, Any]) -> Rendered:
            assert sounds.parts[-1] == "sounds"
            return NothingRendered(**given)

        return render

    def test_what_was_rendered_is_part_of_the_version(self, directory: Path, store: VersionStore) -> None:
        plain = publish(directory, store)
        (directory / "sounds/beta").mkdir()
        (directory / "sounds/beta/hi.wav").touch()
        spoken = publish(directory, store, render=self.render(sounds={"hi.wav": "1f"}, voices={"en": "amy"}))
        version = spoken.live["beta"]
        assert version != plain.live["beta"]
        routing = load_compiled(store.get("beta", version) or b"")
        assert (routing.version, routing.sounds, routing.voices) == (version, {"hi.wav": "1f"}, {"en": "amy"})
        published = Published(store)
        published.load()
        assert published.find("+74957654321", None)[0].sounds == {"hi.wav": "1f"}

    def test_what_cannot_be_rendered_does_not_go_live_and_is_tried_again(
        self, directory: Path, store: VersionStore, parsed: list[str]
    ) -> None:
        before = publish(directory, store)
        change(directory / "beta.yaml", "busy", "declined")
        mistake = problem("E310", Place(f"{directory}/beta.yaml", 1, 1), "no voice for it")
        outcome = publish(directory, store, render=self.render(problems=[mistake]))
        assert outcome.problems == (mistake,)
        assert outcome.live == before.live
        parsed.clear()
        assert publish(directory, store).live["beta"] != before.live["beta"]
        assert parsed == ["beta"]

    def test_a_warning_of_rendering_is_told_and_goes_live(self, directory: Path, store: VersionStore) -> None:
        before = publish(directory, store)
        change(directory / "beta.yaml", "busy", "declined")
        warning = problem("W505", Place(f"{directory}/beta.yaml", 1, 1), "a poor voice")
        outcome = publish(directory, store, render=self.render(problems=[warning]))
        assert outcome.problems == (warning,)
        assert outcome.live["beta"] != before.live["beta"]


class TestWhatGoesLive:
    def test_a_directory_without_companies_changes_nothing(self, directory: Path, store: VersionStore) -> None:
        before = publish(directory, store)
        for file in directory.glob("*.yaml"):
            file.unlink()
        with pytest.raises(LoadError, match="no company here"):
            publish(directory, store)
        shutil.rmtree(directory)
        with pytest.raises(LoadError, match="cannot be read"):
            publish(directory, store)
        assert outcomes.read_outcome(store.state) == before

    def test_a_second_file_for_a_company_does_not_put_it_back(self, directory: Path, store: VersionStore) -> None:
        before = publish(directory, store)
        shutil.copy(directory / "acme.yaml", directory / "acme.yml")
        change(directory / "acme.yaml", "tries: 3", "tries: 4")
        outcome = publish(directory, store)
        assert codes(outcome) == ["E119"]
        assert outcome.live["acme"] != before.live["acme"]

    @pytest.mark.parametrize("moment", ["parsing", "pointing", "saying"])
    def test_a_publisher_that_dies_changes_nothing_and_the_next_one_does_it_all(
        self, directory: Path, store: VersionStore, monkeypatch: pytest.MonkeyPatch, moment: str
    ) -> None:
        before = publish(directory, store)
        change(directory / "acme.yaml", "tries: 3", "tries: 4")
        change(directory / "beta.yaml", "busy", "declined")

        class Dead(BaseException):
            pass

        def die_at_beta(*given: Any) -> None:
            if "beta" in str(given) or moment == "saying":
                raise Dead
            publish_(*given)

        publish_ = store.publish
        where: tuple[Any, str] = {
            "parsing": (store, "put"),
            "pointing": (store, "publish"),
            "saying": (outcomes, "write_outcome"),
        }[moment]
        publish_ = getattr(*where)
        with monkeypatch.context() as patch:
            patch.setattr(*where, die_at_beta)
            with pytest.raises(Dead):
                publish(directory, store)
        published = Published(store)
        published.load()
        found = [published.find(number, None)[0] for number in ("+74951234567", "+74957654321")]
        assert {routing.company: routing.version for routing in found} == before.live
        change(directory / "acme.yaml", "tries: 4", "tries: nine")  # so what counts is what was live before
        after = publish(directory, store)
        assert after.live["acme"] == before.live["acme"] == store.current("acme")
        assert after.live["beta"] != before.live["beta"]

    def test_more_problems_than_anybody_reads_are_cut_and_errors_come_first(
        self, directory: Path, store: VersionStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        change(directory / "beta.yaml", "bye:", "lost: {hangup: busy}\n    lost2: {hangup: busy}\n    bye:")
        change(directory / "acme.yaml", "tries: 3", "tries: nine")
        assert sorted(codes(publish(directory, store))) == ["E305", "W501", "W501"]
        monkeypatch.setattr(outcomes, "MOST_PROBLEMS", 1)
        assert codes(publish(directory, store)) == ["E305", "W550"]


def grow_old(store: VersionStore, days: float) -> None:
    for path in (store.state / "versions").rglob("*"):
        os.utime(path, (time.time() - days * 86_400,) * 2)


def test_versions_that_nobody_needs_any_more_are_removed(
    directory: Path, store: VersionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = publish(directory, store).live["acme"]
    change(directory / "acme.yaml", "tries: 3", "tries: 4")
    publish(directory, store)
    monkeypatch.setattr(publishing, "KEPT", 1)
    folder = store.state / "versions/acme"
    assert {old, f"{old}.{program()}"} <= {path.name for path in folder.iterdir()}
    grow_old(store, 1.5)
    publish(directory, store, keep=2 * 86_400.0)
    assert store.get("acme", old) is not None
    store.used("acme", old)  # a call has it
    publish(directory, store)
    assert store.get("acme", old) is not None
    grow_old(store, 1.5)
    now = publish(directory, store).live["acme"]
    assert {path.name for path in folder.iterdir()} == {"current", now, f"{now}.{program()}"}


def test_the_process_publishes_and_dies_with_its_parent(directory: Path, store: VersionStore, tmp_path: Path) -> None:
    store.state.mkdir()
    given = ["--routing", str(directory), "--sounds", str(directory / "sounds"), "--state", str(store.state)]
    given += ["--config", str(tmp_path / "none.yaml"), "--domain", "pbx.test"]
    line = publishing.command(directory, directory / "sounds", store.state, tmp_path / "none.yaml", "pbx.test", 1)
    assert line[4:-4] == given
    line = [sys.executable, "-m", "callcontrol.publishing", *given, "--parent", "1"]  # whose child it is not
    assert subprocess.run(line, check=False).returncode == 3
    assert outcomes.read_outcome(store.state) is None


class TestRehearsals:
    FAILS = """\
Nobody calls at night:
  call: {from: "+79031234567", to: "+74951234567", at: 2026-11-24 23:10}
  path: [gate, clock, greet]
"""

    @staticmethod
    def beside(directory: Path, text: str) -> Path:
        file = directory / "rehearsals/acme/nights.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def test_one_that_fails_keeps_the_company_as_it_was_and_says_what_differed(
        self, directory: Path, store: VersionStore
    ) -> None:
        before = publish(directory, store)
        change(directory / "acme.yaml", "2: service, 9", "2: message, 9")
        change(directory / "beta.yaml", "busy", "declined")
        outcome = publish(directory, store)
        told = [found for found in outcome.problems if found.severity == "error"]
        assert [str(found).partition(": ")[2] for found in told] == [
            'E601 the rehearsal "Nobody in service, so on-call, so a message" fails: the call went another way: '
            "gate, clock, greet, message and not gate, clock, greet, service, message"
        ]
        assert told[0].place.path == str(directory / "acme.yaml")
        assert outcome.live["acme"] == before.live["acme"]
        assert outcome.live["beta"] != before.live["beta"]
        assert store.current("acme") == before.live["acme"]

    def test_one_in_a_file_beside_counts_as_well(self, directory: Path, store: VersionStore) -> None:
        file = self.beside(directory, self.FAILS)
        outcome = publish(directory, store)
        assert codes(outcome) == ["E601"]
        assert outcome.problems[0].place == Place(str(file), 1, 1)
        assert "acme" not in outcome.live

    def test_what_stands_beside_is_remembered_with_the_file(
        self, directory: Path, store: VersionStore, parsed: list[str]
    ) -> None:
        first = publish(directory, store)
        parsed.clear()
        self.beside(directory, self.FAILS)
        assert codes(publish(directory, store)) == ["E601"]
        assert codes(publish(directory, store)) == ["E601"]  # remembered
        assert parsed == ["acme"]
        self.beside(directory, self.FAILS.replace("greet", "night, message"))
        last = publish(directory, store)
        assert (codes(last), parsed) == ([], ["acme", "acme"])
        assert last.live == first.live  # they are no part of the version

    def test_a_mistake_in_a_file_beside_keeps_it_back_too(self, directory: Path, store: VersionStore) -> None:
        before = publish(directory, store)
        self.beside(directory, self.FAILS.replace("greet", "greeet"))
        outcome = publish(directory, store)
        assert codes(outcome) == ["E208"]
        assert outcome.live == before.live

    def test_thousands_are_walked_and_keep_nobody_waiting_for_long(self, directory: Path, store: VersionStore) -> None:
        good = self.FAILS.replace("greet", "night, message")
        self.beside(directory, "".join(good.replace("Nobody", f"Nobody {n}") for n in range(1_500)))
        began = time.monotonic()
        assert codes(publish(directory, store)) == []
        assert time.monotonic() - began < 60
