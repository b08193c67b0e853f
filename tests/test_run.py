"""``make run``: what its first run writes can be used as it is, and whose store is started."""

from __future__ import annotations

import os
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
    assert run._endpoint(tmp_path / "etc/cordboard.yaml") == f"http://127.0.0.1:{run.STORE_PORT}"
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
    ("storage", "endpoint"),
    [
        ("", None),
        ("storage: {bucket: recordings}", ""),
        ("storage: {bucket: recordings, endpoint: https://s3.example.com}", "https://s3.example.com"),
        ("storage: nonsense", ""),
    ],
)
def test_a_store_of_our_own_is_started_for_nobody_who_names_another(
    tmp_path: Path, storage: str, endpoint: str | None
) -> None:
    run.prepare(tmp_path)
    switches = (tmp_path / "cordboard.yaml").read_text().partition("#")[0]
    (tmp_path / "cordboard.yaml").write_text(f"{switches}{storage}\n")
    assert run._endpoint(tmp_path / "cordboard.yaml") == endpoint
