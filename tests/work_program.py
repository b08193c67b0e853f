"""``cordboard work`` with jobs that tests can watch: ``python -m tests.work_program`` and the flags of the command.

Each job says what it does in the Redis list ``test:seen``, as JSON.  A delivery is sent by writing down that it was,
and its endpoint's description says how: ``slow`` takes half a second, ``hangs`` never ends.
``WORK_WITHOUT``: roles that are not started.  The sweeper's and the watcher's rings are the real ones, but that the
sweeper's second lasts a quarter of one.
"""

from __future__ import annotations

import json
import os
import time

from sqlalchemy import select, update

from callcontrol.cli import main
from workers import bell, cli, sweeping
from workers.context import current
from workers.journal.tables import Delivery, Endpoint

SEEN = "test:seen"


def say(what: str, **more: object) -> None:
    """Tell the test."""
    current().redis.rpush(SEEN, json.dumps({"what": what, "pid": os.getpid(), "at": time.time(), **more}))


def look() -> None:
    """A job that has nothing to do."""
    say("looked")


def take() -> None:
    """The journal's."""
    say("took", switches=[switch.name for switch in current().config.switches])


def deliver() -> None:
    """Send what is due, one by one, each under a lease of 0.8 s."""
    database = current().database
    free = (Delivery.state == "pending", Delivery.leased_until <= time.time())
    while True:
        with database.writing() as session:
            found = session.execute(select(Delivery, Endpoint).join(Endpoint).where(*free).limit(1)).first()
            if found is None:
                return
            delivery, endpoint = found
            delivery.leased_until = time.time() + 0.8
        say("began", delivery=delivery.id)
        if endpoint.description == "hangs":
            with database.writing() as session:
                session.execute(update(Endpoint).where(Endpoint.id == endpoint.id).values(description=""))
            time.sleep(3600)
        time.sleep(0.5 if endpoint.description == "slow" else 0.005)
        with database.writing() as session:
            session.execute(update(Delivery).where(Delivery.id == delivery.id).values(state="delivered"))
        say("sent", delivery=delivery.id)


if __name__ == "__main__":
    bell.JOBS.update(
        journal="tests.work_program.take",
        delivery="tests.work_program.deliver",
        mail="tests.work_program.look",
        recordings="tests.work_program.look",
    )
    bell.LONGEST.update(delivery=int(os.environ.get("WORK_LONGEST", "60")))
    sweeping.EVERY, sweeping.LEASE = 0.25, 0.75
    without, roles = os.environ.get("WORK_WITHOUT", "").split(), cli._roles
    cli._roles = lambda *args: {name: role for name, role in roles(*args).items() if name not in without}
    main()
