"""The command as people meet it."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import time_machine
from click.testing import CliRunner

from callcontrol.cli import main

ROUTING = Path(__file__).parent.parent / "routing"
CORDBOARD = str(Path(sys.executable).parent / "cordboard")


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments)
    return result.exit_code, result.output


def test_check_listens_to_the_sound_files(tmp_path: Path) -> None:
    shutil.copytree(ROUTING, tmp_path / "routing")
    (tmp_path / "routing/sounds/acme/night.wav").write_bytes(b"RIFF, but no sound")
    code, text = run("check", str(tmp_path / "routing"))
    assert code == 1
    assert "E215" in text
    assert "night.wav" in text


def test_help_names_every_command() -> None:
    code, text = run("--help")
    assert code == 0
    assert all(word in text for word in ("check", "rehearse", "passwords", "serve", "reload", "agents", "queue"))


def test_serve_help_names_every_setting_and_its_variable() -> None:
    _, text = run("serve", "--help")
    for name in ("ROUTING", "LISTEN", "REDIS", "CONFIG", "PEERS", "STATE", "SOUNDS", "SPOOL", "PROCESSES", "DOMAIN"):
        assert f"CORDBOARD_{name}" in text


def test_check_says_nothing_when_all_is_well() -> None:
    with time_machine.travel(dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)):
        assert run("check", str(ROUTING)) == (0, "")


def test_check_judges_times_from_today() -> None:
    with time_machine.travel(dt.datetime(2027, 2, 1, 12, tzinfo=dt.UTC)):
        code, text = run("check", str(ROUTING))
    assert code == 0
    assert text == f'{ROUTING}/acme.yaml:33:3: W520 "new_year" is never on again: 2027-01-08, its last day, is over\n'


def test_check_names_path_line_column_and_code(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text((ROUTING / "acme.yaml").read_text().replace("2: service, 9", "2: servce, 9"))
    code, text = run("check", str(tmp_path))
    assert code == 1
    line = next(line for line in text.splitlines() if "servce" in line)
    assert line.startswith(f"{tmp_path}/acme.yaml:")
    _, row, column, rest = line.split(":", 3)
    assert (row.isdigit(), column.isdigit(), rest.strip()[0]) == (True, True, "E")
    assert "service" in rest


def test_warnings_do_not_change_the_exit(tmp_path: Path) -> None:
    text = (
        (ROUTING / "acme.yaml")
        .read_text()
        .replace("    reject: {hangup: busy}", "    reject: {hangup: busy}\n    lost: {hangup: busy}")
    )
    (tmp_path / "acme.yaml").write_text(text)
    os.symlink(ROUTING / "sounds", tmp_path / "sounds")
    code, said = run("check", str(tmp_path))
    assert code == 0
    assert "lost" in said


def test_a_directory_that_is_not_there_is_a_usage_error() -> None:
    assert run("check", "/no/such/place")[0] == 2
    assert run("rehearse", "/no/such/place")[0] == 2
    code, text = run("serve")
    assert (code, "Missing option '--routing'" in text) == (2, True)


#: What the workbench does with routing, as much as one word and options can say.
READERS = {
    "check": (),
    "rehearse": (),
    "preview": ("--from", "2026-11-23", "--count", "3"),
    "graph": ("--flow", "hotline", "-o", "-"),
    "schema": ("--company", "acme"),
    "try": ("--from", "+79261112233", "--to", "+74951234567", "--at", "2026-11-23 23:00", "--switch", "shut=off"),
}


@pytest.mark.parametrize(("command", "more"), READERS.items(), ids=list(READERS))
def test_every_reader_of_routing_takes_a_file_a_directory_or_none_and_a_company(
    command: str, more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def asked(routing: str, *others: str) -> tuple[int, str]:
        code, text = run(command, *([routing] if routing else []), *more, *others)
        return code, text.replace(f"{ROUTING}/", "").replace("routing/", "")

    monkeypatch.chdir(ROUTING.parent)
    with time_machine.travel(dt.datetime(2026, 11, 23)):
        told = asked(str(ROUTING))
        assert told[0] == 0, told[1]
        assert asked(str(ROUTING / "acme.yaml")) == asked("") == asked("", "--company", "acme") == told
        monkeypatch.chdir(tmp_path)
        assert asked("", "--company", "acme")[0] == 2
        monkeypatch.setenv("CORDBOARD_ROUTING", str(ROUTING))
        assert asked("", "--company", "acme") == told
        for one in (str(ROUTING), str(ROUTING / "acme.yaml")):
            code, text = asked(one, "--company", "acmee")
            assert (code, "there is no company acmee here; there is: acme\n" in text) == (2, True)


@pytest.mark.parametrize("command", list(READERS))
def test_what_was_typed_is_shown_on_one_line_and_moves_no_cursor(command: str) -> None:
    code, text = run(command, str(ROUTING), "--company", "a\nE999 forged\u202e\x9b")
    assert code == 2
    assert "a\\nE999 forged\\u202e\\x9b here; there is: acme\n" in text


def test_a_directory_without_a_company_is_no_success(tmp_path: Path) -> None:
    assert run("check", str(tmp_path))[0] == 1
    assert run("rehearse", str(tmp_path))[0] == 1
    assert run("preview", str(tmp_path))[0] == 2


def test_check_tells_of_one_company_what_it_has_with_others_too(tmp_path: Path) -> None:
    text = (ROUTING / "acme.yaml").read_text()
    (tmp_path / "acme.yaml").write_text(text)
    (tmp_path / "beta.yaml").write_text(text)
    (tmp_path / "rehearsals/beta").mkdir(parents=True)
    (tmp_path / "rehearsals/beta/own.yaml").write_text("x: 1\n")
    _, whole = run("check", str(tmp_path))
    _, acme = run("check", str(tmp_path), "--company", "acme")
    _, beta = run("check", str(tmp_path), "--company", "beta")
    lines = [line for line in whole.splitlines() if line.startswith(str(tmp_path))]
    assert [line for line in lines if "beta" in line.partition(":")[0]] == [
        line for line in beta.splitlines() if line.startswith(str(tmp_path))
    ]
    assert "E502" in beta
    assert "own.yaml" in beta
    assert "beta" not in acme


class TestServe:
    def serve(self, directory: Path, **settings: str) -> subprocess.CompletedProcess[str]:
        (directory / "secret").touch(mode=0o600)
        (directory / "secret").write_text("x")
        config = directory / "cordboard.yaml"
        config.write_text("switches: [{name: switch1, port: 1, password_file: secret}]\n")
        environment = {
            "PATH": os.environ["PATH"],
            "CORDBOARD_ROUTING": str(ROUTING),
            "CORDBOARD_CONFIG": str(config),
            "CORDBOARD_STATE": str(directory / "state"),
            "CORDBOARD_SPOOL": str(directory / "spool"),
            "CORDBOARD_PROCESSES": "1",
            **{f"CORDBOARD_{name.upper()}": value for name, value in settings.items()},
        }
        return subprocess.run([CORDBOARD, "serve"], env=environment, capture_output=True, text=True, timeout=60)

    def test_a_port_that_is_taken_is_said_and_is_exit_code_3(self, tmp_path: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            done = self.serve(tmp_path, listen=f"127.0.0.1:{port}")
        assert done.returncode == 3
        assert f"cannot listen on 127.0.0.1:{port}" in done.stderr

    def test_no_company_to_serve_is_exit_code_3(self, tmp_path: Path) -> None:
        empty = tmp_path / "empty"
        empty.mkdir()
        done = self.serve(tmp_path, routing=str(empty))
        assert done.returncode == 3
        assert "cordboard check" in done.stderr

    def test_a_config_that_is_not_there_is_exit_code_3(self, tmp_path: Path) -> None:
        done = self.serve(tmp_path, config=str(tmp_path / "none.yaml"))
        assert done.returncode == 3
        assert "there is no such file" in done.stderr

    @pytest.mark.parametrize(("name", "value"), [("listen", "nonsense"), ("peers", "nonsense")])
    def test_a_setting_that_cannot_be_used_is_said(self, tmp_path: Path, name: str, value: str) -> None:
        done = self.serve(tmp_path, **{name: value})
        assert done.returncode == 3
        assert value in done.stderr
