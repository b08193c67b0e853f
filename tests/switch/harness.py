"""A real switch, real telephones (SIPp) and a watcher, for acceptance calls.

What it is for: the tests beside it start the FreeSWITCH binary they are given with the configuration that we
ship, place calls over loopback and look at what the switch itself says.  It must never import the product:
what it expects of the switch is written down here a second time, on purpose.

Where the surprise lies: SIPp cannot be told to press a key "now".  So a caller's scenario does its next step
when it receives a SIP INFO in its own call, and ``Caller.step`` sends one once the test has seen the switch say
that it plays.  Nothing is timed by sleeping.  Keys and speech are RTP in pcap files that ``rtp`` below writes;
SIPp sends them through a raw socket, which needs root or CAP_NET_RAW.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import re
import secrets
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

import yaml

HERE = Path(__file__).resolve().parent
CONF = HERE.parents[1] / "freeswitch" / "conf"
SCENARIOS = HERE / "scenarios"

#: The carrier's address is in the list "trunks"; phones call from another one, so that they need a password.
CARRIER = "127.0.0.1"
PHONES = "127.0.0.2"
#: Where the gateways of :class:`Switch` lead: carriers that take our calls, and so the outside phones.
OUTSIDE = "127.0.0.3"
#: The gateways, and how the trunks of the same names want numbers.
GATEWAYS = {"carrier-a": "format: plus", "carrier-b": "format: national, country: RU", "nowhere": "format: plus"}
DOMAIN = "cordboard.test"
COMPANY = f"acme.{DOMAIN}"
CORDBOARD = str(Path(sys.executable).parent / "cordboard")
#: The sounds of the companies in company/, seconds each; no two alike, or one would be known by the other's name.
SOUNDS = {"greet": 4.0, "leave": 0.5, "thanks": 0.6, "bye": 0.7}

#: Seconds that any single expected thing may take.
PATIENCE = 15.0


class Missing(AssertionError):
    """What the test waited for did not come; the text says what came instead."""


def why_not() -> str | None:
    """Why acceptance calls cannot run here, as a sentence; None when they can."""
    binary = os.environ.get("CORDBOARD_TEST_FREESWITCH", "")
    if not binary:
        return "no FreeSWITCH was named: make test-switch FREESWITCH=/path/to/freeswitch"
    if not os.access(binary, os.X_OK):
        return f"{binary} is not a program that can be run"
    if shutil.which("sipp") is None:
        return "SIPp (the program sipp) is not installed"
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP).close()
    except PermissionError:
        return "SIPp needs root or CAP_NET_RAW to send keys"
    return None


def free_port(kind: socket.SocketKind, host: str = CARRIER) -> int:
    """A port that nobody uses at this moment."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def free_sip_port() -> int:
    """A port that is free for UDP and for TCP: the switch takes both, and gives up if either is somebody's."""
    while True:
        port = free_port(socket.SOCK_DGRAM)
        with socket.socket() as probe:
            try:
                probe.bind((CARRIER, port))
            except OSError:
                continue
        return port


def until(what: str, condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Look again every 10 ms until ``condition`` holds: for things outside that cannot tell us.

    Raises Missing after ``patience`` seconds.
    """
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise Missing(f"{what}: not within {patience} s")
        time.sleep(0.01)


def die_with_parent() -> None:
    """For ``preexec_fn``: a killed test run leaves no switch and no telephone behind (prctl(2), Linux)."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


# -- the switch ----------------------------------------------------------------------------------------------


class Event(dict[str, str]):
    """An event's headers, each value unquoted by itself; ``body`` is its inner body."""

    body = ""

    @property
    def name(self) -> str:
        return self.get("Event-Name", "")

    @property
    def call(self) -> str:
        return self.get("Unique-ID", "")

    def brief(self) -> str:
        keys = ("Application", "Application-Data", "Caller-Destination-Number", "Hangup-Cause", "DTMF-Digit")
        return " ".join([self.name, self.call[:8], *(self[key][-60:] for key in keys if self.get(key))])


def headers(block: str) -> Event:
    """Read ``Name: value`` lines."""
    event = Event()
    for line in block.split("\n"):
        name, colon, value = line.partition(": ")
        if colon:
            event[name] = unquote(value)
    return event


class Watch:
    """An inbound connection of the test's own: what the switch says, and API commands.

    Events are kept from the first; ``wait`` looks at those already here before it waits for more.
    """

    def __init__(self, port: int, password: str, events: Sequence[str] = ()) -> None:
        self._socket = socket.create_connection((CARRIER, port), timeout=PATIENCE)
        self._buffer = b""
        self.events: list[Event] = []
        self._block(PATIENCE)
        reply = self._ask(f"auth {password}")
        if not reply.get("Reply-Text", "").startswith("+OK"):
            self._socket.close()
            raise PermissionError(reply.get("Reply-Text", "no reply"))
        if events:
            self._ask("event plain " + " ".join(events))

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """For those who wait for several things at once, and then ``catch_up``."""
        return self._socket.fileno()

    def api(self, command: str) -> str:
        """The body of the answer to one API command."""
        return self._ask(f"api {command}").body

    def command(self, command: str) -> str:
        """The reply to a command of the connection itself, ``bgapi`` for one."""
        return self._ask(command).get("Reply-Text", "")

    def wait(self, what: str, match: Callable[[Event], object], patience: float = PATIENCE) -> Event:
        """The first event, old or new, that matches.  Raises Missing and tells what came."""
        seen = 0
        deadline = time.monotonic() + patience
        while True:
            for event in self.events[seen:]:
                if match(event):
                    return event
            seen = len(self.events)
            left = deadline - time.monotonic()
            if left <= 0 or not self._one(left):
                came = "\n  ".join(event.brief() for event in self.events[-40:])
                raise Missing(f"{what}: not within {patience} s; the switch said\n  {came}")

    def catch_up(self) -> None:
        """Read what has already arrived."""
        while self._one(0.0):
            pass

    def _ask(self, command: str) -> Event:
        self._socket.sendall(f"{command}\n\n".encode())
        while True:
            block = self._block(PATIENCE)
            if block is None:
                raise Missing(f"no answer to {command}")
            if block.get("Content-Type") == "text/event-plain":
                self._keep(block)
            else:
                return block

    def _one(self, patience: float) -> bool:
        block = self._block(patience)
        if block is None:
            return False
        self._keep(block)
        return True

    def _keep(self, block: Event) -> None:
        head, _, body = block.body.partition("\n\n")
        event = headers(head)
        event.body = body
        self.events.append(event)

    def _block(self, patience: float) -> Event | None:
        deadline = time.monotonic() + patience
        while True:
            head, blank, rest = self._buffer.partition(b"\n\n")
            if blank:
                block = headers(head.decode("utf-8", "replace"))
                length = int(block.get("Content-Length", "0"))
                if len(rest) >= length:
                    block.body = rest[:length].decode("utf-8", "replace")
                    self._buffer = rest[length:]
                    return block
            readable, _, _ = select.select([self._socket], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                return None
            data = self._socket.recv(65536)
            if not data:
                raise Missing("the switch closed the event socket")
            self._buffer += data


@dataclass(frozen=True)
class Installation:
    """What the switches of one run share.

    ``certificates``: a directory where the first of them makes two RSA keys of 4096 bits, which takes it between
    one second and half a minute; the others find them there.
    """

    program: str
    certificates: Path


class Switch:
    """The binary under test with the configuration as we ship it, in a directory of its own.

    ``controllers`` goes into the dialplan (``host:port``, several joined by a bar).  ``routing`` is a copy of company/
    with sounds; its phones have the passwords that ``cordboard passwords`` made.  ``home`` holds cordboard.yaml and the
    state of the controllers, which :class:`Serve` starts.  ``conf``: a copy of our configuration with more in it.
    A context manager.
    """

    def __init__(
        self,
        installation: Installation,
        directory: Path,
        controllers: str,
        variables: dict[str, str] | None = None,
        conf: Path = CONF,
    ) -> None:
        self.directory = directory
        self._conf = conf
        self.sip_port = free_sip_port()
        self.esl_port = free_port(socket.SOCK_STREAM)
        self.password = secrets.token_hex(16)
        self.spool = directory / "spool"
        self.password_file = directory / "esl.password"
        self.gateways = {name: free_port(socket.SOCK_DGRAM, OUTSIDE) for name in GATEWAYS}
        self.routing = directory / "routing"
        self.home = directory / "cordboard"
        #: The machine's own file, as :meth:`start` takes it.
        self.variables = directory / "switch-vars.xml"
        self.telephones: list[Sipp] = []
        self._installation = installation
        self._process: subprocess.Popen[bytes] | None = None
        values = {
            "cordboard_directory": str(self.home / "state" / "directory"),
            "cordboard_controllers": controllers,
            "cordboard_sip_port": str(self.sip_port),
            "cordboard_esl_port": str(self.esl_port),
            "cordboard_esl_password": self.password,
            "cordboard_trunks": f"{CARRIER}/32",
            "cordboard_spool": str(self.spool),
            "cordboard_gateways": str(directory / "gateways" / "*.xml"),
        }
        values.update(variables or {})
        self._values = values

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.spool.mkdir()
        (self.directory / "gateways").mkdir()
        for name, port in self.gateways.items():
            (self.directory / "gateways" / f"{name}.xml").write_text(
                f'<gateway name="{name}">\n'
                f'<param name="proxy" value="{OUTSIDE}:{port}"/><param name="register" value="false"/>'
                '<param name="caller-id-in-from" value="true"/>\n'
                "</gateway>\n"
            )
        _secret(self.password_file, self.password + "\n")
        shutil.copytree(HERE / "company", self.routing)
        for name, seconds in SOUNDS.items():
            sound(self.routing / "sounds" / "acme" / f"{name}.wav", seconds)
        self.home.mkdir()
        trunks = [f"  - {{name: {name}, gateway: {name}, {numbers}}}\n" for name, numbers in GATEWAYS.items()]
        (self.home / "cordboard.yaml").write_text(
            "switches:\n"
            f"  - {{name: switch1, host: {CARRIER}, port: {self.esl_port}, password_file: {self.password_file}}}\n"
            f"trunks:\n{''.join(trunks)}"
        )
        self.make_passwords()
        self.publish()
        lines = [f'  <X-PRE-PROCESS cmd="set" data="{key}={value}"/>' for key, value in self._values.items()]
        _secret(self.variables, "\n".join(["<include>", *lines, "</include>", ""]))
        self.start(self.variables)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, variables: Path | None) -> None:
        """Start; return when phones may register.  ``variables`` None: as a machine without its own file."""
        arguments = [self._installation.program, "-nf", "-nc", "-nonat", "-nocal", "-conf", str(self._conf)]
        places = ("log", "db", "run", "cache", "storage", "recordings", "temp", "sounds", "scripts")
        for place in places:
            (self.directory / place).mkdir(exist_ok=True)
            arguments += [f"-{place}", str(self.directory / place)]
        arguments += ["-certs", str(self._installation.certificates)]
        environment = {"HOME": str(self.directory), "PATH": "/usr/bin:/bin"}
        if variables is not None:
            environment["CORDBOARD_SWITCH_VARS"] = str(variables)
        with (self.directory / "output").open("wb") as output:
            self._process = subprocess.Popen(
                arguments,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                umask=0o077,
                preexec_fn=die_with_parent,
            )
        if variables is not None:
            until("the switch is ready", self._ready, 120.0)  # the first makes certificates

    def stop(self) -> None:
        """End it at once (an orderly end takes five seconds, and nothing here is kept), and its telephones."""
        for telephone in self.telephones:
            telephone.stop()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def make_passwords(self, *arguments: str) -> str:
        """``cordboard passwords``, as an operator runs it; what it says."""
        command = [CORDBOARD, "passwords", *(arguments or (str(self.routing),))]
        environment = {"CORDBOARD_CONFIG": str(self.home / "cordboard.yaml"), "CORDBOARD_DOMAIN": DOMAIN}
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    def password_of(self, extension: str, company: str = "acme") -> str:
        """The password that a phone has now."""
        found = yaml.load((self.home / "passwords.yaml").read_text(), yaml.BaseLoader)
        password: str = found[company][extension]
        return password

    def publish(self) -> bool:
        """Publish ``routing`` where no controllers are that do it; whether the phones' directory changed."""
        command = [sys.executable, "-m", "tests.switch.publish", str(self.routing), str(self.home / "cordboard.yaml")]
        command += [str(self.home / "state"), DOMAIN]
        done = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True)
        if done.stderr:
            raise Missing(f"publishing failed:\n{done.stderr}")
        return done.returncode == 0

    def watch(self, *events: str) -> Watch:
        """A connection that hears ``events``."""
        return Watch(self.esl_port, self.password, events)

    def log(self) -> str:
        return (self.directory / "log" / "freeswitch.log").read_text(errors="replace")

    def _ready(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise Missing("the switch ended: " + (self.directory / "output").read_text(errors="replace"))
        try:
            watch = self.watch()
        except OSError:
            return False
        try:
            return "Challenge Realm" in watch.api("sofia status profile internal")
        finally:
            watch.close()


def _secret(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


# -- the controllers -----------------------------------------------------------------------------------------


class Serve:
    """``cordboard serve`` for one switch, as an operator would start it.  A context manager."""

    def __init__(
        self,
        switch: Switch,
        port: int,
        redis_url: str,
        routing: Path | None = None,
        processes: int = 2,
        program: str = CORDBOARD,
    ) -> None:
        self.program = program
        self.directory = switch.home
        self.processes = processes
        self._facts = self.directory / "state" / "facts"
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = {
            "PATH": os.environ.get("PATH", ""),
            "CORDBOARD_ROUTING": str(routing or switch.routing),
            "CORDBOARD_LISTEN": f"{CARRIER}:{port}",
            "CORDBOARD_REDIS": redis_url,
            "CORDBOARD_CONFIG": str(self.directory / "cordboard.yaml"),
            "CORDBOARD_STATE": str(self.directory / "state"),
            "CORDBOARD_SPOOL": str(switch.spool),
            "CORDBOARD_PROCESSES": str(processes),
            "CORDBOARD_DOMAIN": DOMAIN,
        }

    def __enter__(self) -> Self:
        with (self.directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [self.program, "serve"],
                env=self._environment,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )
        try:
            until("the controllers are ready", self._ready, 30.0)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def reload(self) -> None:
        """Have it publish again; returns when every controller has taken it up."""
        assert self._process is not None
        before = self.log().count("routing was read again")
        self._process.send_signal(signal.SIGHUP)
        until(
            "the controllers have read routing again",
            lambda: self.log().count("routing was read again") >= before + self.processes,
        )

    def cordboard(self, *arguments: str) -> str:
        """What ``cordboard`` with these arguments prints for an operator of the same machine."""
        done = subprocess.run([self.program, *arguments], env=self._environment, capture_output=True, text=True)
        if done.returncode:
            raise Missing(f"cordboard {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def controllers(self) -> list[int]:
        """The controllers' process ids: the children of the one that was started."""
        assert self._process is not None
        pid = self._process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def kill_controllers(self) -> None:
        """kill -9 every controller at once."""
        for pid in self.controllers():
            os.kill(pid, signal.SIGKILL)

    def facts(self, call: str) -> list[dict[str, Any]]:
        """What the controllers wrote down about one call, in order of time."""
        while True:
            try:
                lines = [line for path in self._facts.glob("*") for line in path.read_text().splitlines()]
            except FileNotFoundError:  # that of a dead process has just been given another name
                continue
            return sorted((json.loads(line) for line in lines if call in line), key=lambda fact: float(fact["at"]))

    def fact(self, call: str, kind: str) -> dict[str, Any]:
        """The one fact of this kind that a call must have; waits for it."""
        try:
            until(f"the fact {kind}", lambda: any(fact["type"] == kind for fact in self.facts(call)))
        except Missing as missing:
            kinds = [fact["type"] for fact in self.facts(call)]
            raise Missing(f"{missing}; facts: {kinds}; the log ends\n{self.log()[-3000:]}") from None
        (found,) = [fact for fact in self.facts(call) if fact["type"] == kind]
        return found

    def _ready(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise Missing(f"cordboard serve ended:\n{self.log()}")
        ready, connected = self.log().count("ready for calls"), self.log().count("connected to the switch")
        return min(ready, connected) >= self.processes


class Cable:
    """What lies between the controllers and a switch's event socket, to be cut.  A context manager."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server = socket.create_server((CARRIER, 0))
        self.port: int = self._server.getsockname()[1]
        self._ends: list[socket.socket] = []
        self._whole = True
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self._connect, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """Nothing goes through any more, and who connects is disconnected at once."""
        with self._lock:
            self._whole = False
            ends, self._ends = self._ends, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def mend(self) -> None:
        """Whoever connects from now gets through."""
        with self._lock:
            self._whole = True

    def _connect(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            with self._lock:
                try:
                    far = socket.create_connection((CARRIER, self._to)) if self._whole else None
                except OSError:
                    far = None
                if far is None:
                    near.close()
                    continue
                self._ends += [near, far]
            for one, other in ((near, far), (far, near)):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


# -- telephones ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Press:
    """Keys, 120 ms each."""

    digits: str


@dataclass(frozen=True)
class Speak:
    """A tone instead of a voice, seconds, of so many hertz."""

    seconds: float
    hertz: int = 400


Step = Press | Speak | tuple["Press | Speak", ...]


class Sipp:
    """One SIPp process with one of our scenarios.  It ends with its switch at the latest."""

    def __init__(
        self, switch: Switch, directory: Path, scenario: str, arguments: Sequence[str], **tokens: object
    ) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.media = int(arguments[arguments.index("-mp") + 1])
        text = (SCENARIOS / f"{scenario}.xml").read_text()
        for token, value in tokens.items():
            text = text.replace(f"@{token}@", str(value))
        path = directory / f"{scenario}.xml"
        path.write_text(text)
        logs = ["-trace_msg", "-message_file", "messages", "-trace_err", "-error_file", "errors"]
        logs += ["-trace_logs", "-log_file", "log"]
        with (directory / "output").open("wb") as output:
            self.process = subprocess.Popen(
                ["sipp", *arguments, "-sf", str(path), "-nostdin", *logs],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent,
            )
        switch.telephones.append(self)

    def ended(self, patience: float = PATIENCE) -> None:
        """The scenario went to its end, as written.  Raises Missing otherwise."""
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise Missing(f"the scenario in {self.directory} is still under way\n{self.said()}") from None
        if code != 0:
            raise Missing(f"the scenario in {self.directory} failed ({code})\n{self.said()}")

    def said(self) -> str:
        """The SIP that went to and fro, and SIPp's complaints."""
        parts = [self.directory / name for name in ("messages", "errors")]
        return "\n".join(part.read_text(errors="replace") for part in parts if part.exists())

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Phone(Sipp):
    """A telephone of a company, registered with its password; takes one call after another."""

    def __init__(
        self, switch: Switch, extension: str, behaviour: str, *, company: str = "acme", **tokens: object
    ) -> None:
        self.port = free_port(socket.SOCK_DGRAM, PHONES)
        self.address = f"{extension}@{company}.{DOMAIN}"
        self._who = (switch, extension, company)
        directory = switch.directory / f"phone-{company}-{extension}-{self.port}-{secrets.token_hex(4)}"
        super().__init__(switch, directory, behaviour, _at(PHONES, self.port), **tokens)
        until("the phone listens", lambda: _listens(self.port))
        self._register(3600)

    def put_away(self) -> None:
        """Take leave of the switch, and end."""
        self._register(0)
        self.stop()

    def _register(self, seconds: int) -> None:
        switch, extension, company = self._who
        password, domain = switch.password_of(extension, company), f"{company}.{DOMAIN}"
        register(switch, extension, password, self.port, domain=domain, seconds=seconds).ended()


class Outside(Sipp):
    """What stands behind a gateway: a carrier that takes our calls, and the outside phones that it calls.

    ``steps`` are done one by one when ``step`` is called, in the call that came last.
    """

    def __init__(
        self, switch: Switch, gateway: str, behaviour: str, steps: Sequence[Step] = (), **tokens: object
    ) -> None:
        port = switch.gateways[gateway]
        self._told = 0
        self._steps: dict[str, int] = {}
        self._address = (OUTSIDE, port)
        directory = switch.directory / f"outside-{gateway}-{secrets.token_hex(4)}"
        plays = _steps(directory.with_name(directory.name + "-rtp"), steps)
        super().__init__(switch, directory, behaviour, _at(OUTSIDE, port), **{"steps": plays, **tokens})
        until("the carrier listens", lambda: _listens(port, OUTSIDE))

    @property
    def invites(self) -> list[str]:
        """Every INVITE that reached it, whole, in order; a repeated one counts once."""
        found = re.findall(r"^INVITE sip:.*?(?=^-{20}|\Z)", self.said().replace("\r", ""), re.MULTILINE | re.DOTALL)
        return list({_header(text, "Call-ID"): text for text in found}.values())

    def step(self) -> None:
        """Do the next step, or hang up after the last; returns when it begins: a key may end the call at once.

        Waits for the end of the step before it, which the telephone would not leave for us.
        """
        call = _header(self.invites[-1], "Call-ID")
        done, log = self._steps.get(call, 0), self.directory / "log"
        until("the step before is done", lambda: not done or f"step {done} is done in {call}" in log.read_text())
        self._steps[call] = done + 1
        self._told += 1
        _tell(self._address, call, self._told, self.said)


def _header(message: str, name: str) -> str:
    """The value of a header of a SIP message."""
    found = re.search(rf"^{name}: *(.*)$", message, re.MULTILINE)
    assert found is not None, message
    return found[1].strip()


def register(
    switch: Switch,
    extension: str,
    password: str,
    contact_port: int,
    *,
    domain: str = COMPANY,
    claimed: str | None = None,
    seconds: int = 3600,
    status: int = 200,
) -> Sipp:
    """Register a contact for so many seconds; ``status`` is the answer that is expected to the password.

    ``domain`` is where it says it is of, and whose challenge it answers; ``claimed`` where it wants to be reached.
    """
    port = free_port(socket.SOCK_DGRAM, PHONES)
    return Sipp(
        switch,
        switch.directory / f"register-{extension}-{port}-{secrets.token_hex(4)}",
        "register",
        [f"{CARRIER}:{switch.sip_port}", "-m", "1", *_at(PHONES, port)],
        extension=extension,
        domain=domain,
        claimed=claimed or domain,
        password=password,
        contact_port=contact_port,
        seconds=seconds,
        status=status,
    )


class Caller(Sipp):
    """Somebody who calls ``to`` and does ``steps``, each when ``step`` is called; at last ``hangup``."""

    def __init__(
        self,
        switch: Switch,
        to: str,
        steps: Sequence[Step] = (),
        *,
        scenario: str = "caller",
        name: str = "Kate",
        number: str = "+79161234567",
        source: str = CARRIER,
        **tokens: object,
    ) -> None:
        port = free_port(socket.SOCK_DGRAM, source)
        self.call_id = f"caller-{secrets.token_hex(8)}@test"
        self._address = (source, port)
        self._steps = 0
        directory = switch.directory / f"caller-{port}-{secrets.token_hex(4)}"  # a port may come again
        plays = _steps(directory.with_name(directory.name + "-rtp"), steps)
        super().__init__(
            switch,
            directory,
            scenario,
            [f"{CARRIER}:{switch.sip_port}", "-m", "1", "-cid_str", self.call_id, *_at(source, port)],
            **{
                "steps": plays,
                "to": to,
                "name": name,
                "number": number,
                "domain": COMPANY if source == PHONES else "carrier.test",
                "headers": "",
                **tokens,
            },
        )

    def step(self) -> None:
        """Do the next step; returns when the last packet of it has been sent."""
        self._tell()
        done = f"step {self._steps} is done"
        log = self.directory / "log"
        until(done, lambda: log.exists() and done in log.read_text())

    def hangup(self) -> None:
        """Hang up, after the last step; returns when the call has ended for the caller."""
        self._tell()
        self.ended()

    def _tell(self) -> None:
        self._steps += 1
        _tell(self._address, self.call_id, self._steps, self.said)


def _steps(directory: Path, steps: Sequence[Step]) -> str:
    """The part of a scenario that does ``steps``; their packets are files in ``directory``."""
    directory.mkdir(parents=True)
    clock = RtpClock()
    plays = ""
    for index, step in enumerate(steps, 1):
        path = directory / f"{index}.pcap"
        packets = clock.packets(step)
        path.write_bytes(pcap(packets))
        part = (SCENARIOS / "step.xml").read_text()
        for token, value in {"pcap": path, "milliseconds": int(packets[-1][0] * 1000) + 20, "step": index}.items():
            part = part.replace(f"@{token}@", str(value))
        plays += part
    return plays


def _tell(address: tuple[str, int], call_id: str, number: int, said: Callable[[], str]) -> None:
    """Send a telephone the INFO by which its scenario goes on, the ``number``-th in this call."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        control.bind((CARRIER, 0))
        host, port = control.getsockname()
        info = "\r\n".join(
            [
                f"INFO sip:telephone@{address[0]}:{address[1]} SIP/2.0",
                f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{secrets.token_hex(8)}",
                "Max-Forwards: 70",
                "From: <sip:test@test>;tag=test",
                "To: <sip:telephone@test>;tag=telephone",
                f"Call-ID: {call_id}",
                f"CSeq: {number} INFO",
                "Content-Length: 0",
                "",
                "",
            ]
        )
        control.sendto(info.encode(), address)
    # SIPp would answer to the switch, not to us; so the scenario does not, and its log is the receipt.
    receipt = f"CSeq: {number} INFO"
    until("the telephone takes the test's INFO", lambda: receipt in said())


class Dialler(Caller):
    """Somebody at a company's phone who dials ``to`` with the phone's password; otherwise like a caller.

    ``number`` and ``domain`` (From) are what the phone says of itself, ``realm`` whose challenge it answers.
    """

    def __init__(
        self, switch: Switch, extension: str, to: str, steps: Sequence[Step] = (), *, company: str = "acme", **more: Any
    ) -> None:
        known = {
            "number": extension,
            "domain": f"{company}.{DOMAIN}",
            "password": switch.password_of(extension, company),
        }
        super().__init__(
            switch, to, steps, **{"scenario": "phone_dials", "source": PHONES, "extension": extension, **known, **more}
        )


class Ear:
    """What reaches a telephone, packet by packet.  A context manager.

    It listens beside SIPp, which plays and does not record: the truth about gaps, whatever the switch says.  Time is
    that of the RTP timestamps, by which a telephone puts sounds in their places: what a busy machine sends late is
    heard in time, and a pause of the switch is in them (measured: 200 ms, 500 ms).
    """

    def __init__(self, telephone: Sipp) -> None:
        self._port = telephone.media
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
        self._packets: list[tuple[int, bytes]] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", (CARRIER, self._port))  # an empty one ends it
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while True:
            packet = self._socket.recv(65536)
            udp = packet[(packet[0] & 15) * 4 :]
            if struct.unpack("!H", udp[2:4])[0] != self._port:
                continue
            if len(udp) == 8:
                return
            if udp[9] & 0x7F == 8:
                self._packets.append((struct.unpack("!I", udp[12:16])[0], udp[20:]))

    def heard(self) -> list[list[int]]:
        """The packets so far, 20 ms of samples each."""
        return [[_LINEAR[byte] for byte in packet] for _, packet in list(self._packets)]

    def longest_silence(self) -> float:
        """The longest stretch between two sounds in which nothing is heard, seconds, in steps of 5 ms."""
        found, last = 0, None
        for (stamp, _), samples in zip(list(self._packets), self.heard(), strict=False):
            for begin in range(0, len(samples), 40):
                if max(map(abs, samples[begin : begin + 40])) > 300:
                    found = max(found, stamp + begin - last) if last is not None else 0
                    last = stamp + begin + 40
        return found / 8000


def _at(host: str, port: int) -> list[str]:
    return ["-i", host, "-p", str(port), "-mp", str(_free_media_port(host))]


def _free_media_port(host: str) -> int:
    """The first of four ports that nobody uses: SIPp takes two for sound and two for pictures."""
    while True:
        port = free_port(socket.SOCK_DGRAM, host) & ~1
        with contextlib.ExitStack() as probes:
            try:
                for number in range(port, port + 4):
                    probe = probes.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                    probe.bind((host, number))
            except (OSError, OverflowError):
                continue
        return port


def _listens(port: int, host: str = PHONES) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return True
        return False


# -- RTP in pcap files ---------------------------------------------------------------------------------------

_EVENTS = {digit: code for code, digit in enumerate("0123456789*#")}


@dataclass
class RtpClock:
    """One RTP stream cut into steps: sequence numbers and timestamps go on from step to step."""

    sequence: int = 1
    timestamp: int = 160
    source: int = field(default_factory=lambda: secrets.randbits(32))

    def packets(self, step: Step) -> list[tuple[float, bytes]]:
        """(seconds from the step's begin, RTP packet), every 20 ms: RFC 3550, keys by RFC 4733."""
        packets: list[tuple[float, bytes]] = []
        for part in step if isinstance(step, tuple) else (step,):
            begin = packets[-1][0] + 0.02 if packets else 0.0
            made = self._keys(part.digits) if isinstance(part, Press) else self._speech(part)
            packets += [(begin + at, packet) for at, packet in made]
        return packets

    def _speech(self, part: Speak) -> Iterator[tuple[float, bytes]]:
        for n in range(int(part.seconds / 0.02)):
            yield n * 0.02, self._packet(8, _tone(n, part.hertz), marker=n == 0)

    def _keys(self, digits: str) -> Iterator[tuple[float, bytes]]:
        at = 0.0
        for digit in digits:
            begin = self.timestamp
            for n in range(1, 7):
                event = struct.pack("!BBH", _EVENTS[digit], 10, n * 160)
                yield at, self._packet(101, event, marker=n == 1, timestamp=begin)
                at += 0.02
            # The end is sent three times, in case it is lost.
            for _ in range(3):
                event = struct.pack("!BBH", _EVENTS[digit], 0x80 | 10, 7 * 160)
                yield at, self._packet(101, event, timestamp=begin)
                at += 0.02
            at += 0.1

    def _packet(self, kind: int, payload: bytes, *, marker: bool = False, timestamp: int | None = None) -> bytes:
        stamp = self.timestamp if timestamp is None else timestamp
        packet = struct.pack("!BBHII", 0x80, kind | (marker << 7), self.sequence, stamp, self.source)
        self.sequence += 1
        self.timestamp += 160
        return packet + payload


def pcap(packets: Sequence[tuple[float, bytes]]) -> bytes:
    """A capture file (libpcap 2.4, Ethernet, IPv4, UDP); SIPp fills in addresses and checksums."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
    for at, rtp in packets:
        udp = struct.pack("!HHHH", 4000, 4000, 8 + len(rtp), 0) + rtp
        ip = struct.pack(
            "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes((127, 0, 0, 1)), bytes((127, 0, 0, 1))
        )
        frame = bytes(12) + b"\x08\x00" + ip + udp
        out.append(struct.pack("<IIII", int(at), int(at % 1 * 1_000_000), len(frame), len(frame)) + frame)
    return b"".join(out)


def _tone(packet: int, hertz: int) -> bytes:
    """20 ms of a tone as A-law."""
    return bytes(_alaw(int(8000 * math.sin(2 * math.pi * hertz * (packet * 160 + n) / 8000))) for n in range(160))


def _alaw(sample: int) -> int:
    """One 16-bit sample as A-law (ITU-T G.711)."""
    mask = 0xD5 if sample >= 0 else 0x55
    magnitude = (sample if sample >= 0 else -sample - 1) >> 3
    segment = max(magnitude.bit_length() - 5, 0)
    return ((segment << 4) | ((magnitude >> max(segment, 1)) & 0x0F)) ^ mask


def _linear(byte: int) -> int:
    """A sample of A-law as 16 bits."""
    byte ^= 0x55
    segment, mantissa = (byte >> 4) & 7, (byte & 15) << 4
    magnitude = mantissa + 8 if segment == 0 else (mantissa + 0x108) << (segment - 1)
    return magnitude if byte & 0x80 else -magnitude


_LINEAR = [_linear(byte) for byte in range(256)]


def sound(path: Path, seconds: float) -> None:
    """A quiet tone as a WAV file of exactly this length."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        samples = (int(2000 * math.sin(2 * math.pi * 440 * n / 8000)) for n in range(int(seconds * 8000)))
        file.writeframes(struct.pack(f"<{int(seconds * 8000)}h", *samples))
