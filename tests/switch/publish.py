"""Publish and write the phones' directory, as ``cordboard serve`` does before it takes calls: for a switch without it.

A program and not a part of the harness, which must not import the product.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from callcontrol.directory import write_directory
from callcontrol.publishing import publish
from callcontrol.settings import read_config
from callcontrol.versions import VersionStore


def main(routing: str, config: str, state: str, domain: str) -> int:
    """Publish; the exit code is 0."""
    announce = partial(write_directory, config=read_config(Path(config)), state=Path(state), domain=domain)
    publish(Path(routing), VersionStore(Path(state)), announce=announce)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
