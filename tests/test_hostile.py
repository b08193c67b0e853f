"""What strangers, broken peers, odd files and full disks may do: nothing to anybody but themselves.

Each test is an attack that once worked (or that only just did not).  Adopt into ``tests/``.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from callcontrol import serving
from callcontrol.esl import Limits, Parser, Reply
from callcontrol.routing import nodes
from callcontrol.routing.files import load_directory
from callcontrol.state import StateError, decode
from callcontrol.switchboard import _operations


def test_a_call_with_a_very_long_name_is_still_a_call() -> None:
    """10,000 letters of a display name, which the switch repeats eight times and more, were never served: the
    switch brought the call three hundred times and then refused it."""
    name = b"%C3%A9" * 10_000
    block = b"Event-Name: CHANNEL_DATA\nUnique-ID: call-0001\n"
    block += b"".join(b"variable_%d: %s\n" % (i, name) for i in range(8))
    messages: list[Any] = []
    parser = Parser(Limits())
    data = block + b"Content-Type: command/reply\nReply-Text: %2BOK\n\n"
    for at in range(0, len(data), 65536):
        parser.feed(data[at : at + 65536], messages.append)
    assert parser.error is None
    assert isinstance(messages[0], Reply)
    assert messages[0].event().get("Unique-ID") == "call-0001"


# ------------------------------------------------------------------------------------------- checkpoints


def checkpoint(**changes: Any) -> str:
    fields: dict[str, Any] = {
        "format": 1, "epoch": 1, "company": "acme", "version": "0" * 16, "called": "+74951234567", "began": 1,
        "flow": "main", "step": "greet", "stack": [], "progress": {}, "language": "en", "variables": {}, "ring": 0,
        "talk": 0,
    }  # fmt: skip
    raw = json.dumps(list({**fields, **changes}.values())).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_the_checkpoint_of_these_tests_is_one() -> None:
    assert decode(checkpoint()).step == "greet"


@pytest.mark.parametrize(
    "changes",
    [
        {"company": "../../etc"},
        {"version": "../current"},
        {"flow": "x\x1b[2J"},
        {"step": "a\r\nlevel=error event=forged"},
        {"step": "a\u2028b"},
        {"stack": ["main", "\ud800"]},
        {"called": "\ud800"},
        {"called": "+7495\n"},
        {"variables": {"brand": "\ud800"}},
        {"variables": {"brand": "\x1b[31m"}},
        {"progress": {"left": float("nan")}},
        {"progress": {"u": float("inf")}},
        {"progress": {"t": -float("inf")}},
        {"progress": {"u": 1e300}},
        {"progress": {"r": 10**200}},
    ],
    ids=repr,
)
def test_a_checkpoint_with_what_no_call_stores_is_refused(changes: dict[str, Any]) -> None:
    """What is let in goes into logs, facts, file names and arithmetic."""
    with pytest.raises(StateError):
        decode(checkpoint(**changes))


# -------------------------------------------------------------------------------------------------- logs


@pytest.fixture
def log_to(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], Any]]:
    def configure(stderr: Any) -> Any:
        monkeypatch.setattr("sys.stderr", stderr)
        serving.configure_logs()
        return structlog.get_logger("test").bind()

    before = structlog.get_config()
    yield configure
    structlog.configure(**before)


@pytest.mark.parametrize("character", list("\r\x1b\x00\x07\x7f\x85\x9b\u2028\u2029\u202e"), ids=ascii)
def test_a_log_line_shows_what_could_move_a_terminal(log_to: Callable[[Any], Any], character: str) -> None:
    stderr = io.StringIO()
    log_to(stderr).warning(f"a{character}b", company=f"c{character}d")
    line = stderr.getvalue()
    assert character not in line
    assert line.count("\n") == 1
    assert line.endswith("\n")


def test_a_log_that_takes_no_more_costs_nothing_else(log_to: Callable[[Any], Any]) -> None:
    """A full disk, or a reader that has gone: with the exception every call of the process was lost, and the
    supervisor itself at the next death of a child."""
    full = os.open("/dev/full", os.O_WRONLY)
    reader, broken = os.pipe()
    os.close(reader)
    for descriptor in (full, broken):
        stderr = open(descriptor, "w", buffering=1)  # noqa: SIM115 - closing it would write again
        log = log_to(stderr)
        log.warning("this goes nowhere")
        log.info("nor this")
        with contextlib.suppress(OSError):
            stderr.close()


# ------------------------------------------------------------------------------- the directory of routing


def within(seconds: int, what: Callable[[], Any]) -> Any:
    def late(*_: object) -> None:
        raise AssertionError(f"not within {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        return what()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", ["pipe", "directory", "device", "link to itself"])
def test_a_file_that_is_none_is_a_problem_and_keeps_nobody_waiting(tmp_path: Path, kind: str) -> None:
    """A pipe kept ``check`` for ever, and ``serve``'s reloads and the facts of dead processes behind it."""
    path = tmp_path / "acme.yaml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path)
    (loaded,) = within(5, lambda: load_directory(tmp_path))
    assert loaded.routing is None
    assert [problem.code for problem in loaded.problems] in (["E118"], ["E112"])


def test_a_million_tabs_are_read_in_no_time() -> None:
    """A regular expression holds the interpreter's lock: the supervisor's watch, restarts and SIGTERM with it."""
    text = "a:\n" + "\t" * 1_000_000 + "\n"
    began = time.process_time()
    list(nodes._TAB.finditer(text))
    assert time.process_time() - began < 1
    assert [found.end() - found.start() for found in nodes._TAB.finditer("a:\n \t \tb: c\n\t\t# d\n")] == [4]


# ------------------------------------------------------------------------------------------- damaged facts


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"call.ended","call":"x","n":1e999,"epoch":1,"switch":"s"}',
        b'{"type":"call.ended","a":' + b"[" * 100_000,
        b'{"type":"call.ended","call":"\\ud800","n":1,"epoch":1,"switch":"s"}',
        b'{"type":"call.ended","call":"x","n":1,"epoch":1,"switch":"\\ud800"}',
        b'["type":"call.ended"]',
        b'{"type":"call.ended","call":"\xff"}',
    ],
    ids=lambda line: line[:60],
)
def test_a_damaged_line_stops_nobody(line: bytes) -> None:
    """It raised: that file, and all files of dead processes behind it in the alphabet, were never shipped."""
    whole = b'{"v":1,"type":"step.left"}\n'
    operations = _operations(whole + line + b"\n" + whole)
    assert b"".join(part for part in operations if isinstance(part, bytes)).count(b"step.left") == 2
    for part in operations:
        if isinstance(part, str):
            part.encode()
