"""``make run``: serve a directory of routing to a real switch, with everything a first time needs.

The directory is ``CORDBOARD_ROUTING``, else the example in ``routing/``.

The first run writes ``etc/`` (mode 0700): the switch's password, ``cordboard.yaml``, and ``switch-vars.xml``
for the configuration in ``freeswitch/conf``.  Each run makes a password for every phone that has none.  Without
``CORDBOARD_REDIS`` a Valkey of its own is started.  The store that the first run writes into cordboard.yaml is started
as long as it stands there.  ``etc/env`` has the settings of this server: a shell that has read it asks this server.

``cordboard serve``, ``work`` and ``web`` run side by side.  SIGTERM or Ctrl-C ends all: first who takes calls, then who
does what they leave behind, then what both stand on.  If ``serve`` ends by itself, so does everything; ``work`` and
``web`` look after their own processes.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from callcontrol import settings as s
from callcontrol.embedded import EmbeddedRedis
from callcontrol.supervisor import die_with_parent
from scripts.rig import ROOT
from workers.recordings.local_store import LocalStore

ETC = ROOT / "etc"
BIN = Path(sys.executable).parent
#: Where the store of our own is, and answers.
STORE = ROOT / "state" / "store"
STORE_PORT = 8086
#: How long the processes have to end, seconds: calls are handed over, requests and jobs finished.
PATIENCE = 40.0


def prepare(directory: Path) -> bool:
    """Write what is missing in ``directory``; whether anything was written."""
    if (directory / "cordboard.yaml").exists():
        return False
    directory.mkdir(mode=0o700, exist_ok=True)
    password = secrets.token_hex(16)
    values = {
        "cordboard_esl_password": password,
        "cordboard_spool": str(ROOT / "spool"),
        "cordboard_directory": str(ROOT / "state" / "directory"),
    }
    lines = [f'  <X-PRE-PROCESS cmd="set" data="{name}={value}"/>' for name, value in values.items()]
    _secret(directory / "switch-vars.xml", "\n".join(["<include>", *lines, "</include>", ""]))
    _secret(directory / "esl.password", password + "\n")
    switch = "{name: switch1, host: 127.0.0.1, port: 8021, password_file: esl.password}"
    (directory / "cordboard.yaml").write_text(
        f"switches:\n  - {switch}\n"
        f"# Recordings go to a store on this machine, which make run starts; name another S3 store here instead.\n"
        f"{LocalStore(STORE, STORE_PORT).yaml()}"
        f"# Webhooks go to public addresses by https only; this admits a subscriber on this machine as well:\n"
        f"# webhooks: {{private: [127.0.0.0/8]}}\n"
    )
    return True


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What this server is told, as a process in any other directory must be told it."""
    given = {name: value for name, value in environment.items() if re.fullmatch(r"CORDBOARD_[A-Z]+", name)}
    default = {"CONFIG": ETC / "cordboard.yaml", "ROUTING": ROOT / "routing", "STATE": "state", "SPOOL": "spool"}
    paths = {name: given.get(name, str(path)) for name, path in ((f"CORDBOARD_{n}", p) for n, p in default.items())}
    return given | {name: str(ROOT / path) for name, path in paths.items()}


def write_env(path: Path, told: Mapping[str, str]) -> None:
    """Write a file that a shell reads with ``. etc/env``; with it ``cordboard`` is found, and asks this server."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(told.items())]
    _secret(path, "\n".join([*lines, f'export PATH={shlex.quote(str(BIN))}:"$PATH"', ""]))


def _secret(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def _short(path: str | Path) -> str:
    """A path as one types it here."""
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else str(path)


def main() -> int:
    """Run until told to stop.  Returns the server's exit code."""
    if prepare(ETC):
        print(f"Wrote {ETC.name}/: the switch's password, switch-vars.xml, cordboard.yaml.", flush=True)
    environment = {"CORDBOARD_CONFIG": str(ETC / "cordboard.yaml"), **os.environ}
    # Some of its files may have errors: their companies keep the phones that they have.
    routing = settings(environment)["CORDBOARD_ROUTING"]
    made = subprocess.run([str(BIN / "cordboard"), "passwords", routing], env=environment)
    if made.returncode not in (0, 1):
        return made.returncode
    config = _short(environment["CORDBOARD_CONFIG"])
    with ExitStack() as held:
        if "CORDBOARD_REDIS" not in os.environ:
            redis = held.enter_context(EmbeddedRedis(ROOT / "state" / "redis"))
            environment["CORDBOARD_REDIS"] = redis.url
            print(f"Started a Valkey of our own at {redis.url} (set CORDBOARD_REDIS to use another).", flush=True)
        store = LocalStore(STORE, STORE_PORT)
        configured = _endpoint(Path(environment["CORDBOARD_CONFIG"]))
        if configured == store.endpoint:
            held.enter_context(store)
            print(f"Started a store of our own at {store.endpoint}; recordings are in {_short(STORE)}.", flush=True)
        elif configured is None:
            print(f"Recordings stay in spool/.  For a store of our own, say in {config}:\n  {store.yaml()}", flush=True)
        ETC.mkdir(mode=0o700, exist_ok=True)
        write_env(ETC / "env", settings(environment))
        print(
            f"The API answers at http://{environment.get('CORDBOARD_WEB', s.WEB)}/v1/ (its description, too).\n"
            "Start the switch with:\n"
            f"  CORDBOARD_SWITCH_VARS={ETC}/switch-vars.xml freeswitch -nf -nonat -conf {ROOT}/freeswitch/conf\n"
            "In another terminal, so that it asks this server:\n"
            f"  . {_short(ETC / 'env')}\n"
            "  cordboard passwords --show COMPANY 301  # what to put into a telephone\n"
            "  cordboard tokens create operator NAME   # a token of the API\n"
            "  cordboard live, calls, why, recordings, endpoints, agents, queue: cordboard --help lists all\n",
            flush=True,
        )
        return _serve(environment, routing)


def _endpoint(config: Path) -> str | None:
    """The store that cordboard.yaml names, if any; empty: somebody's cloud, or what nobody can read."""
    try:
        storage = s.read_config(config).storage
    except s.SettingsError:
        return ""  # the server says why
    return None if storage is None else storage.endpoint or ""


def _serve(environment: Mapping[str, str], routing: str) -> int:
    """Run the three until told to stop, or until the server ends.  Its exit code."""
    # Ctrl-C reaches us all; who is behind the server waits until it has ended.
    behind = [
        subprocess.Popen(
            [str(BIN / "cordboard"), name], env=environment, cwd=ROOT, process_group=0, preexec_fn=die_with_parent
        )
        for name in ("work", "web")
    ]
    command = [str(BIN / "cordboard"), "serve", "--routing", routing]
    server = subprocess.Popen(command, env=environment, cwd=ROOT, preexec_fn=die_with_parent)
    try:
        for heard in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(heard, lambda number, _: server.send_signal(number))
        signal.signal(signal.SIGHUP, lambda number, _: _all(server, *behind, number=number))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server hears Ctrl-C itself
        return server.wait()
    finally:
        for one in behind:
            one.terminate()
        for one in behind:
            try:
                one.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()


def _all(*processes: subprocess.Popen[bytes], number: int) -> None:
    for one in processes:
        one.send_signal(number)


if __name__ == "__main__":
    sys.exit(main())
