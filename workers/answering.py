"""Answers the bell of one queue: a worker of RQ that runs a ring in its own process, as soon as it is heard.

It knows no job.  Measured against RQ's forking worker (a ring to its job's start, and CPU for each ring): 3 ms and 5 ms
here, 13 ms and 22 ms there, before the forked one has made its connections anew; so nothing is forked for a ring.

Where the surprise lies:

* What a forked work horse is for, to be killed when it hangs, the kernel does here: SIGALRM at its default.  It needs
  no Python that still runs, and catches what hangs in a library too; the parent starts another process at once.
* Whatever stands in Redis, a ring runs the one job of its queue, without arguments: who can write there cannot have
  anything else run.
* A worker that is killed takes its ring with it (RQ would look for it in a minute or two, and call it failed): the
  sweeper rings again, as long as there is something to do.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import time
from types import FrameType
from typing import Any

import redis
import structlog
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty
from rq.worker import WorkerStatus

from callcontrol.switchboard import connect
from workers import bell, stopping
from workers.trouble import Trouble

#: RQ's own book-keeping, seconds: when a silent worker is dead to it, and how often it looks for what such ones left.
WORKER_TTL = 30
MAINTENANCE = 30
MONITORING = 10
#: After so many rings a process makes place for a fresh one, whatever its libraries may have kept.
MOST_RINGS = 20_000
#: The same failure of a queue's job is logged once in so many seconds.
SAID_AGAIN = 60.0


class _Killed(BaseDeathPenalty):
    """What a job that takes too long gets: the end of the process."""

    def setup_death_penalty(self) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(self._timeout))

    def cancel_death_penalty(self) -> None:
        signal.alarm(0)


class Ring(Job):
    """A ring: runs the job of the queue it came by."""

    def _execute(self) -> Any:
        module, _, name = bell.JOBS[bell.kind_of(self.origin)].rpartition(".")
        return getattr(importlib.import_module(module), name)()


class _Worker(SimpleWorker):
    """RQ's worker, without its channel for orders from outside and without its ways to write logs."""

    death_penalty_class = _Killed
    max_connection_wait_time = 2.0
    log_result_lifespan = False
    _failed: tuple[str, float] = ("", 0.0)

    def subscribe(self) -> None:
        """Nobody gives orders over Redis."""

    def unsubscribe(self) -> None:
        """See ``subscribe``."""

    def procline(self, message: str) -> None:
        """The process keeps its name."""

    def request_stop(self, signum: int | None, frame: FrameType | None) -> None:
        """SIGTERM: end after the job in hand.  Asks nobody: RQ's would talk to Redis in the middle of the job."""
        self._stop_requested = True
        stopping.tell()
        if self.get_state() != WorkerStatus.BUSY:
            raise StopRequested

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """A job failed: it is rung again, so the same failure is said now and then only."""
        what, now = f"{job.origin} {exc_info[0].__name__}: {exc_info[1]}"[:300], time.monotonic()
        if what != self._failed[0] or now - self._failed[1] >= SAID_AGAIN:
            self._failed = (what, now)
            _log().error("a job failed", queue=job.origin, job=bell.JOBS[bell.kind_of(job.origin)], exc_info=exc_info)


def answer(redis_url: str, queue: str) -> None:
    """Answer the bell of ``queue`` until SIGTERM, or for MOST_RINGS.  While Redis is away, wait for it."""
    _listen_to_rq()
    trouble = Trouble("Redis", queue=queue)
    while True:
        try:
            worker = worker_of(redis_url, queue)
            trouble.over()
            worker.work(logging_level=None, max_jobs=MOST_RINGS)
            return
        except StopRequested:
            return
        except (redis.RedisError, OSError) as error:
            trouble.met(error)


def worker_of(redis_url: str, queue: str) -> SimpleWorker:
    """A worker for ``queue``, known to Redis.  Raises redis.RedisError."""
    # Half of this time RQ waits in Redis for a ring: the client must have more patience from its first connection on.
    connection = connect(redis_url, name=queue, patience=WORKER_TTL)
    return _Worker(
        [Queue(queue, connection=connection, serializer=JSONSerializer, job_class=Ring)],
        name=f"{queue}.{os.uname().nodename}.{os.getpid()}.{os.urandom(2).hex()}",
        connection=connection,
        job_class=Ring,
        serializer=JSONSerializer,
        worker_ttl=WORKER_TTL,
        maintenance_interval=MAINTENANCE,
        job_monitoring_interval=MONITORING,
        log_job_description=False,
    )


class _ToOurLog(logging.Handler):
    """What RQ has to say, among our own lines; that it tries to reach Redis, now and then only."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said_away = float("-inf")

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if "could not connect to Redis" in text:
            if time.monotonic() - self._said_away < SAID_AGAIN:
                return
            self._said_away = time.monotonic()
        log = structlog.get_logger("rq")
        (log.error if record.levelno >= logging.ERROR else log.warning)(text[:500])


def _listen_to_rq() -> None:
    log = logging.getLogger("rq")
    log.handlers = [_ToOurLog()]
    log.propagate = False
    log.setLevel(logging.WARNING)


def _log() -> Any:
    return structlog.get_logger("work")
