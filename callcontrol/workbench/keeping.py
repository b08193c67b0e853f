"""What the workbench writes: a walk that was tried, kept as a rehearsal; a file that was not there before.

Each is there whole or not at all, whoever kills us, and nothing that a person has written is ever lost by it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from callcontrol.routing.files import load_file, read_file, rehearsals_beside, sounds_in
from callcontrol.routing.load import Beside
from callcontrol.versions import write_whole
from callcontrol.workbench.rehearse import rehearse
from callcontrol.workbench.trying import Wrong


def keep_rehearsal(file: Path, name: str, text: str) -> Path:
    """Append a rehearsal to those that were tried, whole or not at all.  Raises Wrong, and OSError."""
    path = file.parent / "rehearsals" / file.stem / "tried.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # whoever tries beside us waits, and appends to what we have written
        beside = {one.path: one for one in rehearsals_beside(file)}
        before = beside[str(path)].raw if str(path) in beside else b""
        after = before + (b"\n" if before and not before.endswith(b"\n") else b"") + text.encode()
        beside[str(path)] = Beside(str(path), after, beside[str(path)].problem if str(path) in beside else None)
        raw = read_file(file)
        if not isinstance(raw, bytes):
            raise Wrong(f"{file} has changed, and cannot be read")
        loaded = load_file(file, raw, sounds_in(file.parent / "sounds" / file.stem), tuple(beside.values()))
        errors = [found for found in loaded.problems if found.severity == "error"]
        if loaded.routing is None:
            raise Wrong("it is not kept:\n" + "\n".join(str(found) for found in errors))
        result = rehearse(loaded.routing, next(one for one in loaded.routing.rehearsals if one.name == name))
        if result.verdict != "passed":
            raise Wrong(f"it is not kept, since it would not pass: {result.reason}")
        write_whole(path.resolve(), after)
    finally:
        os.close(folder)
    return path


def write_new(file: Path, text: str) -> None:
    """Write a file that must not be there, whole or not at all.  Raises FileExistsError, OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unborn = file.with_name(f".{file.name}.{os.getpid()}")  # no company's: it begins with a dot
    try:
        with unborn.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(unborn, file)  # unlike a rename, it replaces nothing
    finally:
        unborn.unlink(missing_ok=True)
