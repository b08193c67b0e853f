"""``make run``: serve routing/ to a real switch, with everything a first time needs.

The first run writes ``etc/`` (mode 0700): the switch's password, ``cordboard.yaml``, and ``switch-vars.xml``
for the configuration in ``freeswitch/conf``.  Each run makes a password for every phone that has none.  Without
``CORDBOARD_REDIS`` a Valkey of its own is started; ``etc/redis.url`` tells ``make agents`` and ``make queues`` where.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

from callcontrol.embedded import EmbeddedRedis
from scripts.rig import ROOT

ETC = ROOT / "etc"
BIN = Path(sys.executable).parent


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
    (directory / "cordboard.yaml").write_text(f"switches:\n  - {switch}\n")
    return True


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
    made = subprocess.run([str(BIN / "cordboard"), "passwords", str(ROOT / "routing")], env=environment)
    if made.returncode not in (0, 1):
        return made.returncode
    config = _short(environment["CORDBOARD_CONFIG"])
    print(
        "What to put into a telephone, 301 for one:\n"
        f"  CORDBOARD_CONFIG={config} {_short(BIN)}/cordboard passwords --show acme 301\n"
        "Start the switch with:\n"
        f"  CORDBOARD_SWITCH_VARS={ETC}/switch-vars.xml freeswitch -nf -nonat -conf {ROOT}/freeswitch/conf\n",
        flush=True,
    )
    redis = None if "CORDBOARD_REDIS" in os.environ else EmbeddedRedis(ROOT / "state" / "redis")
    try:
        if redis is not None:
            redis.start()
            environment["CORDBOARD_REDIS"] = redis.url
            _secret(ETC / "redis.url", redis.url)
            print(f"Started a Valkey of our own at {redis.url} (set CORDBOARD_REDIS to use another).", flush=True)
        command = [str(BIN / "cordboard"), "serve", "--routing", str(ROOT / "routing")]
        server = subprocess.Popen(command, env=environment, cwd=ROOT)
        for heard in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
            signal.signal(heard, lambda number, _: server.send_signal(number))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server hears Ctrl-C itself
        return server.wait()
    finally:
        if redis is not None:
            (ETC / "redis.url").unlink(missing_ok=True)
            redis.stop()


if __name__ == "__main__":
    sys.exit(main())
