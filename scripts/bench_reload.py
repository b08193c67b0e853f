"""How long a reload holds calls up: a thousand companies and one large one, all changed, with calls coming in.

A controller runs in a process of its own with a clock in its loop that should tick every millisecond; what it ticks
late is what some call waits.  Calls come from the stand-in switch in this process.  ``main`` prints a table.

The surprise: on a busy machine the largest gap is somebody else's work.  So gaps are told in time and in processor
time: the second is what the controller itself did between two ticks.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

PERIOD = 0.001  # seconds between two ticks

COMPANY = """\
cordboard: 1
company: Company {n}
country: RU
timezone: Europe/Moscow
languages: [en, ru]
numbers:
{numbers}
people:
{people}
groups:
  service: [301, 302]
hours:
  office: {{mon-fri: [09:00-13:00, 14:00-18:00], holidays: closed}}
flows:
  reception:
    clock: {{hours: {{office: greet}}, otherwise: greet}}
    greet:
      menu: For sales press 1, for service press 2.
      keys: {{1: sales, 2: service}}
      tries: {tries}
      otherwise: message
    sales: {{dial: 301, otherwise: message}}
    service: {{dial: [{{to: service, ring: 15s}}, {{to: 301, ring: 25s}}], otherwise: message}}
    message: {{voicemail: 301, greeting: Please leave a message.}}
"""


def number(company: int, n: int) -> str:
    """A number of a company."""
    return f"+7495{company:05d}{n:02d}"


def write_companies(directory: Path, companies: int, numbers: int, people: int, tries: int) -> None:
    """``companies`` files with ``numbers`` numbers each; the last one has ``people`` people."""
    directory.mkdir(parents=True, exist_ok=True)
    for n in range(companies):
        others = range(1000, 1008) if n < companies - 1 else range(10_000, 10_000 + people)
        text = COMPANY.format(
            n=n,
            tries=tries,
            numbers="\n".join(f'  "{number(n, i)}": {{flow: reception}}' for i in range(numbers)),
            people="\n".join(
                f"  {extension}: {{name: Person {extension}, email: p{extension}@c{n}.test}}"
                for extension in (301, 302, *others)
            ),
        )
        (directory / f"company-{n}.yaml").write_text(text)


# ------------------------------------------------------------------------------------------- the controller


def controller(directory: Path, port: int, switch_port: int, password: str, redis: str) -> None:
    """Be a controller with a clock; one line of JSON when ready, and one for each SIGUSR1 since the last."""
    from gevent import monkey

    monkey.patch_all()
    import gevent
    import structlog

    from callcontrol.server import Controller, bound_socket
    from callcontrol.settings import Config, Settings, SwitchAddress, networks

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    address = SwitchAddress("switch1", "127.0.0.1", switch_port, password)
    settings = Settings(
        routing=directory / "routing",
        listen=("127.0.0.1", port),
        redis=redis,
        config=Config((address,)),
        peers=networks("127.0.0.0/8"),
        state=directory / "state",
        sounds=directory / "routing" / "sounds",
        spool=directory / "spool",
        processes=1,
        domain="bench.test",
        config_path=directory / "cordboard.yaml",
    )
    process = Controller(settings)
    gaps: list[tuple[float, float]] = []

    def tick() -> None:
        while True:
            wall, processor = time.perf_counter(), time.thread_time()
            gevent.sleep(PERIOD)
            gaps.append((time.perf_counter() - wall - PERIOD, time.thread_time() - processor))

    def say(**more: Any) -> None:
        walls, processors = sorted(wall for wall, _ in gaps), sorted(processor for _, processor in gaps)
        gaps.clear()
        worst = {"gap": walls[-1], "gap99": walls[len(walls) * 99 // 100], "work": processors[-1]} if walls else {}
        print(json.dumps({**worst, **more}), flush=True)

    def reload() -> None:
        gaps.clear()
        began, processor = time.perf_counter(), time.process_time()
        process.reload()
        say(seconds=time.perf_counter() - began, processor=time.process_time() - processor)

    gevent.signal_handler(signal.SIGHUP, lambda: gevent.spawn(reload))
    gevent.signal_handler(signal.SIGUSR1, say)

    def ready() -> None:
        gevent.spawn(tick)
        say(ready=True)

    process.serve(bound_socket("127.0.0.1", port), ready)


class _Controller:
    """The process, asked from here."""

    def __init__(self, arguments: list[str]) -> None:
        command = [sys.executable, "-m", "scripts.bench_reload", *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self._said = cast(IO[bytes], self._process.stdout)
        self.read()

    def read(self) -> dict[str, Any]:
        """Its next line.  Raises RuntimeError when it has ended."""
        import gevent

        line = gevent.get_hub().threadpool.apply(self._said.readline)
        if not line:
            raise RuntimeError(f"the controller ended with {self._process.wait()}")
        return dict(json.loads(line))

    def ask(self, signum: int) -> dict[str, Any]:
        """Signal it, and read what it says."""
        self._process.send_signal(signum)
        return self.read()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


# -------------------------------------------------------------------------------------------------- the run


@contextmanager
def _calls(switch: Any, companies: int, rate: float) -> Iterator[list[float]]:
    """Calls come at ``rate`` a second; the list gets the seconds until each was answered."""
    import gevent

    delays: list[float] = []

    def call(n: int) -> None:
        began = time.perf_counter()
        caller = switch.call(f"+7903{n:07d}", number(n % companies, n % 10))
        caller.wait("answered", 30)
        delays.append(time.perf_counter() - began)
        gevent.sleep(0.5)
        caller.hangup()

    def place() -> None:
        n = 0
        while True:
            gevent.spawn(call, n)
            n += 1
            gevent.sleep(1 / rate)

    placing = gevent.spawn(place)
    try:
        yield delays
    finally:
        placing.kill()


def measure(directory: Path, companies: int, numbers: int, people: int, rate: float) -> list[tuple[str, str]]:
    """Run it all in ``directory``; rows of what and how much."""
    import gevent

    from callcontrol.embedded import EmbeddedRedis
    from callcontrol.outcomes import read_outcome
    from callcontrol.publishing import command
    from freeswitch.simulator import Switch
    from scripts.rig import free_port

    routing, state = directory / "routing", directory / "state"
    (state / "facts").mkdir(parents=True)
    (directory / "spool").mkdir()
    port, password = free_port(), "bench"
    with EmbeddedRedis(directory / "redis") as redis:
        switch = Switch([("127.0.0.1", port)], password=password)
        switch.start()
        switch_port = switch.esl_address[1]
        secret = directory / "esl.password"
        secret.touch(mode=0o600)
        secret.write_text(password)
        config = directory / "cordboard.yaml"
        config.write_text(f"switches: [{{name: switch1, port: {switch_port}, password_file: esl.password}}]\n")

        def publish() -> float:
            began = time.perf_counter()
            line = command(routing, routing / "sounds", state, config, "cordboard.test", os.getpid())
            publisher = subprocess.Popen(line, stderr=subprocess.DEVNULL)
            while publisher.poll() is None:
                gevent.sleep(0.01)
            outcome = read_outcome(state)
            if publisher.returncode or outcome is None or len(outcome.live) < companies:
                raise RuntimeError(f"publishing failed: {outcome.problems[:3] if outcome else 'see above'}")
            return time.perf_counter() - began

        write_companies(routing, companies, numbers, people, 2)
        first = publish()
        arguments = [str(directory), str(port), str(switch_port), password, redis.url]
        began = time.perf_counter()
        one = _Controller(arguments)
        start = time.perf_counter() - began
        try:
            gevent.sleep(1.0)
            with _calls(switch, companies, rate) as before:
                one.ask(signal.SIGUSR1)
                gevent.sleep(8.0)
                quiet = one.ask(signal.SIGUSR1)
            write_companies(routing, companies, numbers, people, 3)
            gevent.sleep(1.0)
            with _calls(switch, companies, rate) as publishing:
                one.ask(signal.SIGUSR1)
                second = publish()
                published = one.ask(signal.SIGUSR1)
            gevent.sleep(1.0)
            with _calls(switch, companies, rate) as during:
                reloaded = one.ask(signal.SIGHUP)
            nothing = publish()
        finally:
            one.end()
            switch.stop()

    def gap(said: dict[str, Any]) -> str:
        return f"{said['gap'] * 1000:.1f} ms, of which its own work {said['work'] * 1000:.1f} ms"

    def delay(delays: list[float]) -> str:
        if not delays:
            return "no call"
        longest, median = max(delays) * 1000, statistics.median(delays) * 1000
        return f"median {median:.1f} ms, longest {longest:.1f} ms, {len(delays)} calls"

    return [
        (
            f"publish {companies} companies with {companies * numbers} numbers, one with {people} people",
            f"{first:.1f} s",
        ),
        ("publish them again, all changed", f"{second:.1f} s"),
        ("publish them again, nothing changed", f"{nothing:.1f} s"),
        ("a controller starts, until it is ready", f"{start:.1f} s"),
        ("a controller takes the changes up", f"{reloaded['seconds']:.1f} s, {reloaded['processor']:.1f} s of work"),
        ("largest gap in its loop, calls only", gap(quiet)),
        ("largest gap in its loop, while another process publishes", gap(published)),
        ("largest gap in its loop, while it takes the changes up", gap(reloaded)),
        ("until a call is answered, calls only", delay(before)),
        ("until a call is answered, while another process publishes", delay(publishing)),
        ("until a call is answered, while the controller takes the changes up", delay(during)),
    ]


def main(companies: int = 1000, numbers: int = 10, people: int = 5000, rate: float = 20.0) -> int:
    """Print the table.  Returns the exit code."""
    with tempfile.TemporaryDirectory() as directory:
        rows = measure(Path(directory), companies, numbers, people, rate)
    print(f"Reload, with {rate:g} calls a second")
    for what, how_much in rows:
        print(f"  {what:<75} {how_much}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        controller(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5])
    else:
        sys.exit(main())
