"""The supervisor, with tiny children: killed, hung, looping, replaced.  We wait for its log lines."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from callcontrol import supervisor

#: The supervisor's process: argv = directory, number of children, Timing as JSON.  Logs JSON lines to stdout,
#: which its children share.
PARENT = """
    import json, os, pathlib, signal, sys, time
    import structlog
    if len(sys.argv) > 4:  # as serving does while it publishes for the first time
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGUSR1})
        print("{\\"event\\": \\"deaf\\"}", flush=True)
        while not (pathlib.Path(sys.argv[1]) / "published").exists():
            time.sleep(0.01)
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.format_exc_info,
                    structlog.processors.JSONRenderer()],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout))
    from callcontrol.supervisor import Timing, supervise
    directory = pathlib.Path(sys.argv[1])
    log = structlog.get_logger()
    def reload():
        log.info("reload begins")
        while (directory / "slow").exists():
            time.sleep(0.01)
        if (directory / "bad").exists():
            raise ValueError("bad routing")
        log.info("reload")
    class Next:
        def prepare(self):
            return ""
        def abandon(self):
            log.info("abandoned")
        def execute(self, children, descriptors):
            log.info("becoming")
            while (directory / "slow exec").exists():
                time.sleep(0.01)
            for descriptor in descriptors:
                os.set_inheritable(descriptor, True)
            handed = {"HANDED": json.dumps(children)}
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **handed})
    def request():
        changed = (directory / "changed").exists()  # before it is said, at which a test may change it
        log.info("request")
        return changed
    sys.exit(supervise(
        lambda i: [sys.executable, str(directory / "child.py"), str(i)],
        int(sys.argv[2]),
        on_child_death=lambda name: log.info("buried", name=name),
        on_reload=reload,
        on_request=request,
        succession=Next() if (directory / "next").exists() else None,
        adopted=json.loads(os.environ.pop("HANDED", "[]")),
        timing=Timing(**json.loads(sys.argv[3]))))
"""

#: A child does what the file ``mode-<i>`` (else ``mode``) says at its start.
CHILD = """
    import json, os, pathlib, signal, sys, time
    directory = pathlib.Path(__file__).parent
    index = sys.argv[1]
    modes = [directory / f"mode-{index}", directory / "mode"]
    mode = next((m.read_text() for m in modes if m.exists()), "good")
    def say(event, **more):
        line = json.dumps({"event": event, "index": int(index), "pid": os.getpid(), **more})
        os.write(1, line.encode() + b"\\n")
    if mode == "crash":
        sys.exit(1)
    if mode == "cannot start":
        print("the port is taken", file=sys.stderr)
        sys.exit(3)
    if mode == "spin":
        import gevent.monkey
        gevent.monkey.patch_all()
    from callcontrol.supervisor import heartbeat, heartbeat_fd, process_name
    def drain(*_):
        say("child drained")
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if mode == "deaf" else drain)
    if mode == "gated":  # says that it is there, and is not ready before the fifo opens
        say("child waits")
        if open(directory / "gate").read() == "shut":
            sys.exit(3)
    signal.signal(signal.SIGHUP, lambda *_: say("child hup"))
    signal.signal(signal.SIGUSR1, lambda *_: say("child usr1") if mode == "follows" else os._exit(3))
    say("child up", name=process_name())
    if mode == "silent":
        while True:
            signal.pause()
    if mode == "spin":
        import gevent
        beat = gevent.spawn(heartbeat, heartbeat_fd())
        gevent.sleep(0.3)
        say("child spins")
        while True:
            pass
    heartbeat(heartbeat_fd(), every=3600 if mode == "slow" else 0.25)
    signal.pause()
"""


class Supervised:
    """A running supervisor, and what it and its children said."""

    def __init__(self, directory: Path, processes: int, *, deaf: bool = False, **timing: float) -> None:
        (directory / "child.py").write_text(textwrap.dedent(CHILD))
        self.directory = directory
        command = [sys.executable, "-c", textwrap.dedent(PARENT), str(directory), str(processes)]
        self.process = subprocess.Popen(
            [*command, json.dumps(timing), *(["deaf"] if deaf else [])],
            stdout=subprocess.PIPE,
            stderr=(directory / "stderr").open("wb"),
        )
        self.seen: list[dict[str, Any]] = []
        self._lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            # A child's own log is text for people.
            said = json.loads(line) if line.startswith(b"{") else {"event": line.decode()}
            self._lines.put({**said, "seen_at": time.monotonic()})
        self._lines.put(None)  # nobody is left who could write

    def next(self) -> dict[str, Any] | None:
        try:
            line = self._lines.get(timeout=30)
        except queue.Empty:
            raise AssertionError(f"nothing more was said; said: {self.events}") from None
        if line is not None:
            self.seen.append(line)
        return line

    def wait_for(self, event: str, **fields: Any) -> dict[str, Any]:
        """The next such line, not one of those that were waited for before."""
        end = time.monotonic() + 30
        while time.monotonic() < end and (line := self.next()) is not None:
            if line["event"] == event and all(line.get(key) == value for key, value in fields.items()):
                return line
        raise AssertionError(f"never said: {event} {fields}; said: {self.events}")

    def wait_for_each(self, *events: str) -> None:
        """All of these, in whatever order they come."""
        missing = set(events)
        while missing and (line := self.next()) is not None:
            missing.discard(line["event"])
        assert not missing, f"never said: {missing}; said: {self.events}"

    def ready(self, count: int) -> list[int]:
        """The pids of the next ``count`` children that become ready."""
        return [int(self.wait_for("process ready")["pid"]) for _ in range(count)]

    def end(self) -> int:
        """Wait until the supervisor and all its children are gone; the supervisor's exit code."""
        while self.next() is not None:
            pass
        return self.process.wait(30)

    @property
    def events(self) -> list[str]:
        return [line["event"] for line in self.seen]

    def send(self, signum: int) -> None:
        self.process.send_signal(signum)

    def mode(self, text: str, index: int | None = None) -> None:
        (self.directory / ("mode" if index is None else f"mode-{index}")).write_text(text)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(30)
        while self._reader.is_alive():  # children hold the pipe open; the last may have been started and never told of
            self._kill_children()
            self._reader.join(0.05)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _kill_children(self) -> None:
        child = os.fsencode(self.directory / "child.py")
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if child in path.read_bytes().split(b"\0"):
                    os.kill(int(path.parent.name), signal.SIGKILL)


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


Run = Callable[..., Supervised]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    started: list[Supervised] = []

    def start(processes: int = 2, *, deaf: bool = False, **timing: float) -> Supervised:
        started.append(Supervised(tmp_path, processes, deaf=deaf, **timing))
        return started[-1]

    yield start
    for one in started:
        one.close()


def test_a_killed_child_is_replaced_at_once_and_leaves_no_zombie(run: Run) -> None:
    it = run(2, backoff_low=5.0)
    first, second = it.ready(2)
    os.kill(first, signal.SIGKILL)
    ended = it.wait_for("process ended", pid=first)
    started = it.wait_for("process started")
    assert started["seen_at"] - ended["seen_at"] < 4  # so there was no backoff
    assert it.ready(1) == [started["pid"]]
    assert ended["code"] == -signal.SIGKILL
    assert not Path(f"/proc/{first}").exists()
    assert is_running(second)


def test_the_death_is_told_with_the_name_that_the_child_had(run: Run) -> None:
    it = run(1)
    name = it.wait_for("child up")["name"]
    [pid] = it.ready(1)
    os.kill(pid, signal.SIGKILL)
    assert it.wait_for("buried")["name"] == name


def test_a_stopped_child_is_killed_and_replaced(run: Run) -> None:
    it = run(2)
    first, second = it.ready(2)
    os.kill(first, signal.SIGSTOP)
    assert it.wait_for("process killed")["pid"] == first
    assert it.ready(1) != [first]
    assert is_running(second)


def test_a_child_whose_gevent_loop_hangs_is_killed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mode").write_text("spin")
    it = run(1)
    spinning = it.wait_for("child spins")["pid"]
    it.mode("good")
    assert it.wait_for("process killed")["pid"] == spinning
    assert it.ready(1) != [spinning]


def test_a_child_that_never_beats_is_killed_after_the_first_patience(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mode").write_text("silent")
    it = run(1, first_beat=1.5)
    up = it.wait_for("child up")
    it.mode("good")
    assert it.wait_for("process killed")["pid"] == up["pid"]
    it.ready(1)


def test_a_pause_of_the_whole_machine_kills_nobody(run: Run) -> None:
    it = run(2)
    pids = it.ready(2)
    everybody = [it.process.pid, *pids]
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(1.6)  # the pause itself: longer than the patience
    os.kill(it.process.pid, signal.SIGCONT)
    time.sleep(0.1)  # the supervisor runs first and finds silent children
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    for pid in pids:
        it.send(signal.SIGHUP)
        it.wait_for("child hup", pid=pid)
    assert "process killed" not in it.events


def test_a_child_that_crashes_again_and_again_is_started_ever_more_slowly(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mode").write_text("crash")
    it = run(1, backoff_low=0.1, backoff_high=0.4)
    pauses = []
    for _ in range(6):
        ended = it.wait_for("process ended")["seen_at"]
        pauses.append(it.wait_for("process started")["seen_at"] - ended)
    for pause, least in zip(pauses, (0, 0.1, 0.2, 0.4, 0.4, 0.4), strict=True):
        assert least - 0.05 <= pause
    assert pauses[-1] < 1.3  # it would be 1.6 without a ceiling
    it.mode("good")
    it.ready(1)


def test_it_gives_up_when_no_first_start_succeeds_and_says_why(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mode").write_text("cannot start")
    it = run(2)
    assert it.end() == 3
    assert b"the port is taken" in (tmp_path / "stderr").read_bytes()


def test_it_goes_on_when_one_first_start_succeeds(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mode-0").write_text("cannot start")
    it = run(2)
    it.wait_for("process ended", child=0, code=3)
    assert it.wait_for("process ready")["child"] == 1
    it.mode("good", 0)
    assert it.wait_for("process ready")["child"] == 0


def test_it_goes_on_when_a_late_first_start_fails_but_another_child_is_up(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mode-0").write_text("cannot start")
    (tmp_path / "mode-1").write_text("gated")
    os.mkfifo(tmp_path / "gate")
    it = run(2)
    it.wait_for("child waits")
    it.mode("good", 0)
    assert it.wait_for("process ready")["child"] == 0
    it.mode("good", 1)
    (tmp_path / "gate").write_text("shut")
    it.wait_for("process ended", child=1, code=3)
    assert it.wait_for("process ready")["child"] == 1


def test_it_never_gives_up_on_children_that_once_were_ready(run: Run) -> None:
    it = run(2)
    pids = it.ready(2)
    for pid in pids:
        os.kill(pid, signal.SIGUSR1)  # they end with code 3
    assert {it.wait_for("process ended", code=3)["pid"] for _ in pids} == set(pids)
    it.ready(1)


def test_sigterm_drains_every_child_and_ends_with_0(run: Run) -> None:
    it = run(2)
    pids = it.ready(2)
    it.send(signal.SIGTERM)
    assert it.end() == 0
    assert it.events.count("child drained") == 2
    assert it.events.count("buried") == 2
    assert not any(map(is_running, pids))


def test_a_child_that_does_not_drain_is_killed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mode-0").write_text("deaf")
    it = run(2, drain=0.5)
    it.ready(2)
    it.send(signal.SIGTERM)
    assert it.wait_for("process killed")["was"] == "draining"
    assert it.end() == 0


def test_a_second_interrupt_does_not_wait(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mode").write_text("deaf")
    it = run(1, drain=600.0)
    it.ready(1)
    it.send(signal.SIGINT)
    it.wait_for("stopping")
    it.send(signal.SIGINT)
    assert it.wait_for("process ended")["code"] == -signal.SIGKILL
    assert it.end() == 0


def test_a_reload_is_passed_on_when_it_is_done_and_only_then(run: Run, tmp_path: Path) -> None:
    it = run(2)
    it.ready(2)
    (tmp_path / "bad").touch()
    it.send(signal.SIGHUP)
    it.wait_for("the reload failed")
    (tmp_path / "bad").unlink()
    it.send(signal.SIGHUP)
    it.wait_for("child hup")
    it.wait_for("child hup")
    it.send(signal.SIGTERM)
    assert it.end() == 0
    assert it.events.index("reload") < it.events.index("child hup")
    assert it.events.count("child hup") == 2


def test_a_child_that_is_still_starting_hears_of_the_reload_when_it_is_ready(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mode").write_text("gated")
    os.mkfifo(tmp_path / "gate")
    it = run(1)
    waiting = it.wait_for("child waits")["pid"]
    it.send(signal.SIGHUP)
    it.wait_for("reload")
    (tmp_path / "gate").write_text("open")
    assert it.wait_for("child hup")["pid"] == waiting


def test_a_death_does_not_wait_for_a_reload_nor_does_the_end(run: Run, tmp_path: Path) -> None:
    (tmp_path / "slow").touch()
    it = run(1)
    name = it.wait_for("child up")["name"]
    [pid] = it.ready(1)
    it.send(signal.SIGHUP)
    it.wait_for("reload begins")
    os.kill(pid, signal.SIGKILL)
    assert it.wait_for("buried")["name"] == name
    it.ready(1)
    it.send(signal.SIGTERM)
    assert it.end() == 0
    assert "reload" not in it.events


def test_reloads_that_come_while_one_runs_become_one_that_begins_after_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "slow").touch()
    it = run(1)
    it.ready(1)
    it.send(signal.SIGHUP)
    it.wait_for("reload begins")
    for _ in range(3):
        it.send(signal.SIGHUP)
    it.send(signal.SIGUSR2)  # when this is heard, so are those
    it.wait_for("rolling restart")
    (tmp_path / "slow").unlink()
    it.wait_for("reload")
    it.wait_for("reload begins")
    it.wait_for("reload")
    it.send(signal.SIGTERM)
    assert it.end() == 0
    assert it.events.count("reload begins") == 2


def test_a_reload_that_is_asked_for_before_it_can_be_heard_is_not_lost(run: Run, tmp_path: Path) -> None:
    it = run(1, deaf=True)
    it.wait_for("deaf")
    it.send(signal.SIGHUP)
    (tmp_path / "published").touch()
    it.wait_for("reload")


def test_what_is_asked_for_is_passed_on_by_its_own_signal_if_it_changed_something(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mode").write_text("follows")
    it = run(2)
    it.ready(2)
    it.send(signal.SIGUSR1)
    it.wait_for("request")
    (tmp_path / "changed").touch()
    it.send(signal.SIGUSR1)
    it.wait_for("request")
    it.wait_for("child usr1")
    it.wait_for("child usr1")
    it.send(signal.SIGTERM)
    assert it.end() == 0
    assert (it.events.count("child usr1"), it.events.count("child hup"), it.events.count("reload")) == (2, 0, 0)


def test_a_child_that_is_still_starting_hears_of_both_when_it_is_ready(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mode").write_text("gated")
    (tmp_path / "changed").touch()
    os.mkfifo(tmp_path / "gate")
    it = run(1, deaf=True)
    it.wait_for("deaf")
    it.send(signal.SIGUSR1)  # asked for before it can be heard
    (tmp_path / "published").touch()
    it.wait_for_each("child waits", "request")
    it.send(signal.SIGHUP)
    it.wait_for("reload")
    (tmp_path / "gate").write_text("open")
    it.wait_for("child hup")
    assert it.wait_for("process ended")["code"] == 3  # of the other signal, as this child does


def test_a_rolling_restart_replaces_one_by_one_and_the_new_one_is_ready_first(run: Run) -> None:
    it = run(3)
    old = it.ready(3)
    it.send(signal.SIGUSR2)
    new = []
    for _ in old:
        new.append(int(it.wait_for("process ready")["pid"]))
        it.wait_for("process ended", code=0, was="draining")
    ready: set[int] = set()
    for line in it.seen:
        if line["event"] == "process ready":
            ready.add(line["pid"])
        elif line["event"] == "process ended":
            ready.discard(line["pid"])
            assert len(ready) == 3
    assert ready == set(new)
    assert not ready & set(old)


def test_a_rolling_restart_stops_at_a_version_that_does_not_come_up(run: Run) -> None:
    it = run(2)
    old = it.ready(2)
    it.mode("crash")
    it.send(signal.SIGUSR2)
    it.wait_for("rolling restart given up: no new process")
    it.send(signal.SIGHUP)
    heard = {it.wait_for("child hup")["pid"], it.wait_for("child hup")["pid"]}
    assert heard == set(old)
    assert it.events.count("process started") == 2 + 1


@pytest.mark.parametrize(("signum", "done"), [(signal.SIGUSR1, "request"), (signal.SIGHUP, "reload")])
def test_what_is_asked_for_while_it_becomes_the_next_release_is_done_by_that(
    run: Run, tmp_path: Path, signum: int, done: str
) -> None:
    for name in ("next", "slow exec", "changed"):
        (tmp_path / name).touch()
    (tmp_path / "mode").write_text("follows")
    it = run(1)
    it.ready(1)
    it.send(signal.SIGUSR2)
    [new] = it.ready(1)
    it.wait_for("becoming")
    it.send(signum)
    (tmp_path / "slow exec").unlink()
    heard = "child hup" if done == "reload" else "child usr1"
    it.wait_for_each("children taken over", done, heard)
    assert [line["pid"] for line in it.seen if line["event"] == heard] == [new]
    it.send(signal.SIGTERM)
    assert it.end() == 0


def test_a_new_one_that_takes_a_dead_ones_place_and_never_is_ready_ends_the_upgrade(run: Run, tmp_path: Path) -> None:
    (tmp_path / "next").touch()
    os.mkfifo(tmp_path / "gate")
    it = run(1)
    [old] = it.ready(1)
    it.mode("gated")
    it.send(signal.SIGUSR2)
    it.wait_for("child waits")
    os.kill(old, signal.SIGKILL)
    it.wait_for("process ended", pid=old)
    it.mode("good")
    (tmp_path / "gate").write_text("shut")
    it.wait_for("abandoned")
    it.ready(1)
    it.send(signal.SIGTERM)
    assert it.end() == 0
    assert "becoming" not in it.events


def test_children_end_when_the_supervisor_is_killed(run: Run) -> None:
    it = run(2)
    it.ready(2)
    it.send(signal.SIGKILL)
    assert it.end() == -signal.SIGKILL
    assert it.events.count("child drained") == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a parent's death")
def test_a_child_need_not_beat_to_hear_of_the_supervisors_death(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mode").write_text("slow")
    it = run(1, beat=3600.0)
    it.ready(1)
    it.send(signal.SIGKILL)
    it.end()
    assert it.events.count("child drained") == 1


def test_a_child_that_beats_notices_a_dead_supervisor_by_its_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(supervisor, "die_with_parent", lambda: None)
    monkeypatch.setattr(os, "kill", lambda *a: sent.append(a))
    supervisor.heartbeat(writer)
    os.close(writer)
    assert sent == [(os.getpid(), signal.SIGTERM)]


def test_a_full_pipe_stops_no_child() -> None:
    reader, writer = os.pipe()
    beats = 0

    class Enough(Exception):
        pass

    def sleep(_: float) -> None:
        nonlocal beats
        beats += 1
        if beats == 70_000:  # a pipe holds 65,536
            raise Enough

    with pytest.raises(Enough):
        supervisor.heartbeat(writer, sleep=sleep)
    os.close(reader)
    os.close(writer)


def test_the_pipe_is_read_from_the_environment_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(supervisor.HEARTBEAT_VARIABLE, "7")
    assert supervisor.heartbeat_fd() == 7
    assert supervisor.heartbeat_fd() is None


def test_a_supervisor_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        supervisor.supervise(lambda _: ["true"], 0)


def test_a_program_that_does_not_exist_is_told_to_the_caller() -> None:
    with pytest.raises(FileNotFoundError):
        supervisor.supervise(lambda _: ["/there/is/no/such/program"], 1)
