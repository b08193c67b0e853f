"""The README says what the commands say."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from callcontrol import queue_rows, queue_views, queueing
from callcontrol.cli import main
from callcontrol.routing.load import check_directory, load_directory
from callcontrol.routing.model import Routing
from callcontrol.steps import VERBS
from callcontrol.workbench.rehearse import rehearse
from scripts.demo import kept, of_fact
from scripts.queue_account import Account
from scripts.rig import Rig

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def shown(command: str) -> str:
    """What the README shows below a command."""
    found = re.search(rf"\$ {re.escape(command)}\n(.*?)```", README, re.DOTALL)
    assert found, f"the README does not show {command}"
    return found[1]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the README's operator is: an empty folder, then what ``cordboard new`` wrote."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CORDBOARD_ROUTING", raising=False)
    return tmp_path


NEW = 'cordboard new lumen --number "+65 6123 4567" --person "Wei Ling"'
SEVEN = (("mon-fri: 09:00-18:00", "mon-fri: 09:00-19:00"), ("otherwise: desk  ", "otherwise: message  "))


def says(command: str) -> str:
    """What a command of the README says."""
    return CliRunner().invoke(main, shlex.split(command)[1:]).output


def change(*changes: tuple[str, str]) -> None:
    file = Path("routing/lumen.yaml")
    text = file.read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


class TestFromAnEmptyFolder:
    """The operator's way, as the README tells it."""

    def test_the_first_file_is_made_and_has_nothing_wrong(self, here: Path) -> None:
        assert says(NEW).startswith(shown(NEW).partition("  …")[0])
        assert says("cordboard check routing") == ""
        assert "2 rehearsals: 2 passed, 0 failed" in says("cordboard rehearse routing")

    def test_the_slip_of_the_finger_is_found_and_explained_as_shown(self, here: Path) -> None:
        says(NEW)
        change(("otherwise: message  ", "otherwise: mesage   "))
        found, _, more = shown("cordboard check routing").partition("$ cordboard explain E201\n")
        assert says("cordboard check routing") == found
        assert says("cordboard explain E201").startswith(more.partition("…")[0])

    def test_the_rehearsal_shown_is_in_the_file(self, here: Path) -> None:
        says(NEW)
        found = re.search(r"rehearsals:\n(  Who presses 1.*?)```", README, re.DOTALL)
        assert found
        day = re.compile(r"at: [0-9-]+")
        assert day.sub("", found[1]) in day.sub("", Path("routing/lumen.yaml").read_text(encoding="utf-8"))

    def test_the_rehearsal_that_fails_is_told_as_shown(self, here: Path) -> None:
        says(NEW)
        change(("keys: {1: desk, 2: message}", "keys: {1: message, 2: desk}"))
        assert says("cordboard check routing") == ""
        assert says("cordboard rehearse routing") == shown("cordboard rehearse routing")

    def test_a_call_is_tried_and_told_as_shown(self, here: Path) -> None:
        says(NEW)
        command = (
            'cordboard try --from +6581234567 --to +6561234567 --at "2026-11-27 11:00" --press 1 --phone 301=no_answer'
        )
        assert says(command) == shown(command)

    def test_what_a_change_does_is_told_as_shown(self, here: Path) -> None:
        says(NEW)
        shutil.copytree("routing", "before")
        change(*SEVEN)
        assert says("cordboard rehearse routing").endswith("2 rehearsals: 2 passed, 0 failed\n")
        told = shown("cordboard diff").partition("$ cordboard publish")[0]
        assert says("cordboard diff before routing --no-calls") == told

    def test_when_it_opens_is_told_as_shown(self, here: Path) -> None:
        says(NEW)
        change(*SEVEN)
        command = 'cordboard preview routing --from "2026-12-24 10:00" --count 4'
        assert says(command) == shown(command)

    def test_the_picture_shown_is_the_flow_of_the_example_company(self, here: Path) -> None:
        assert CliRunner().invoke(
            main, ["graph", str(ROOT / "routing"), "--company", "acme", "--flow", "reception", "-o", "-"]
        ).output == (ROOT / "routing/reception.svg").read_text(encoding="utf-8"), "make manual"


@pytest.mark.tcp
def test_a_change_is_published_taken_back_and_told_as_shown(here: Path) -> None:
    says(NEW)
    with Rig(here / "rig", routing=here / "routing", clock=None) as rig:

        def asked(command: str) -> list[str]:
            line = [str(rig.program), *shlex.split(command)[1:]]
            done = subprocess.run(line, env={**os.environ, **rig.environment()}, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            return forms(done.stdout)

        change(*SEVEN)
        assert asked('cordboard publish --why "open till seven"') == forms(shown_in("cordboard publish --why"))
        assert asked('cordboard rollback lumen --why "callers are lost"') == forms(shown_in("cordboard rollback lumen"))
        assert asked("cordboard versions lumen") == forms(shown_in("cordboard versions lumen"))


def shown_in(command: str) -> str:
    """What the README shows below a command that begins so, up to the next command."""
    found = re.search(rf"\$ {re.escape(command)}[^\n]*\n(.*?)(?=^\$|^```)", README, re.DOTALL | re.MULTILINE)
    assert found, f"the README does not show {command}"
    return found[1]


def forms(text: str) -> list[str]:
    """Lines without what differs from run to run: versions, moments, names of machines, widths of columns."""
    text = re.sub(r"\b[0-9a-f]{16}\b|\([0-9a-f]{12}\)", "VERSION", text)
    text = re.sub(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2} UTC", "MOMENT", text)
    text = re.sub(r"^\S+ +\S+-[0-9]+ ", "PROCESS ", text, flags=re.MULTILINE)
    text = re.sub(r"\b\S+ on the command line", "SOMEBODY", text)
    return [re.sub(r" +", " ", line).rstrip() for line in text.splitlines()]


def test_every_verb_is_listed_as_built_or_not() -> None:
    built, missing = README.partition("## What is built")[2].partition("## The house")[0], []
    missing = [verb for verb in VERBS if verb not in built]
    assert not missing


def test_every_make_target_shown_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z]+(?:-[a-z]+)*)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


class TestQueues:
    """The chapter about queues."""

    CHAPTER = README.partition("\n## Queues\n")[2].partition("\n## ")[0]
    FACTS = README.partition("\n## Facts\n")[2].partition("\n## ")[0]

    @pytest.fixture
    def company(self, tmp_path: Path) -> Routing:
        """The example, with what it leaves out."""
        example = re.search(r"```yaml\n(.*?)```", self.CHAPTER, re.DOTALL)
        assert example
        head = "cordboard: 1\ncompany: Acme\ncountry: RU\ntimezone: Europe/Moscow\nlanguages: [en]\n"
        head += 'numbers: {"+74951234567": {flow: reception}}\nhours: {office: {mon-fri: 09:00-18:00}}\n'
        head += 'outbound: {trunk: carrier-a, caller_id: {otherwise: "+74951234567"}, allow: [IT]}\n'
        (tmp_path / "acme.yaml").write_text(head + example[1])
        assert check_directory(tmp_path) == []
        (loaded,) = load_directory(tmp_path)
        assert loaded.routing is not None
        return loaded.routing

    def test_the_example_has_no_problem_and_does_what_its_rehearsal_says(self, company: Routing) -> None:
        (rehearsal,) = company.rehearsals
        result = rehearse(company, rehearsal)
        assert (result.verdict, result.reason) == ("passed", "")

    def test_why_is_told_as_shown(self, company: Routing) -> None:
        now = 1_800_000_000.0

        def member(agent: str, doing: str, since: float, **more: Any) -> dict[str, Any]:
            entry = next(one for one in company.queues["sales"].agents if one.agent == agent)
            opens = company.queues["sales"].levels.get(entry.level, 0.0) * 1000
            sales = {"level": entry.level, "opens": opens, "skills": "+".join(entry.skills)}
            times = {"since": (now - since) * 1000, "duty_since": (now - since) * 1000, "till": 0, "last_at": 0}
            words = {"duty": "on", "why": "", "call": "", "caller": "", "queue": "", "last": ""}
            return {"agent": agent, "doing": doing, "queues": {"sales": sales}, **times, **words, **more}

        def caller(call: str, number: str, waited: float, priority: int, need: str, standing: str) -> dict[str, Any]:
            joined = {"queue": "sales", "joined": (now - waited) * 1000, "standing": standing}
            return {"call": call, "caller": number, "priority": priority, "need": need, **joined}

        found = {
            "now": now,
            "members": [
                member("301", "talking", 35, call="a", caller="+79035550101", queue="sales"),
                member("302", "idle", 34, duty="paused", why="lunch"),
                member("303", "offered", 4, call="b", caller="+79031234567", queue="sales"),
            ],
            "waiting": [
                caller("b", "+79031234567", 34, 0, "", "offered"),
                caller("c", "+491719990000", 22, 10, "german", "waiting"),
            ],
        }
        answer = queue_rows.why(found, "acme", "sales", company, 50)
        lines = [queue_views.why_title(answer), *queue_views.why_lines(answer)]
        assert "\n".join(lines) + "\n" == shown("cordboard queue sales --why")

    def test_the_facts_are_those_that_are_told(self) -> None:
        told = set()
        for name in ("steps/queue.py", "caretaker.py", "queues.lua"):
            text = (ROOT / "callcontrol" / name).read_text(encoding="utf-8")
            told |= set(re.findall(r"""["']((?:queue|agent)\.[a-z]+)["']""", text))
        assert set(re.findall(r"^\| `((?:queue|agent)\.[a-z]+)` \|", self.FACTS, re.MULTILINE)) == told

    def test_the_words_of_agents_are_all_there(self) -> None:
        doing = {one.value for one in queueing.Doing} - {"idle"}
        states = re.search(r"`state` is `([a-z_ ]+)`, `duty` is `([a-z ]+)`", self.FACTS)
        assert states
        assert set(states[1].split()) == doing | {"available", "paused", "logged_out"}
        assert set(states[2].split()) == {one.value for one in queueing.Duty}

    def test_every_outcome_and_every_command_of_agents_is_named(self) -> None:
        for word in VERBS["queue"].outcomes:
            assert f"`{word}`" in self.CHAPTER
        for line in re.findall(r"`cordboard (agents [^`]*)`", self.CHAPTER):
            verb = line.split()[1]
            assert CliRunner().invoke(main, ["agents", verb, "--help"]).exit_code == 0

    def test_what_must_hold_in_the_queue_hour_is_what_is_judged(self) -> None:
        checks = [check.says for check in Account({}, {}, {}).checks()]
        assert re.findall(r"✓ (.*)", self.CHAPTER) == checks


def test_what_the_demo_leaves_up_can_be_asked(tmp_path: Path) -> None:
    rig = Rig(tmp_path, redis_url="redis://127.0.0.1:1/0")
    asked = kept(rig).splitlines()[-1].removeprefix("Ask it: ")
    done = subprocess.run(["sh", "-c", asked], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True)
    assert f"there is no journal at {tmp_path / 'state/journal.db'}" in done.stderr  # nothing has worked here yet
    env = (tmp_path / "env").read_text()
    assert f"CORDBOARD_CONFIG={tmp_path / 'cordboard.yaml'}\n" in env
    assert f"CORDBOARD_REDIS={rig.redis_url}\n" in env


def test_the_demo_tells_of_queues_no_more_exactly_than_the_facts_do() -> None:
    whose = {"queue": "sales", "agent": "301", "offer": 1}
    assert of_fact({"type": "queue.answered", "data": {**whose, "waited": 2}}) == "301 takes the call, after 2 s"
    assert of_fact({"type": "queue.abandoned", "data": {"waited": 0}}) == "gave up waiting after 0 s"
    assert of_fact({"type": "queue.withdrawn", "data": whose}) == "the offer to 301 is taken back"


def test_agents_and_queues_of_no_server_say_what_to_start(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.lock", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/.ready").touch()
    for target in ("agents", "queues"):
        environment = {"PATH": os.environ["PATH"]}
        done = subprocess.run(["make", "-C", str(tmp_path), target], env=environment, capture_output=True, text=True)
        assert "Nothing is served from here: make run does it" in done.stdout
        assert done.returncode
