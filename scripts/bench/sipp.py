"""The real switch with SIPp as the caller, for the part that stands side by side.

The switch is started as the acceptance calls start it, with the configuration that we ship; SIPp gives the time from
INVITE to 200 OK of each call itself.  The surprise: all contestants are on one port in turn, since the dialplan names
one, so the switch goes on while they change.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Self

from scripts.bench.contestants import free_port
from scripts.bench.outcome import BenchError, Outcome
from tests.switch import harness

SCENARIO = Path(__file__).parent / "caller.xml"
#: Milliseconds from the answer until the key is pressed: 200 of the first sound, 300 of the second.
PRESS_AFTER = 500
#: Seconds that the last call may take after the others.
_PATIENCE = 15


class RealSwitch:
    """A FreeSWITCH binary, ready for calls on loopback.  A context manager."""

    def __init__(self, program: str, directory: Path) -> None:
        self.controller = free_port()
        self._directory = directory
        directory.mkdir()
        keys = harness.RtpClock().packets(harness.Press("1"))
        self._keys = directory / "key.pcap"
        self._keys.write_bytes(harness.pcap(keys))
        self._switch = harness.Switch(
            harness.Installation(program, directory / "certificates"),
            directory / "switch",
            f"127.0.0.1:{self.controller}",
            {"cordboard_calls_per_second": "1000", "cordboard_max_calls": "5000"},
        )
        self._runs = 0

    @property
    def esl_port(self) -> int:
        return self._switch.esl_port

    @property
    def password(self) -> str:
        return self._switch.password

    def __enter__(self) -> Self:
        (self._directory / "certificates").mkdir()
        try:
            self._switch.__enter__()
        except BaseException:
            self._switch.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._switch.stop()

    def calls(self, to: str, count: int, rate: float) -> Outcome:
        """``count`` calls at ``rate`` a second, each to its end."""
        self._runs += 1
        here = self._directory / f"sipp-{self._runs}"
        here.mkdir()
        text = SCENARIO.read_text()
        for token, value in {"to": to, "key": self._keys, "press_after": PRESS_AFTER}.items():
            text = text.replace(f"@{token}@", str(value))
        (here / "caller.xml").write_text(text)
        seconds = count / rate + _PATIENCE
        command = ["sipp", f"127.0.0.1:{self._switch.sip_port}", "-sf", "caller.xml", "-nostdin", "-i", "127.0.0.1"]
        command += ["-m", str(count), "-r", str(rate), "-l", "10000", "-timeout", f"{seconds:.0f}s"]
        command += ["-timeout_error", "-recv_timeout", f"{_PATIENCE * 1000}"]
        command += ["-trace_rtt", "-rtt_freq", "1", "-trace_stat", "-fd", "1", "-stf", "stat.csv"]
        with (here / "output").open("wb") as output:
            process = subprocess.Popen(
                command, cwd=here, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                preexec_fn=harness.die_with_parent, process_group=0,
            )  # fmt: skip
            try:
                process.wait(seconds + 15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return self._outcome(here, count)

    def _outcome(self, here: Path, count: int) -> Outcome:
        try:
            rows = [line.split(";") for line in (here / "stat.csv").read_text().splitlines()]
            last = dict(zip(rows[0], rows[-1], strict=False))
            good = int(last["SuccessfulCall(C)"])
            (rtt,) = here.glob("*_rtt.csv")
            times = [line.split(";") for line in rtt.read_text().splitlines()[1:]]
        except (OSError, ValueError, KeyError, IndexError) as error:
            words = (here / "output").read_bytes()[-1500:].decode("utf-8", "replace")
            raise BenchError(f"SIPp said nothing that could be used ({error}): {words}") from None
        lost = {"SIPp counts as failed": count - good} if good < count else {}
        return Outcome(count, [float(row[1]) / 1000 for row in times if len(row) > 1], lost)


def why_not(program: str) -> str:
    """Why nothing can be measured with this switch; empty if it can."""
    os.environ["CORDBOARD_TEST_FREESWITCH"] = program
    return harness.why_not() or ""
