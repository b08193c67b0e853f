"""Releases of Cordboard side by side, as ``scripts/UPGRADE.md`` has them: each a virtual environment of its own.

Made for tests and storms of copies of the packages that are here, with another version number; what else they need they
find where we have it.  A real one is made by ``python -m venv`` and the lock.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from scripts.rig import ROOT

PACKAGES = ("callcontrol", "freeswitch", "webhooks", "workers")


def make_release(directory: Path, version: str) -> Path:
    """A release in ``directory``; its ``cordboard``.

    Its sources differ from ours in one comment, so that what is made for one release is not taken for another's.
    """
    site = directory / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, site / package)
    with (site / "callcontrol/__init__.py").open("a", encoding="utf-8") as module:
        module.write(f"\n# release {version}\n")
    metadata = site / f"cordboard-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: cordboard\nVersion: {version}\n")
    (site / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    (directory / "pyvenv.cfg").write_text(f"home = {Path(os.path.realpath(sys.executable)).parent}\n")
    binaries = directory / "bin"
    binaries.mkdir()
    (binaries / "python").symlink_to(os.path.realpath(sys.executable))
    program = binaries / "cordboard"
    program.write_text(f"#!{binaries}/python\nfrom callcontrol.cli import main\n\nmain()\n")
    program.chmod(0o755)
    return program


def link(current: Path, release: Path) -> None:
    """Have ``current`` lead to ``release``: at every moment it leads to the one or to the other."""
    unborn = current.with_name(f".{current.name}-{os.getpid()}")
    unborn.symlink_to(release)
    unborn.replace(current)
