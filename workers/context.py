"""What every job and the web are given: the settings, the database, Redis, and the companies' routing.

A process makes one :class:`Context`, from the same ``CORDBOARD_`` variables as the flags of the commands
(:func:`current` for the jobs of RQ, which get nothing else).  It holds no work.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from callcontrol import settings as s
from callcontrol.published import Published
from callcontrol.routing.model import Routing
from callcontrol.switchboard import connect
from callcontrol.versions import VersionStore
from workers.journal.database import Database, default_url


@dataclass(slots=True)
class Context:
    """One process's way to everything.  Paths are absolute."""

    config: s.Config
    redis_url: str
    database: Database
    state: Path
    spool: Path
    #: Names this process in leases and logs; unique among processes.
    name: str = field(default_factory=lambda: f"worker-{os.getpid()}-{os.urandom(3).hex()}")
    _redis: Any = None
    _published: Published | None = None

    @property
    def redis(self) -> Any:
        """A client that tries nothing twice (``switchboard.connect``); not RQ's."""
        if self._redis is None:
            self._redis = connect(self.redis_url, name=self.name, patience=2.0)
        return self._redis

    def routing(self, company: str, version: str | None = None) -> Routing | None:
        """A company's routing: the current one, or that of a call; None: it is not published (any more)."""
        if self._published is None:
            self._published = Published(VersionStore(self.state))
        if version is not None:
            found = self._published.version(company, version)
            if found is not None:
                return found
        self._published.load()
        return self._published.current(company)

    def companies(self) -> Sequence[str]:
        """Every company that is published."""
        if self._published is None:
            self._published = Published(VersionStore(self.state))
        self._published.load()
        return self._published.companies


def from_variables(
    variables: Mapping[str, str] = os.environ, read: s.Config | None = None, *, hurry: float | None = None
) -> Context:
    """A context by ``CORDBOARD_CONFIG``, ``_REDIS``, ``_DATABASE``, ``_STATE``, ``_SPOOL``.  Raises SettingsError.

    ``read``: what cordboard.yaml said, if it is not to be read; ``hurry``: as ``Database`` has it.
    """
    config = Path(variables.get("CORDBOARD_CONFIG", "cordboard.yaml")).resolve()
    state = Path(variables.get("CORDBOARD_STATE", "state")).resolve()
    return Context(
        config=read or s.read_config(config),
        redis_url=variables.get("CORDBOARD_REDIS", s.REDIS),
        database=Database(variables.get("CORDBOARD_DATABASE") or default_url(state), hurry=hurry),
        state=state,
        spool=Path(variables.get("CORDBOARD_SPOOL", "spool")).resolve(),
    )


_given: list[Context] = []


def use(context: Context) -> None:
    """Have :func:`current` give this one: what ``cordboard work`` was started with."""
    _given[:] = [context]
    current.cache_clear()


@functools.cache
def current() -> Context:
    """The context of this process, for jobs.  Raises SettingsError."""
    return _given[0] if _given else from_variables()
