"""The problems of ``check`` as text, as data and for GitHub: nothing that strangers wrote can forge a line."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from callcontrol.cli import main
from callcontrol.routing.codes import CODES, problem
from callcontrol.routing.model import Place, Problem
from callcontrol.workbench.reporting import FORMATS, as_github, as_json, as_text, verdict

SMALL = (Path(__file__).parent / "corpus/nothing-wrong.yaml").read_text(encoding="utf-8").replace("night.wav", "Bye.")
BROKEN = SMALL.replace("otherwise: service", "otherwise: servce")
HOSTILE = [
    "a\nb.yaml:1:1: E201 forged",
    "a\r\n::error file=x::forged",
    "a%0Ab\u2028c\u2029d\x85e\x0bf\x0cg",
    "\x1b[2Jcleared",
    "\u202egnp.lmay",
    "\u200b\ufeff\u00ad",
    "\udcff",
    "::stop-commands::x",
]


def run(*arguments: str, **more: Any) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["check", *arguments], **more)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def company(tmp_path: Path) -> Path:
    path = tmp_path / "volga.yaml"
    path.write_text(BROKEN)
    return path


# ------------------------------------------------------------------------------------------------ the forms


def test_json_is_one_object_with_everything_about_each_problem(company: Path) -> None:
    code, out, _ = run(str(company), "--format", "json")
    assert code == 1
    said = json.loads(out)
    assert (said["errors"], said["warnings"]) == (1, 0)
    (found,) = said["problems"]
    assert found == {
        "path": str(company),
        "line": 24,
        "column": 18,
        "code": "E201",
        "severity": "error",
        "message": 'there is no step or flow named "servce" here; did you mean "service"?',
        "meaning": CODES["E201"],
        "explain": "cordboard explain E201",
    }


def test_json_of_a_good_file_is_an_empty_list_and_exit_0(company: Path) -> None:
    company.write_text(SMALL)
    assert run(str(company), "--format", "json")[:2] == (
        0,
        '{\n  "problems": [],\n  "errors": 0,\n  "warnings": 0\n}\n',
    )
    assert run(str(company), "--format", "github") == (0, "", "")


def test_github_gets_a_command_for_each_problem(company: Path) -> None:
    code, out, _ = run(str(company), "--format", "github")
    assert code == 1
    message = 'there is no step or flow named "servce" here; did you mean "service"?'
    assert out == f"::error file={company},line=24,col=18,title=E201::{message}\n"


def test_github_is_told_warnings_as_warnings() -> None:
    assert as_github([problem("W501", Place("a.yaml", 1, 2), "x")]).startswith("::warning file=a.yaml,")


def test_what_github_takes_for_its_own_signs_is_escaped_and_only_that() -> None:
    said = as_github([problem("E201", Place("a%0A,b:c.yaml", 1, 2), "100% of a,b: c\nd\re")])
    assert said == "::error file=a%250A%2Cb%3Ac.yaml,line=1,col=2,title=E201::100%25 of a,b: c%0Ad%0De\n"


def test_under_the_problems_stands_how_many_there_are_and_which_command_tells_more() -> None:
    one, two = (problem(code, Place("a.yaml", 1, 1), "x") for code in ("E201", "E202"))
    warning = problem("W501", Place("a.yaml", 1, 1), "x")
    assert verdict([warning, one]) == "1 error: a file with errors does not go live; cordboard explain E201 says more"
    assert verdict([one, two]).startswith("2 errors: ")
    assert verdict([warning]) == ""


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("form", list(FORMATS))
def test_a_problem_is_one_line_that_moves_no_cursor_whatever_stands_in_it(form: str, hostile: str) -> None:
    found = Problem(Place(f"{hostile}.yaml", 1, 2), "E201", f"there is no {hostile}")
    text = FORMATS[form]([found])
    lines = text.splitlines()
    assert all(line.isprintable() for line in lines)
    assert text.encode("utf-8")
    if form == "json":
        assert json.loads(text)["problems"][0]["path"] == f"{hostile}.yaml"
    else:
        assert len(lines) == 1
    if form == "github":
        assert re.fullmatch(r"::error file=[^:,]*,line=1,col=2,title=E201::.*", lines[0])


def test_a_file_whose_name_has_several_lines_is_told_on_one(tmp_path: Path) -> None:
    (tmp_path / "a\n::error file=b::forged\x1b[31m.yaml").write_text("x")
    for form in FORMATS:
        code, out, _ = run(str(tmp_path), "--format", form)
        assert code == 1
        assert not [line for line in out.splitlines() if line.startswith("::error file=b")]
        assert "\x1b" not in out


# ------------------------------------------------------------------------------------------- what is checked


def test_a_single_file_is_checked_with_the_sounds_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "volga.yaml"
    path.write_text(SMALL.replace("Bye.", "night.wav"))
    (tmp_path / "other.yaml").write_text("broken: [")
    code, out, _ = run(str(path))
    assert (code, len(out.splitlines())) == (1, 1)
    assert 'E209 the sound "night.wav" is not in sounds/volga/' in out
    (tmp_path / "sounds/volga").mkdir(parents=True)
    (tmp_path / "sounds/volga/night.wav").write_bytes(b"RIFF, but no sound")
    assert "E215" in run(str(path))[1]


def test_the_standard_input_is_a_file_without_a_name_and_without_sounds() -> None:
    code, out, _ = run("-", input=BROKEN)
    assert (code, out[:14]) == (1, "-:24:18: E201 ")
    assert run("-", input=SMALL.replace("Bye.", "night.wav"))[:2] == (0, "")
    assert "UTF-16" in run("-", input=io.BytesIO(BROKEN.encode("utf-16")))[1]


def test_a_file_of_another_ending_is_told_what_it_should_be_called(tmp_path: Path) -> None:
    for name in ("volga.yml", "volga.txt", "volga"):
        (tmp_path / name).write_text(SMALL)
        code, out, _ = run(str(tmp_path / name))
        assert code == 1
        assert "E119 a company's file ends in .yaml; rename it to volga.yaml" in out


def test_a_link_is_followed_and_one_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "real").write_text(BROKEN)
    os.symlink("real", tmp_path / "volga.yaml")
    assert f"{tmp_path}/volga.yaml:24:18: E201" in run(str(tmp_path))[1]
    (tmp_path / "real").unlink()
    assert run(str(tmp_path))[1] == f"{tmp_path}/volga.yaml:1:1: E118 is a link that leads nowhere\n"


def test_a_pipe_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "volga.yaml")
    assert "E118 is no regular file" in run(str(tmp_path / "volga.yaml"))[1]


def test_text_is_what_the_problems_print() -> None:
    found = [problem("E201", Place("a.yaml", 1, 1), "x"), problem("E202", Place("a.yaml", 2, 1), "y")]
    assert as_text(found) == "a.yaml:1:1: E201 x\na.yaml:2:1: E202 y\n"
    assert as_text([]) == ""
    assert json.loads(as_json(found))["errors"] == 2
