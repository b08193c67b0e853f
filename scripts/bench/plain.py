"""greenswitch as its README shows it: its own server, its own blocking helpers, no features.

Two things differ.  ``max_connections`` is five in the README, and nearly every call would be refused.  And it waits
for the end before it stops: our dialplan brings a call back whose controller goes away, and the README's ``stop``
right after ``hangup`` is faster than the hangup.

    python -m scripts.bench.plain PORT SOUNDS
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import gevent
import greenswitch
from gevent.event import Event


class Application:
    """One call of the flow."""

    sounds = ""

    def __init__(self, session: Any) -> None:
        self.session = session

    def run(self) -> None:
        """What greenswitch calls when a call comes in."""
        try:
            self.handle_call()
        except Exception:
            logging.exception("Exception raised when handling call")
            self.session.stop()

    def handle_call(self) -> None:
        session = self.session
        ended = Event()
        session.register_handle("CHANNEL_HANGUP_COMPLETE", lambda _: ended.set())
        session.myevents()
        session.linger()
        session.answer()
        session.playback(f"{self.sounds}/hello.wav")
        session.play_and_get_digits(
            "1",
            "1",
            "1",
            "5000",
            "#",
            f"{self.sounds}/ask.wav",
            "silence_stream://100",
            "choice",
            "[0-9]",
            "1000",
            "''",
        )
        session.call_command("set", "tier=gold")
        session.hangup()
        ended.wait(10)
        session.stop()


def main(port: str, sounds: str) -> None:
    """Serve until killed."""
    Application.sounds = sounds
    server = greenswitch.OutboundESLServer(
        bind_address="127.0.0.1", bind_port=int(port), application=Application, max_connections=10_000
    )
    listening = gevent.spawn(server.listen)
    gevent.sleep(0)
    print("ready", flush=True)
    listening.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
