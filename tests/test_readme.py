"""The README says what the commands say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from callcontrol.cli import main
from callcontrol.steps import VERBS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def shown(command: str) -> str:
    """What the README shows below a command."""
    found = re.search(rf"\$ {re.escape(command)}\n(.*?)```", README, re.DOTALL)
    assert found, f"the README does not show {command}"
    return found[1]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "routing", tmp_path / "routing")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(directory: Path, word: str) -> None:
    file = directory / "routing/acme.yaml"
    before = "      otherwise: anna "
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, f"      otherwise: {word} "))


def test_the_slip_of_the_finger_is_found_as_shown(here: Path) -> None:
    change(here, "servce")
    assert CliRunner().invoke(main, ["check", "routing"]).output == shown("make check")


def test_the_rehearsals_are_told_as_shown(here: Path) -> None:
    change(here, "service")
    assert f"`{CliRunner().invoke(main, ['check', 'routing']).output.strip()}`" in README
    assert CliRunner().invoke(main, ["rehearse", "routing"]).output == shown("make rehearse")


def test_the_rehearsal_shown_is_in_the_file() -> None:
    found = re.search(r"rehearsals:\n(  Wrong keys.*?)```", README, re.DOTALL)
    assert found
    assert found[1] in (ROOT / "routing/acme.yaml").read_text(encoding="utf-8")


def test_every_verb_is_listed_as_built_or_not() -> None:
    built, missing = README.partition("## What is built")[2].partition("## The house")[0], []
    missing = [verb for verb in VERBS if verb not in built]
    assert not missing


def test_every_make_target_shown_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z]+(?:-[a-z]+)*)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
