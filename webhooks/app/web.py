"""The application, and the server that runs it.

gunicorn with threads: a request that waits for a controller or for the store holds up no other, and a client that is
slow has no thread (``reception``).  Each worker process makes the application for itself, after the fork, so that no
connection is inherited.  SIGTERM: no new requests, those that run are finished, for :data:`GRACE` seconds at most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import Flask, Response, jsonify
from gunicorn.app.base import BaseApplication

from callcontrol.switchboard import Switchboard
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
    _Server(lambda: create_app(make()), options).run()
