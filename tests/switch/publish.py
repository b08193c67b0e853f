"""Publish and write the phones' directory, as ``cordboard serve`` does before it takes calls: for a switch without it.

A program and not a part of the harness, which must not import the product.
"""

from __future__ import annotations

import sys
from pathlib import Path

from callcontrol.directory import live_extensions, write_directory
from callcontrol.published import publish
from callcontrol.settings import read_config
from callcontrol.versions import VersionStore


def main(routing: str, config: str, state: str, domain: str) -> int:
    """Whether anything changed, as an exit code: 0 or 1."""
    store = VersionStore(Path(state))
    publish(Path(routing), store)
    return 0 if write_directory(live_extensions(store), read_config(Path(config)), Path(state), domain) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
