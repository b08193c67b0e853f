"""A mail server that delivers nothing: ``python -m scripts.mailbox DIRECTORY`` keeps each mail as a file there.

It listens on a free port of loopback and says where in ``DIRECTORY/address``; mails are ``1.eml``, ``2.eml`` …
"""

from __future__ import annotations

import asyncio
import os
import sys
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP

from callcontrol.supervisor import die_with_parent


class _Keeper:
    """Keeps what comes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """A mail has come."""
        self._count += 1
        unborn = self._directory / f".{self._count}"
        unborn.write_bytes(envelope.original_content)
        os.replace(unborn, self._directory / f"{self._count}.eml")
        return "250 kept"


def read(directory: Path) -> list[EmailMessage]:
    """The mails that have come so far, in their order."""
    paths = sorted(directory.glob("[0-9]*.eml"), key=lambda path: int(path.stem))
    parser = BytesParser(policy=policy.default)
    return [parser.parsebytes(path.read_bytes()) for path in paths]


def main() -> None:
    """Serve until killed, or until the parent is gone."""
    die_with_parent()
    asyncio.run(_serve(Path(sys.argv[1])))


async def _serve(directory: Path) -> None:
    loop = asyncio.get_running_loop()
    keeper = _Keeper(directory)
    server = await loop.create_server(lambda: SMTP(keeper, loop=loop), "127.0.0.1", 0)
    unborn = directory / ".address"
    unborn.write_text(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    os.replace(unborn, directory / "address")
    await server.serve_forever()


if __name__ == "__main__":
    main()
