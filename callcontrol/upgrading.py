"""A running supervisor becomes the next release of itself: the same process, the same children, the same port.

Releases stand side by side, and ``current`` is a link to one of them.  A supervisor was started through the link and
pins what it leads to at that moment (:class:`Program`), so that whatever dies is started again of the release that it
runs, wherever the link leads by then.  On SIGUSR2 it follows the link anew: the next release is tried in a process of
its own (:class:`Trial`), and only when that has done everything that could fail is anybody replaced.

Where the surprise lies:

* A script's first line names its Python, so the script itself is executed, never ``sys.executable`` with the script.
* ``execve`` keeps the process's number, its children, its locks and the signals that wait: what is blocked before it
  is heard after it.  What it does not keep is memory; that goes by :data:`HANDOVER`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

#: What the next program is told by the one before: JSON with ``pid`` (whose it is) and whatever there is to hand over.
HANDOVER = "CORDBOARD_HANDOVER"
#: How long a trial may take, seconds: it publishes, speech included.
PATIENCE = 3600.0
#: The option with which a command does all that may fail at its start, and ends.
TRY = "--try"


class Program:
    """What this process runs, and by which name the next release of it is found."""

    def __init__(self, named: str | None = None) -> None:
        first = sys.argv[0] if os.path.exists(sys.argv[0]) else shutil.which("cordboard") or sys.argv[0]
        #: As it was called, through the link: ``/opt/cordboard/current/bin/cordboard``.
        self.named = named or os.path.abspath(first)
        #: Where that led when we started: ``[/opt/cordboard/releases/1.2/bin/cordboard]``.
        self.pinned = _runnable(first)

    def next(self) -> list[str]:
        """Where the name leads now."""
        return _runnable(self.named)


def _runnable(path: str) -> list[str]:
    real = os.path.realpath(path)
    return [real] if os.access(real, os.X_OK) and not real.endswith(".py") else [sys.executable, real]


class Trial:
    """The next release, doing at its own expense whatever could fail at its start."""

    def __init__(self, program: Sequence[str], arguments: Sequence[str], patience: float = PATIENCE) -> None:
        self._deadline = time.monotonic() + patience
        self._failed = ""
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the program that the operator has put there
                [*program, *arguments, TRY],
                stdin=subprocess.DEVNULL,
                process_group=0,  # Ctrl-C is for us
            )
        except OSError as error:
            self._failed = f"{program[0]} cannot be run: {error.strerror or error}"

    def poll(self) -> str | None:
        """None: not done yet; "": all is well; else why not."""
        if self._process is None:
            return self._failed
        code = self._process.poll()
        if code is None:
            if time.monotonic() < self._deadline:
                return None
            self.kill()
            return "it was still being tried when its time was over"
        how = f"signal {-code}" if code < 0 else f"code {code}"
        return "" if code == 0 else f"it ended with {how} when it was tried; its own words are above"

    def wait(self) -> str:
        """As ``poll``, when it is done."""
        while (said := self.poll()) is None:
            time.sleep(0.05)
        return said

    def kill(self) -> None:
        """Whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def execute(
    program: Sequence[str], arguments: Sequence[str], handover: Mapping[str, Any], more: Mapping[str, str]
) -> None:
    """Become ``program``.  Raises OSError if it cannot be run; otherwise it does not come back.

    ``more``: variables besides ours.  Signals that must not get lost are blocked by the caller.
    """
    told = json.dumps({"pid": os.getpid(), **handover})
    os.execve(program[0], [*program, *arguments], {**os.environ, **more, HANDOVER: told})  # noqa: S606 - our own


def taking_over() -> bool:
    """Whether this process was another program before, which has left us something."""
    return HANDOVER in os.environ


def handed_over() -> dict[str, Any] | None:
    """What the program before us in this process has left; None: there was none.  Read once."""
    try:
        told = json.loads(os.environ.pop(HANDOVER, ""))
        return told if isinstance(told, dict) and told.get("pid") == os.getpid() else None
    except ValueError:
        return None
