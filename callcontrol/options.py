"""Options that several commands have in common, and commands that other packages bring.

A flag ``--redis`` is the variable ``CORDBOARD_REDIS`` as well; so it is for all of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from callcontrol import settings as s

Decorator = Callable[[Any], Any]


def setting(name: str, default: str | None, help_: str, **more: Any) -> Decorator:
    """An option that is a variable as well; ``default`` None: it must be given."""
    if default is None:  # click takes a default of None for an answer
        more["required"] = True
    else:
        more.update(default=default, show_default=True)
    return click.option(f"--{name}", envvar=f"CORDBOARD_{name.upper()}", show_envvar=True, help=help_, **more)


DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)
PATH = click.Path(path_type=Path)


def routing(**more: Any) -> Decorator:
    """What the workbench reads: a company's file, or a directory of companies.  ``more`` is for ``click.Path``."""
    kind = click.Path(exists=True, path_type=Path, **more)
    return click.argument("routing", envvar="CORDBOARD_ROUTING", default="routing", type=kind)


ROUTING = routing()
#: The company of which a command tells, where it can tell of one only.
COMPANY = click.option("--company", metavar="NAME", help="The company, where ROUTING has several.")
#: The same where it tells of all.
ONLY_COMPANY = click.option("--company", metavar="NAME", help="Only this company, where ROUTING has several.")

CONFIG = setting("config", "cordboard.yaml", "The operator's own file: switches, trunks, limits.", type=PATH)
REDIS = setting("redis", s.REDIS, "Redis or Valkey, 7 or newer.")
DOMAIN = setting("domain", s.DOMAIN, "Companies' SIP domains are <company>.<domain>.")
STATE = setting("state", "state", "Directory for versions, facts and the journal.", type=PATH)
SPOOL = setting("spool", "spool", "Directory, on the switch's disk, for recordings.", type=PATH)
TRY = click.option("--try", "attempt", is_flag=True, hidden=True, help="Do all that may fail at the start, and end.")
DATABASE = setting("database", "", "The journal: sqlite:////path/to/file or postgresql://…; else a file in STATE.")


class Group(click.Group):
    """A group some of whose commands are brought by other packages, loaded when they are asked for.

    ``elsewhere``: name → ``package.module:command``; nothing of ours is imported at the beginning.
    """

    def __init__(self, *args: Any, elsewhere: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.elsewhere = elsewhere or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every name, in order."""
        return sorted({*super().list_commands(ctx), *self.elsewhere})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of that name."""
        where = self.elsewhere.get(name)
        if where is None:
            return super().get_command(ctx, name)
        module, _, command = where.partition(":")
        found: click.Command = getattr(importlib.import_module(module), command)
        return found
