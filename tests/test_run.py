"""``make run``: what its first run writes can be used as it is, and whose store is started."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from callcontrol import settings as s
from scripts import run
from scripts.rig import ROOT


def test_the_first_run_writes_settings_that_can_be_used_and_no_other_run_does(tmp_path: Path) -> None:
    assert run.prepare(tmp_path / "etc")
    config = s.read_config(tmp_path / "etc/cordboard.yaml")
    assert [switch.name for switch in config.switches] == ["switch1"]
    port = run._own_port(config.storage)
    assert port
    text = (tmp_path / "etc/cordboard.yaml").read_text()
    (tmp_path / "etc/cordboard.yaml").write_text(text.replace(f":{port}'", ":1234'"))
    assert run._own_port(run._storage(tmp_path / "etc/cordboard.yaml")) == 1234  # where there are two on a machine
    assert {path.name: path.stat().st_mode & 0o077 for path in (tmp_path / "etc").iterdir()}["esl.password"] == 0
    assert not run.prepare(tmp_path / "etc")


def test_a_shell_that_has_read_the_file_asks_this_server_from_any_directory(tmp_path: Path) -> None:
    given = {"CORDBOARD_REDIS": "redis://:it's secret@127.0.0.1:1/0", "CORDBOARD_STATE": "elsewhere", "HOME": "/"}
    run.write_env(tmp_path / "env", run.settings(given))
    assert (tmp_path / "env").stat().st_mode & 0o077 == 0
    script = f". {tmp_path / 'env'} && command -v cordboard && env"
    done = subprocess.run(
        ["sh", "-c", script], env={"PATH": os.environ["PATH"]}, cwd="/", capture_output=True, text=True
    )
    first, *lines = done.stdout.splitlines()
    assert first == str(run.BIN / "cordboard")
    assert {line for line in lines if line.startswith("CORDBOARD_")} == {
        f"CORDBOARD_REDIS={given['CORDBOARD_REDIS']}",
        f"CORDBOARD_STATE={ROOT / 'elsewhere'}",
        f"CORDBOARD_SPOOL={ROOT / 'spool'}",
        f"CORDBOARD_ROUTING={ROOT / 'routing'}",
        f"CORDBOARD_CONFIG={run.ETC / 'cordboard.yaml'}",
    }


@pytest.mark.parametrize(
    ("storage", "named"),
    [
        ("", False),
        ("storage: {bucket: recordings}", True),
        ("storage: {bucket: recordings, endpoint: https://s3.example.com}", True),
        ("storage: {bucket: recordings, endpoint: 'http://127.0.0.1:8086'}", True),
        ("storage: nonsense", True),
    ],
)
def test_a_store_of_our_own_is_started_for_nobody_who_names_another(tmp_path: Path, storage: str, named: bool) -> None:
    run.prepare(tmp_path)
    switches = (tmp_path / "cordboard.yaml").read_text().partition("#")[0]
    (tmp_path / "cordboard.yaml").write_text(f"{switches}{storage}\n")
    found = run._storage(tmp_path / "cordboard.yaml")
    assert (found is not None) is named
    assert run._own_port(found) is None


def test_the_first_run_of_a_second_checkout_takes_another_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run, "STORE_PORT", taken)
            run.prepare(tmp_path)
    assert run._own_port(run._storage(tmp_path / "cordboard.yaml")) not in (None, taken)
