"""What ops are given besides the program: systemd units, a compose file, make targets; and that they mean something."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from click.testing import CliRunner

from callcontrol.cli import main
from callcontrol.embedded import EmbeddedRedis
from callcontrol.settings import Storage
from scripts.rig import free_port
from workers.recordings.store import Patience, Store, StoreError

ROOT = Path(__file__).parent.parent
UNITS = ROOT / "scripts/systemd"
SERVICES = sorted(UNITS.glob("*.service"))
MAKEFILE = (ROOT / "Makefile").read_text()
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: What is done daily, and by which command.
DAILY = {
    "run": "scripts.run",
    "reload": "reload",
    "drain": "drain",
    "calls": "calls",
    "queues": "queue",
    "agents": "agents",
    "failed": "failed",
    "retry": "retry",
    "replay": "replay",
    "backfill": "backfill",
    "backup": "backup",
    "restore": "restore",
    "bench": "scripts.bench",
    "chaos": "scripts.chaos",
    "upgrade": "upgrade",
}


def lines(unit: Path) -> list[tuple[str, str]]:
    found = [line.partition("=") for line in unit.read_text().splitlines() if re.match("[A-Z]", line)]
    return [(name, value) for name, _, value in found]


def commands(unit: Path) -> list[list[str]]:
    return [shlex.split(value) for name, value in lines(unit) if name in ("ExecStart", "ExecReload")]


class TestUnits:
    def test_systemd_finds_nothing_wrong_with_them(self, tmp_path: Path) -> None:
        verify = shutil.which("systemd-analyze")
        if verify is None:
            pytest.skip("systemd-analyze is not installed")
        program = tmp_path / "bin/cordboard"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        for unit in UNITS.iterdir():
            if unit.suffix in (".service", ".target"):
                text = unit.read_text().replace("/opt/cordboard/current/bin/cordboard", str(program))
                (tmp_path / unit.name).write_text(text)
        files = [str(path) for path in sorted(tmp_path.glob("cordboard*"))]
        done = subprocess.run([verify, "verify", *files], capture_output=True, text=True, timeout=60)
        ours = [line for line in done.stderr.splitlines() if "cordboard" in line]
        assert not ours
        for unit in SERVICES:
            asked = [verify, "security", "--offline=true", "--threshold=20", str(tmp_path / unit.name)]
            scored = subprocess.run(asked, capture_output=True, text=True, timeout=60)
            assert scored.returncode == 0, scored.stdout[-300:]

    @pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
    def test_every_command_in_them_is_one_of_ours(self, unit: Path) -> None:
        for program, *arguments in commands(unit):
            if program == "/bin/kill":
                assert arguments == ["-HUP", "$MAINPID"]
                continue
            assert program == "/opt/cordboard/current/bin/cordboard"
            assert CliRunner().invoke(main, [*arguments, "--help"]).exit_code == 0

    @pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
    def test_they_are_watched_hardened_and_stopped_by_their_supervisor(self, unit: Path) -> None:
        said = lines(unit)
        found = dict(said)
        assert found["Type"] == "notify"
        assert int(found["WatchdogSec"]) >= 10
        assert found["KillMode"] == "mixed"
        assert int(found["TimeoutStopSec"]) > (30 if unit.stem == "cordboard-web" else 10)
        assert found["ProtectSystem"] == "strict"
        assert found["CapabilityBoundingSet"] == ""
        for name in ("NoNewPrivileges", "MemoryDenyWriteExecute", "PrivateTmp", "RestrictNamespaces"):
            assert found[name] == "yes"
        assert "PrivateUsers" not in found  # the spool has files of another user

    def test_the_target_wants_all_of_them(self) -> None:
        assert set(dict(lines(UNITS / "cordboard.target"))["Wants"].split()) == {unit.name for unit in SERVICES}

    def test_the_sample_of_settings_has_settings_of_ours_only_and_the_units_may_write_there(self) -> None:
        text = (UNITS / "cordboard.env").read_text()
        told = dict(line.split("=", 1) for line in text.splitlines() if line[:1] == "C")
        manual = (ROOT / "routing/MANUAL.md").read_text(encoding="utf-8")
        assert {name for name in told if f"`{name}`" not in manual and f"{name}" not in manual} == set()
        for unit in SERVICES:
            found = dict(lines(unit))
            assert told["CORDBOARD_STATE"] == f"/var/lib/{found['StateDirectory']}"
            assert told["CORDBOARD_SPOOL"] in found["ReadWritePaths"].split()


class TestHardening:
    """The one restriction that libraries could mind: no memory that is written and run."""

    @pytest.mark.parametrize("command", ["serve", "work", "web"])
    def test_all_that_may_fail_at_a_start_is_done_without_such_memory(
        self, command: str, tmp_path: Path, own_redis: EmbeddedRedis
    ) -> None:
        libc = ctypes.CDLL(None, use_errno=True)

        def restricted() -> None:  # PR_SET_MDWE with PR_MDWE_REFUSE_EXEC_GAIN, PR_SET_NO_NEW_PRIVS
            if libc.prctl(65, 1, 0, 0, 0) or libc.prctl(38, 1, 0, 0, 0):
                os._exit(77)
            os.umask(0o077)

        (tmp_path / "esl.password").touch(mode=0o600)
        (tmp_path / "esl.password").write_text("secret")
        (tmp_path / "cordboard.yaml").write_text("switches:\n  - {name: switch1, password_file: esl.password}\n")
        (tmp_path / "routing").mkdir()
        (tmp_path / "routing/acme.yaml").write_text(
            "cordboard: 1\ncompany: Acme\ncountry: RU\ntimezone: Europe/Moscow\nlanguages: [en]\n"
            'numbers: {"+74951234567": {flow: main}}\nflows: {main: {said: {play: Good day., then: hangup}}}\n'
        )
        environment = {
            "PATH": os.environ["PATH"],
            "CORDBOARD_CONFIG": str(tmp_path / "cordboard.yaml"),
            "CORDBOARD_ROUTING": str(tmp_path / "routing"),
            "CORDBOARD_STATE": str(tmp_path / "state"),
            "CORDBOARD_SPOOL": str(tmp_path / "spool"),
            "CORDBOARD_REDIS": own_redis.url,
        }
        (tmp_path / "state").mkdir()
        program = [str(Path(sys.executable).parent / "cordboard"), command, "--try"]
        done = subprocess.run(
            program, env=environment, preexec_fn=restricted, capture_output=True, text=True, timeout=100
        )
        if done.returncode == 77:
            pytest.skip("this kernel cannot forbid it")
        assert done.returncode == 0, done.stderr
        if command == "serve":
            assert list((tmp_path / "state/speech").rglob("*.wav"))  # it was spoken


class TestCompose:
    COMPOSE: ClassVar[dict[str, Any]] = yaml.safe_load((ROOT / "scripts/compose.yaml").read_text())

    def test_docker_finds_nothing_wrong_with_it(self) -> None:
        docker = shutil.which("docker")
        if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
            pytest.skip("docker compose is not installed")
        file = str(ROOT / "scripts/compose.yaml")
        done = subprocess.run([docker, "compose", "-f", file, "config", "--quiet"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize("name", ["serve", "work", "web"])
    def test_our_services_are_hardened_checked_and_have_time_to_end(self, name: str) -> None:
        service = self.COMPOSE["services"][name]
        assert service["command"] == [name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        unit = dict(lines(UNITS / f"cordboard-{name}.service"))
        assert int(service["stop_grace_period"].removesuffix("s")) >= int(unit["TimeoutStopSec"])
        assert service["healthcheck"]["test"]
        assert {one["target"] for one in service["volumes"]} >= {"/var/lib/cordboard", "/var/spool/cordboard"}

    def test_who_has_one_state_sees_the_processes_of_all_who_have_it(self) -> None:
        """Else each takes the others for dead: it would remove their accounts and finish their files."""
        for name in ("serve", "work", "web"):
            assert self.COMPOSE["services"][name]["pid"] == "host"
            assert "init" not in self.COMPOSE["services"][name]  # which wants to be the first of its own

    def test_the_switch_reads_what_serve_writes_and_never_mounts_before_it(self) -> None:
        image = (ROOT / "scripts/Dockerfile").read_text()
        found = re.search(r"--uid (\d+)", image)
        assert found
        switch = self.COMPOSE["services"]["switch"]
        assert switch["user"] == f"{found[1]}:{found[1]}"
        assert "serve" in switch["depends_on"]

    def test_the_store_of_our_own_has_its_bucket_and_takes_its_keys(self, tmp_path: Path) -> None:
        """As compose would start it: the keys quoted as the file says, in a volume that is empty."""
        text = (ROOT / "scripts/compose.yaml").read_text()
        found = re.search(r"RCLONE_AUTH_KEY='(.+)'", text)
        assert found
        pair = found[1].replace("<access key>", "CB0123456789").replace("<secret key>", "secret0123456789")
        script = self.COMPOSE["services"]["store"]["entrypoint"][2]
        port = free_port()
        script = script.replace("/data", str(tmp_path)).replace("8086", str(port))
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {"PATH": path, "RCLONE_AUTH_KEY": pair, **self.COMPOSE["services"]["store"]["environment"]}
        (tmp_path / "keys.yaml").touch(mode=0o600)
        (tmp_path / "keys.yaml").write_text("{access_key: CB0123456789, secret_key: secret0123456789}")
        store = subprocess.Popen(["sh", "-c", script], env=environment, stderr=subprocess.PIPE)
        try:
            named = Storage("recordings", endpoint=f"http://127.0.0.1:{port}", credentials=tmp_path / "keys.yaml")
            asked = Store(named, Patience(connect=1.0, read=2.0))
            end, answered = time.monotonic() + 20, False
            while not answered and store.poll() is None and time.monotonic() < end:
                with contextlib.suppress(StoreError):
                    answered = asked.head("nothing") is None
            asked.close()
            assert answered
            assert (tmp_path / "recordings").is_dir()
        finally:
            store.kill()
            store.communicate()

    def test_the_builder_is_sent_what_the_image_is_made_of_and_nothing_else(self) -> None:
        image = (ROOT / "scripts/Dockerfile").read_text()
        copied = {name for line in re.findall(r"^COPY (?!--)(.+) \S+$", image, re.MULTILINE) for name in line.split()}
        ignored = (ROOT / ".dockerignore").read_text().splitlines()
        assert "*" in ignored
        assert {line[1:] for line in ignored if line.startswith("!")} == copied

    def test_redis_keeps_what_it_is_told_and_evicts_nothing(self) -> None:
        command = self.COMPOSE["services"]["valkey"]["command"]
        assert "--appendonly yes" in command
        assert "--maxmemory-policy noeviction" in command

    def test_every_volume_is_one_that_is_declared(self) -> None:
        used = {
            one["source"]
            for service in self.COMPOSE["services"].values()
            for one in service.get("volumes", ())
            if one["type"] == "volume"
        }
        assert used == set(self.COMPOSE["volumes"])


class TestDaily:
    def test_the_help_fits_into_a_terminal(self) -> None:
        said = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True).stdout
        assert max(map(len, said.splitlines())) <= 100

    @pytest.mark.parametrize("words", [["backup"], ["restore", "FILE=x"], ["replay", "COMPANY=acme", "SINCE=now"]])
    def test_a_target_without_what_it_needs_says_what(self, words: list[str]) -> None:
        done = subprocess.run(["make", "-n", "-C", str(ROOT), *words], capture_output=True, text=True)
        assert done.returncode == 2
        assert f": make {words[0]} " in done.stderr

    @pytest.mark.parametrize("target", sorted(DAILY))
    def test_a_target_is_one_line_over_a_command_and_stands_in_the_readme_and_in_the_help(self, target: str) -> None:
        found = re.search(rf"^{target}:.*## (.+)\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
        assert found, f"there is no make {target}"
        assert DAILY[target] in found[2]
        assert found[2].count("\n\t@") <= 1
        assert re.search(rf"^\| `make {target}\b", README, re.MULTILINE), f"the README's table has no make {target}"
        said = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True).stdout
        assert re.search(rf"make {target} +\S", said)
        if not DAILY[target].startswith("scripts"):
            assert CliRunner().invoke(main, [DAILY[target], "--help"]).exit_code == 0
