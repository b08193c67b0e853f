"""``make chaos``: each part is a module here with a ``main(arguments)``; without a name, all of them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

PARTS = ("uploads", "deliveries", "upgrade")


def main(arguments: Sequence[str]) -> int:
    """Run the part that is named, with what follows; or all.  0: all that must hold held."""
    if arguments and arguments[0] in PARTS:
        return int(importlib.import_module(f"scripts.chaos.{arguments[0]}").main(arguments[1:]))
    if arguments:
        print(f"there is no part {arguments[0]}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    return max(main([name]) for name in PARTS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
