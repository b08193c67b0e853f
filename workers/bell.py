"""The doorbell: tells the workers of a queue that there may be something to do.

RQ carries the ring, nothing else: what there is to do stands in rows and manifests, and a job that finds nothing ends.
So a ring may be lost or come twice; rings that nobody has answered yet are one.

=======================  ===================================================================================
``journal``              facts into rows (``workers.journal.jobs.take_facts``)
``delivery``             webhooks that are due (``workers.delivery.jobs.deliver``)
``mail``                 mails that are due (``workers.mail.jobs.send``)
``recordings-<switch>``  the spool of that switch's host (``workers.recordings.jobs.see_to_spool``)
=======================  ===================================================================================

Ring *after* the commit: whoever answers looks at once.  The surprise: there is no flag that says "rung".  A ring is
unanswered while it stands in RQ's own list, and a worker takes it out before it looks; so a ring during a job is kept,
and there is nothing that a killed worker could leave behind.
"""

from __future__ import annotations

import functools
from typing import Any

import redis
import structlog
from rq import Queue
from rq.serializers import JSONSerializer

from callcontrol.switchboard import connect

#: What a ring of each queue runs, by dotted name.
JOBS = {
    "journal": "workers.journal.jobs.take_facts",
    "delivery": "workers.delivery.jobs.deliver",
    "mail": "workers.mail.jobs.send",
    "recordings": "workers.recordings.jobs.see_to_spool",
}
#: After so many seconds a job hangs, and its process is killed.  They drain for some 20 s; an upload takes its time.
LONGEST = {"journal": 60, "delivery": 60, "mail": 60, "recordings": 600}
#: How long RQ remembers a job that failed, seconds; one that did not is forgotten at once.
FAILURES_KEPT = 300

_away: set[str] = set()


def kind_of(queue: str) -> str:
    """``recordings`` of ``recordings-switch1``: the key of JOBS.  Raises ValueError for what is no queue of ours."""
    kind, _, switch = queue.partition("-")
    if kind not in JOBS or bool(switch) != (kind == "recordings"):
        raise ValueError(f"{queue} is no queue of the workers")
    return kind


def ring(where: Any, queue: str) -> bool:
    """Ring for the workers of ``queue``; ``where`` is Redis's URL, or a client of it.

    True: somebody will come who looks after this moment.  False: Redis is away; the sweeper rings again when it is
    back.  Nothing is raised because of Redis, nothing takes longer than a second or two.
    """
    kind = kind_of(queue)
    connection = _client(where) if isinstance(where, str) else where
    try:
        bell = Queue(queue, connection=connection, serializer=JSONSerializer)
        if not connection.llen(bell.key):
            bell.enqueue_call(JOBS[kind], timeout=LONGEST[kind], result_ttl=0, failure_ttl=FAILURES_KEPT)
    except (redis.RedisError, OSError) as error:
        if queue not in _away:
            _away.add(queue)
            _log().warning("the bell cannot be rung: Redis is away", queue=queue, error=str(error)[:200])
        return False
    _away.discard(queue)
    return True


@functools.cache
def _client(url: str) -> Any:
    """RQ's own client: what RQ sets on it is nobody else's."""
    return connect(url, name="bell", patience=1.0)


def _log() -> Any:
    return structlog.get_logger("bell")
