"""The application, and the server that runs it.

gunicorn with threads: a request that waits for a controller or for the store holds up no other, and a client that is
slow has no thread (``reception``).  Each worker process makes the application for itself, after the fork, so that no
connection is inherited.  SIGTERM: no new requests, those that run are finished, for :data:`GRACE` seconds at most.

SIGUSR2 makes it the next release (``callcontrol.upgrading``): the process stays, with the socket it listens on and the
workers it has; when a worker of the next release answers, those of the one before finish their requests and end.  That
is ours and not gunicorn's, which would run the old Python again, in a process that no service manager knows.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import Flask, Response, jsonify
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.sock import create_sockets

from callcontrol import upgrading
from callcontrol.processes import announce, release
from callcontrol.switchboard import Switchboard
from callcontrol.systemd import Systemd
from callcontrol.upgrading import Program, Trial
from webhooks.app import door, openapi, problems, watching
from webhooks.app.reception import Worker
from webhooks.app.resources import agents, calls, companies, endpoints, events, recordings
from workers.context import Context

#: How long a request that runs when the server is stopped has, seconds.
GRACE = 30
#: How long a worker may say nothing before it is killed, seconds.  The store's waits are shorter.
SILENCE = 60
#: Requests at a time of a process, and connections: fewer than a process may have files.
THREADS = 16
CONNECTIONS = 500

BLUEPRINTS: Sequence[openapi.Blueprint] = (
    calls.blueprint,
    recordings.recordings,
    recordings.messages,
    endpoints.blueprint,
    events.events,
    agents.blueprint,
    companies.blueprint,
    events.alarms,
)


def create_app(context: Context, *, limit: str = door.LIMIT) -> Flask:
    """The application.  ``limit``: requests of a token, such as ``600 per minute``."""
    app = Flask("webhooks.app", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["cordboard"] = context
    app.extensions["cordboard-board"] = Switchboard(context.redis_url, name=f"{context.name}-web")
    problems.register(app)
    door.install(app, context, limit)
    app.register_blueprint(watching.blueprint)
    spec = openapi.describe(app, BLUEPRINTS, openapi.event_schemas())
    app.extensions["cordboard-openapi"] = spec

    @app.get("/v1/openapi.json")
    @door.opened
    def openapi_json() -> Response:
        return jsonify(spec)

    @app.get("/v1/")
    @door.opened
    def openapi_page() -> Response:
        return openapi.page(spec)

    return app


class _Server(BaseApplication):  # type: ignore[misc]
    """gunicorn, told everything here: no file and no variable of its own."""

    def __init__(self, make: Callable[[], Flask], options: Mapping[str, Any]) -> None:
        self._make = make
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        """As we say, and not as ``GUNICORN_CMD_ARGS`` or a file does."""
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """In each worker."""
        return self._make()

    def run(self) -> None:
        """As gunicorn's, by our own master."""
        _Master(self).run()


class _Master(Arbiter):  # type: ignore[misc]
    """gunicorn's master, which becomes the next release of itself in place, and tells the service manager."""

    def __init__(self, app: _Server) -> None:
        self._ours = Systemd.of_environment()  # first: gunicorn's own word would be that it is ready, long before
        self._trial: Trial | None = None
        before = upgrading.handed_over()
        self._program = Program(before["named"] if before else None)
        self._next = self._program.pinned
        self._old: list[int] = list(before["workers"]) if before else []
        self._old_until = 0.0
        self._ready = False
        self._answering = os.pipe()  # a byte here: a worker of ours is ready for requests
        for end in self._answering:
            os.set_blocking(end, False)
        self._inherited: list[int] = list(before["sockets"]) if before else []
        super().__init__(app)
        self.cfg.set("post_worker_init", self._say_ready)

    def start(self) -> None:
        """Listen; on the sockets that were handed over, if any were."""
        if self._inherited:
            self.LISTENERS = create_sockets(self.cfg, self.log, self._inherited)
        super().start()

    def _say_ready(self, _worker: Any) -> None:
        """In a worker: it is about to take requests."""
        with contextlib.suppress(OSError):
            os.write(self._answering[1], b".")

    def handle_usr2(self) -> None:
        """Try the next release; what comes of it is seen in the main loop."""
        if self._trial is None:
            self._next = self._program.next()
            self._trial = Trial(self._next, sys.argv[1:])

    def murder_workers(self) -> None:
        """gunicorn's look at its workers, each second; and ours."""
        super().murder_workers()
        self._tried()
        with contextlib.suppress(BlockingIOError):
            if os.read(self._answering[0], 4096):
                self._answers()
        if self._old and self._old_until and time.monotonic() > self._old_until:
            self._tell_old(signal.SIGKILL)
            self._old = []
        if self._ready and any(self._lives(worker) for worker in list(self.WORKERS.values())):
            self._ours.alive()

    def _answers(self) -> None:
        if not self._ready:
            self._ready = True
            self._ours.ready(f"answering, release {release()}")
        if self._old and not self._old_until:
            self._tell_old(signal.SIGTERM)
            self._old_until = time.monotonic() + GRACE + 5.0

    def _lives(self, worker: Any) -> bool:
        with contextlib.suppress(OSError, ValueError):
            return bool(time.monotonic() - worker.tmp.last_update() < self.timeout)
        return False

    def _tell_old(self, number: int) -> None:
        for pid in self._old:
            with contextlib.suppress(OSError):
                if os.waitpid(pid, os.WNOHANG) == (0, 0):  # it lives, and is ours
                    os.kill(pid, number)

    def _tried(self) -> None:
        if self._trial is None or (why := self._trial.poll()) is None:
            return
        self._trial = None
        if why:
            self.log.error("nothing is replaced: the next release cannot be taken: %s", why)
            return
        heard = {*self.SIGNALS, signal.SIGCHLD}
        if threading.active_count() > 1:
            self.log.error("nothing is replaced: there is a thread that would hear what must not get lost")
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, heard)
        sockets = [listener.sock.fileno() for listener in self.LISTENERS]
        told = {
            "named": self._program.named,
            "sockets": sockets,
            "workers": [*self.WORKERS, *self._old],
        }
        try:
            for one in self.wait_for_signals(timeout=0.0):
                if one != signal.SIGCHLD:
                    os.kill(os.getpid(), one)
            if not signal.sigpending() & {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}:
                for descriptor in sockets:
                    os.set_inheritable(descriptor, True)
                upgrading.execute(self._next, sys.argv[1:], told, self._ours.environment)
        except OSError as error:
            self.log.error("the next release cannot be run: %s", error)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def init_signals(self) -> None:
        """From here on signals are heard; those that waited come now."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*self.SIGNALS, signal.SIGCHLD})

    def stop(self, graceful: bool = True) -> None:
        """The end: of workers of the release before as well."""
        self._ours.stopping()
        self._tell_old(signal.SIGTERM if graceful else signal.SIGKILL)
        super().stop(graceful)


def serve(make: Callable[[], Context], address: tuple[str, int], processes: int) -> None:
    """Serve until a signal.  ``make``: the context, made in each worker process.  Does not return."""
    host, port = address
    options = {
        "bind": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "workers": processes,
        "worker_class": Worker,
        "threads": THREADS,
        "worker_connections": CONNECTIONS,
        "timeout": SILENCE,
        "graceful_timeout": GRACE,
        "keepalive": 5,
        "limit_request_line": 4094,
        "limit_request_fields": 60,
        "limit_request_field_size": 8190,
        "forwarded_allow_ips": "",
        "proc_name": "cordboard web",
        "control_socket_disable": True,
    }

    def app() -> Flask:
        context = make()
        announce(context.state, "answering")
        return create_app(context)

    _Server(app, options).run()
