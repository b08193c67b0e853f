"""The floor: the least that a Python program with gevent can do to serve the flow of the bench.

A bare ``StreamServer``; the bytes are cut into messages and nothing is parsed, kept, checked or written down.
It says what greenswitch says for the same flow.  ``few`` as the last argument: it also tells the switch which
events it does not need, as Cordboard does; then even the floor is lower.

    python -m scripts.bench.floor PORT SOUNDS all|few
"""

from __future__ import annotations

import sys
from typing import Any

from gevent.server import StreamServer

#: A flow's end takes the switch some events to say.
_LINGER = "linger 5"
_UNNEEDED = (
    "nixevent CHANNEL_EXECUTE CHANNEL_STATE CHANNEL_CALLSTATE CHANNEL_PARK CHANNEL_UNPARK CHANNEL_PROGRESS "
    "CHANNEL_PROGRESS_MEDIA CHANNEL_OUTGOING CHANNEL_ORIGINATE CHANNEL_CREATE CHANNEL_UNBRIDGE"
)


def commands(*texts: str) -> bytes:
    """As they stand on the wire."""
    return "".join(f"{text}\n\n" for text in texts).encode()


def execute(application: str, argument: str = "") -> str:
    """The command that runs an application on the call."""
    text = f"sendmsg\ncall-command: execute\nexecute-app-name: {application}"
    return f"{text}\nexecute-app-arg: {argument}" if argument else text


class Floor:
    """The server's one handler; ``sounds`` is the directory of ``hello.wav`` and ``ask.wav``."""

    def __init__(self, sounds: str, *, few: bool) -> None:
        greeting = ["connect", "myevents", _LINGER, *([_UNNEEDED] if few else [])]
        self._greeting = commands(*greeting, execute("answer"), execute("playback", f"{sounds}/hello.wav"))
        ask = f"1 1 1 5000 # {sounds}/ask.wav silence_stream://100 choice [0-9] 1000"
        self._ask = commands(execute("play_and_get_digits", ask))
        self._end = commands(execute("set", "tier=gold"), execute("hangup", "NORMAL_CLEARING"))

    def __call__(self, sock: Any, _: object) -> None:
        sock.sendall(self._greeting)
        buffer = b""
        while data := sock.recv(65536):
            buffer += data
            at = 0
            while (end := buffer.find(b"\n\n", at)) >= 0:
                length = buffer.find(b"Content-Length: ", at, end)
                start = end + 2
                # The reply to connect repeats the header among the channel's own.
                size = int(buffer[length + 16 : buffer.index(b"\n", length)]) if length >= 0 else 0
                if start + size > len(buffer):
                    break
                at = start + size
                if buffer.startswith(b"Event-Name: CHANNEL_EXECUTE_COMPLETE\n", start):
                    if buffer.find(b"\nApplication: playback\n", start, at) >= 0:
                        sock.sendall(self._ask)
                    elif buffer.find(b"\nApplication: play_and_get_digits\n", start, at) >= 0:
                        sock.sendall(self._end)
                elif buffer.startswith(b"Event-Name: CHANNEL_HANGUP_COMPLETE\n", start):
                    return
            buffer = buffer[at:]


def main(port: str, sounds: str, events: str) -> None:
    """Serve until killed."""
    server = StreamServer(("127.0.0.1", int(port)), Floor(sounds, few=events == "few"), backlog=1024)
    server.start()
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
