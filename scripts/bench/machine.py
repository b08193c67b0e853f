"""What the kernel says of processes and of this machine, and the few numbers that a list is summed up by.

Linux only: everything is read from ``/proc``.  Knows no switch and no call.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import resource
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """Of some processes together, bytes.  ``pss`` counts a page that several share once."""

    rss: int
    pss: int


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time that these processes, with their dead threads, have used so far."""
    total = 0
    for pid in pids:
        # Counted after the command's name, which may itself hold blanks and brackets: fields 14 and 15.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def memory(pids: Iterable[int]) -> Memory:
    """The memory of these processes."""
    rss = pss = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                rss += int(line.split()[1]) * 1024
            elif line.startswith("Pss:"):
                pss += int(line.split()[1]) * 1024
    return Memory(rss, pss)


def children(pid: int) -> list[int]:
    """The processes that ``pid`` started and that live."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in text.split()]


def connections(pid: int, port: int) -> int:
    """How many established connections to its own ``port`` (IPv4) a process holds."""
    held = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            held.add(os.readlink(entry))
    found = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        established, inode = fields[3] == "01", f"socket:[{fields[9]}]"
        found += established and int(fields[1].partition(":")[2], 16) == port and inode in held
    return found


def allow_many_files() -> int:
    """Raise this process's and its children's limit of open files to what it may be; that."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` (0 to 1) of the values do not exceed; NaN of none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def machine() -> str:
    """This machine in one line."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    cores = len(os.sched_getaffinity(0))
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = platform.release().partition("-")[0]
    return f"{cores} x {model}, {gigabytes:.0f} GB, Linux {kernel}, Python {platform.python_version()}"


def load() -> float:
    """How many processes wanted a core, on the average of the last minute."""
    return os.getloadavg()[0]


def commit(root: Path) -> str:
    """The commit that is measured; with a plus if files differ from it."""
    try:
        head = _git(root, "rev-parse", "--short=10", "HEAD")
        return head + ("+" if _git(root, "status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
