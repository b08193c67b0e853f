"""One controller process: accepts calls, owns their sessions, hears the ends that nobody owns.

Several of these share one port (SO_REUSEPORT) under a supervisor.  Losing one loses no call: the switch
brings its calls to the others.  ``run_child`` patches the standard library for gevent before anything else
of this process is imported; no library module does.

The surprise: every process hears the end of every call of its switches.  The owner of a call writes its end;
for a talk, which nobody owns, and for a call whose owner died, the one who claims it in Redis does.
"""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import signal
import socket as stdlib_socket
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import gevent
import gevent.event
import structlog
from gevent import socket
from gevent.server import StreamServer

from callcontrol import messages as m
from callcontrol import outcomes, processes, running, wire
from callcontrol.call import ended_by, epilogue
from callcontrol.commands import Commands, calls_performed_by, performed_by, recorded_by
from callcontrol.desk import Desk
from callcontrol.directory import Announcer
from callcontrol.esl import EslError, EslEvent
from callcontrol.exchange import Exchange
from callcontrol.facts import FactFile, Shipper
from callcontrol.lookups import Lookups
from callcontrol.outcomes import Taken
from callcontrol.published import Published
from callcontrol.queueboard import QueueBoard
from callcontrol.queues import Queues
from callcontrol.recorder import Recorder
from callcontrol.ringing import CONTEXT, RESUME_EXTENSION, Line
from callcontrol.routing.model import Routing
from callcontrol.running import Running
from callcontrol.session import RATE, Session, typed_company, typed_extension
from callcontrol.settings import Settings, SettingsError, admits, read_config
from callcontrol.shared import Counts, Switches
from callcontrol.speech import Sounds
from callcontrol.state import State, StateError, decode
from callcontrol.steps.base import IN_QUEUE
from callcontrol.steps.lookup import asked_hosts
from callcontrol.supervisor import heartbeat, process_name
from callcontrol.switchboard import Switchboard
from callcontrol.versions import VersionStore
from callcontrol.view import leg_id

#: How long the owner of a call that was not talking has to write its end before another does, seconds.
GRACE = 3.0
#: How often the ends that were heard so long ago are looked at, all at once, seconds.
LOOK = 0.5
#: How often one process compares what should live with what does, seconds.
RECONCILE = 5.0
#: How long it waits for its switches before it takes calls, seconds.
REACHING = 5.0
#: Calls that may wait until they are taken.
BACKLOG = 1024
#: How long a drain waits for recordings of callers who have left, seconds.
DRAIN = 4.0
#: Ends that this process wrote, remembered so that it does not write them twice while Redis is away.
MOST_ENDS = 10_000
#: How long calls have the process for themselves between two stretches of reading new routing, seconds.
PAUSE = 0.002
#: With fewer live calls than this a full round of the garbage collector takes some milliseconds.
FEW_CALLS = 200
#: How often one is made then, seconds.
COLLECT = 60.0
#: Recording needs so much free room in the spool, bytes.
LEAST_ROOM = 50 * 2**20

_RECONCILER = "cordboard:reconciler:"
_UUID = re.compile(r"[A-Za-z0-9-]{8,64}")
_TONES = {
    "ringback": wire.Tone.RINGBACK,
    "apology": wire.Tone.APOLOGY,
    "record_beep": wire.Tone.RECORD_BEEP,
    "missing": wire.Tone.MISSING,
}


class _Heard(NamedTuple):
    """The end of a call that somebody else may own."""

    due: float  # monotonic: when it is to be looked at
    line: Line
    call: str
    end: Mapping[str, Any]
    at: float  # the calls' time


class Controller:
    """The process's calls, its connections to switches, its facts."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.sessions: dict[str, Session] = {}
        self.name = process_name()
        self._log: Any = structlog.get_logger("controller").bind(process=self.name)
        self._store = VersionStore(settings.state)
        self.published = Published(
            self._store,
            pause=self._let_calls_go_on,
            apart=lambda work: gevent.get_hub().threadpool.apply(work),
        )
        self._sounds = Sounds(self.settings.state)
        self.facts = FactFile(settings.state / "facts", self.name)
        self.board = Switchboard(settings.redis, name=self.name)
        self.lookups = Lookups(settings.config)
        self._shipper = Shipper(settings.state / "facts", self.facts, self.board)
        self.switches = Switches(self.board)
        self._counts = Counts(self.board, settings.processes)
        #: The recordings of talks.
        self.recorder = Recorder(self)
        self._lines = [
            Line(
                address,
                settings.domain,
                settings.config,
                self._counts,
                self._ended_somewhere,
                self._knows_core,
                self._leg_ended,
                self.recorder,
            )
            for address in settings.config.switches
        ]
        self.queues = Queues(QueueBoard(self.board), self.name, self)
        #: What is asked from outside.
        self.commands = Commands(
            settings.redis,
            name=self.name,
            switches=[address.name for address in settings.config.switches],
            perform={
                **performed_by(Desk(self.queues, self.current)),
                **calls_performed_by(Exchange(self)),
                **recorded_by(self.recorder),
            },
        )
        self._commanding: gevent.Greenlet[[], None] | None = None
        self._directory = Announcer(settings.state, self.board, self.name)
        self._by_core: dict[str, Line] = {}
        self._sounds_directory = str(settings.sounds)
        self._ends: dict[str, None] = {}
        self._heard: deque[_Heard] = deque()
        self._n = 0
        self._suspects: dict[str, set[str]] = {}
        self._ready = False
        self._draining = False
        self._running = Running(self.board, self.name, settings.state)
        self._trouble = ""  # what is wrong with cordboard.yaml
        self._taken = Taken(0)
        self._drained = gevent.event.Event()
        self._reloading = False
        self._reload_wanted = False
        self._config_wanted = False
        self._server: StreamServer | None = None

    # ------------------------------------------------------------------------------------------- running

    def serve(self, listener: socket.socket, ready: Callable[[], object] = lambda: None) -> None:
        """Accept calls on the bound ``listener`` until drained.  ``ready`` is called when the first may come."""
        self._acknowledge(Taken(0))
        self._take_up()
        self._warn_of_secrets()
        self._shipper.start()
        self.switches.read()
        gevent.spawn(self.switches.run)
        self.queues.start()
        for line in self._lines:
            line.start()
        gevent.spawn(self._report_forever)
        gevent.spawn(self._reconcile_forever)
        gevent.spawn(self._settle_forever)
        self._commanding = gevent.spawn(self.commands.run)
        self._reach_switches()
        if self._draining:
            self._drained.wait(DRAIN + 4.0)
            return
        listener.listen(BACKLOG)
        self._ready = True
        ready()
        self._server = StreamServer(listener, self._accepted)
        host, port = listener.getsockname()[:2]
        processes.announce(self.settings.state, "controller")
        self._log.info(
            "ready for calls",
            host=host,
            port=port,
            companies=len(self.published.companies),
            release=processes.release(),
        )
        self._server.serve_forever()
        if self._draining:  # it returns as soon as its socket is closed, with which a drain begins
            self._drained.wait(DRAIN + 4.0)

    def _reach_switches(self) -> None:
        """Wait for the ways to the switches: a call that comes before them cannot ring anybody, nor find who rings.

        When one replaces another, hundreds of calls come in the same moment.  A switch that cannot be reached keeps
        nobody from serving the others.
        """
        end = time.monotonic() + REACHING
        for line in self._lines:
            line.reach(max(0.0, end - time.monotonic()))

    def _accepted(self, sock: socket.socket, address: tuple[str, int]) -> None:
        if not admits(self.settings.peers, address[0]):
            self._log.warning("refused a connection that is no switch of ours", peer=address[0])
            sock.close()
            return
        Session(sock, address, self).run()

    def reload(self) -> None:
        """Take up what was published, and cordboard.yaml; live calls stay on their version.

        One that comes while another is under way begins when that is done.
        """
        self._config_wanted = True
        self.follow()

    def follow(self) -> None:
        """As :meth:`reload`, and cordboard.yaml stays as it was read."""
        self._reload_wanted = True
        if self._reloading:
            return
        self._reloading = True
        try:
            while self._reload_wanted and not self._draining:
                self._reload_wanted = False
                if self._config_wanted:
                    self._config_wanted = False
                    self._trouble = self._read_config()
                self._take_up()
                self._report()
                self._log.info("routing was read again", companies=len(self.published.companies))
                self._directory.tell(*self._lines)
        finally:
            self._reloading = False

    def _take_up(self) -> None:
        """Load what is published and say so."""
        gc.disable()  # hundreds of thousands of objects come into being, and not one of them in a cycle
        try:
            taken = self.published.load()
        finally:
            gc.enable()
        gc.freeze()  # routing and code live for long: the collector need not walk them at each round
        self.queues.take_up(self.published.routings, self._let_calls_go_on)
        self._taken = replace(taken, trouble=self._trouble)
        self._acknowledge(self._taken)

    def _read_config(self) -> str:
        """Read cordboard.yaml again; the last good reading holds if it is wrong.  What is wrong, or nothing."""
        try:
            config = read_config(self.settings.config_path)
        except SettingsError as error:
            self._log.error("cordboard.yaml cannot be used; what it said before holds", why=str(error))
            return str(error)
        if config.switches != self.settings.config.switches:
            self._log.warning("other switches in cordboard.yaml: only new processes go to them (SIGUSR2)")
        try:
            self.lookups.configure(config)
        except SettingsError as error:
            self._log.error("the secrets cannot be used; what they said before holds", why=str(error))
            return str(error)
        self.settings = replace(self.settings, config=config)
        for line in self._lines:
            line.config = config
        self._warn_of_secrets()
        return ""

    def _warn_of_secrets(self) -> None:
        asked = {routing.company: asked_hosts(routing) for routing in self.published.routings}
        for stranger in self.lookups.secrets.strangers(asked):
            self._log.warning("a secret is not used", why=stranger)

    def _acknowledge(self, taken: Taken) -> None:
        if self._draining:
            return
        try:
            outcomes.acknowledge(self.settings.state, self.name, taken)
        except OSError as error:
            self._log.error("nobody can be told what is loaded", error=str(error))

    def _report_forever(self) -> None:
        while not self._draining:
            self._report()
            gevent.sleep(running.EVERY)

    def _report(self) -> None:
        """Tell the other machines what this process runs."""
        if not self._draining:
            switches = [line.name for line in self._lines]
            try:
                self._running.report(self._taken.serial, self.published.versions(), switches)
            except Exception:  # something by hand in Redis must not silence us for ever
                self._log.exception("nobody can be told what this process runs")

    def _let_calls_go_on(self) -> None:
        if self._ready:
            gevent.sleep(PAUSE)

    def drain(self) -> None:
        """Hand every call to another controller and stop."""
        if self._draining:
            return
        self._draining = True
        outcomes.forget(self.settings.state, self.name)
        gevent.spawn(self._running.forget)
        had = [*self.sessions]
        self._log.info("draining", calls=len(had))
        if self._server is not None:
            self._server.close()
        gevent.spawn(self.commands.stop)  # Redis may be slow to hear it
        deadline = time.monotonic() + DRAIN
        while self.sessions and time.monotonic() < deadline:
            for session in list(self.sessions.values()):
                session.hand_over()
            gevent.sleep(0.02)
        if self._commanding is not None:
            self._commanding.join(1.0)  # the answer to a command that was taken
        self.queues.stop(1.0)
        for line in self._lines:  # another need not wait until they end by themselves
            if self.board.available:
                self.board.release(_RECONCILER + line.name, self.name)
        self._shipper.stop(1.0)
        self.facts.close()
        for line in self._lines:
            line.stop()
        processes.say_drained(self.settings.state, processes.Drained(had, [*self.sessions]))
        self._log.info("drained", left=len(self.sessions))
        if self._server is not None:
            self._server.stop(0)
        self._drained.set()

    # ------------------------------------------------------------------------------ what sessions ask for

    def remember(self, session: Session) -> None:
        """A session begins; an older one of the same call, if any, lost it."""
        older = self.sessions.get(session.id)
        self.sessions[session.id] = session
        if older is not None:
            older.lost()

    def forget(self, session: Session) -> None:
        """A session is over."""
        if self.sessions.get(session.id) is session:
            del self.sessions[session.id]
        self.queues.forget(session)
        for line in self._lines:
            line.forget(session)

    def line_of(self, core: str) -> Line:
        """The way back to the switch that a call came from."""
        return self._by_core.get(core, self._lines[0])

    def line_named(self, switch: str) -> Line | None:
        """The way to a switch of this name, if it is one of ours."""
        return next((line for line in self._lines if line.name == switch), None)

    def _knows_core(self, line: Line, core: str) -> None:
        before = [known for known, its in self._by_core.items() if its is line and known != core]
        self._by_core[core] = line
        if before:
            for known in before:
                del self._by_core[known]
            self._log.warning("a switch was started anew: every call on it is over", switch=line.name)
            gevent.spawn(self._reconcile_if_ours, line, anew=True)
        gevent.spawn(self._catch_up, line)
        gevent.spawn(self._directory.tell, line)  # the switch may have started with an older one

    def _catch_up(self, line: Line) -> None:
        """The connection to a switch is there again: what ended meanwhile was heard by nobody here."""
        try:
            self.queues.caretaker.catch_up(line)
        except EslError as error:
            self._log.info("the switch could not be asked what ended", switch=line.name, error=str(error))

    def routing_for(
        self, called: str | None, taken: State | None, *, company: str | None = None
    ) -> tuple[Routing, str]:
        """See :meth:`Published.find`."""
        return self.published.find(called, taken, company)

    def sound(self, routing: Routing, sound: m.Sound) -> str | None:
        """What the switch shall play; None for speech that should have been rendered and is not there.

        A version that was published without speech has a tone for it.  A file that was not converted is given to the
        switch as it is.
        """
        if isinstance(sound, m.Tone):
            return _TONES[sound.name]
        if isinstance(sound, m.Music):
            return self.music(routing, sound)[0]
        found = self._sounds.find(routing, sound)
        if found:
            return wire.sounds(*map(wire.SoundPath, found))
        if isinstance(sound, m.SoundFile):
            # Joining paths costs more than all else that is done to play a sound.
            return str(wire.SoundPath(f"{self._sounds_directory}/{routing.company}/{sound.name}"))
        if found is not None:
            return wire.silence(20)
        return None if routing.voices else wire.Tone.PROMPT

    def music(self, routing: Routing, sound: m.SoundFile | m.Music) -> tuple[str, int]:
        """What the switch shall play again and again, and its samples; 0: nobody knows, it cannot begin in the middle.

        Music that is not there is a tone, never silence.
        """
        found = self._sounds.music(routing, sound)
        if found is not None:
            path, seconds = found
            return str(wire.SoundPath(path)), int(seconds * RATE)
        if isinstance(sound, m.Music):
            self._log.error("there is no music: a tone is heard instead", music=sound.name, company=routing.company)
            return wire.Tone.MUSIC, 0
        return self.sound(routing, sound) or wire.Tone.MUSIC, 0

    def spool_file(self, name: str) -> wire.SoundPath:
        """Where the switch records."""
        return wire.SoundPath(str(self.settings.spool / name))

    def spool_trouble(self) -> str:
        """Why nothing can be recorded now, or nothing.  A file that cannot be opened would cost the call."""
        try:
            free = shutil.disk_usage(self.settings.spool).free
        except OSError as error:
            return f"{self.settings.spool}: {error.strerror or error}"
        if free < LEAST_ROOM:
            return f"{self.settings.spool}: only {free // 2**20} MB are free"
        if not os.access(self.settings.spool, os.W_OK | os.X_OK):
            return f"{self.settings.spool}: nobody may write there"
        return ""

    def fact(
        self, fact: m.Tell, company: str, call: str | None, epoch: int, n: int, at: float, switch: str
    ) -> dict[str, Any]:
        """A fact as it is written."""
        if fact.type == "call.ended" and call is not None:
            self._remember_end(call)
        return {
            "v": 1,
            "type": fact.type,
            "company": company or None,
            "call": call,
            "epoch": epoch,
            "n": n,
            "at": at,
            "switch": switch,
            "data": fact.data,
        }

    def tell(self, company: str, fact: m.Tell) -> None:
        """Write a fact that is no call's."""
        self._n += 1
        self.facts.write([self.fact(fact, company, None, 0, self._n, round(self.now(), 3), "")])

    def write(self, fact: m.Tell, company: str, call: str, epoch: int, n: int, switch: str) -> None:
        """Write a fact of a call that no session tells."""
        self.facts.write([self.fact(fact, company, call, epoch, n, round(self.now(), 3), switch)])

    @property
    def lines(self) -> Sequence[Line]:
        """The ways to the switches."""
        return self._lines

    # ---------------------------------------------------------------------- what the exchange asks for

    def session_of(self, call: str) -> Session | None:
        """The call, if this process has it."""
        return self.sessions.get(call)

    def tell_placed(self, line: Line, company: str, call: str, data: dict[str, Any]) -> None:
        """Write the fact that a call is about to be placed.  Its epoch is 0: nobody has it yet."""
        placed = m.Tell("call.placed", data)
        self.facts.write([self.fact(placed, company, call, 0, 1, round(self.now(), 3), line.name)])

    def end_placed(self, line: Line, company: str, call: str, cause: str) -> None:
        """Write the end of a call that was placed and never began, unless somebody else has."""
        end = {"state": "", "cause": cause, "answered": False, "company": company}
        self._write_end(line, call, end, self.now())

    def now(self) -> float:
        """The calls' time: the clock's, which a demonstration may shift."""
        return time.time() + self.settings.clock_offset

    # ---------------------------------------------------------------------------- what queues ask for

    def current(self, company: str) -> Routing | None:
        """A company's routing as it is now."""
        return self.published.current(company)

    def version(self, company: str, version: str) -> Routing | None:
        """See :meth:`Published.version`."""
        return self.published.version(company, version)

    def lease(self, name: str, seconds: float) -> bool:
        """Whether this process holds the lease from now."""
        return self.board.lease(name, self.name, seconds)

    @property
    def redis_away(self) -> bool:
        """Whether Redis did not do what it was last asked."""
        return not self.board.available

    def leased(self, names: Sequence[str]) -> set[str]:
        """Those of the leases that some process holds; none while Redis is away."""
        return self.board.leased(names)

    def release(self, name: str) -> bool:
        """Give a lease back, if this process has it."""
        return self.board.release(name, self.name)

    def _leg_ended(self, line: Line, event: EslEvent) -> None:
        """A channel ended: whoever it was, if an agent, may be one who talked; who began a talk knows whose it was."""
        company = typed_company(event.get("variable_cordboard_company"))
        if company is None or not self.queues.serves(company):
            return
        person = typed_extension(event.get("variable_cordboard_person"))
        own = None if person else typed_extension(event.get("variable_cordboard_extension"))
        uuid = event.get("Unique-ID") or ""
        if _UUID.fullmatch(uuid):
            # A call that a phone of ours makes is one from its beginning, a leg from its answer.
            answered = own is not None or (event.get("Caller-Channel-Answered-Time") or "0") != "0"
            self.queues.ended(company, person or own or "", uuid, answered=answered)

    def _remember_end(self, call: str) -> None:
        self._ends[call] = None
        while len(self._ends) > MOST_ENDS:
            del self._ends[next(iter(self._ends))]

    # -------------------------------------------------------------------------------- ends nobody owned

    def _ended_somewhere(self, line: Line, event: EslEvent) -> None:
        call = event.get("Unique-ID") or ""
        if call in self._ends or not _UUID.fullmatch(call):
            return
        # A session of ours may still be there although it has just let the call go: it is looked for again below.
        talking = event.get("variable_socket_resume") == "false" and call not in self.sessions
        answered = (event.get("Caller-Channel-Answered-Time") or "0") != "0"
        # Nor can anybody have a call that was placed before it is answered: it is in no dialplan.
        placed = event.get("Call-Direction") == "outbound" and not answered
        end = {
            "state": event.get("variable_cordboard_state") or "",
            "cause": (event.get("Hangup-Cause") or "UNKNOWN")[:60],
            "answered": answered,
            "company": typed_company(event.get("variable_cordboard_company")),
        }
        if talking or placed:
            gevent.spawn(self._write_end, line, call, end, self.now())
        else:
            self._heard.append(_Heard(time.monotonic() + GRACE, line, call, end, self.now()))

    def _settle_forever(self) -> None:
        while not self._draining:
            gevent.sleep(LOOK)
            try:
                self.settle(time.monotonic())
                self.recorder.settle(time.monotonic())
            except Exception:
                self._log.exception("the ends of calls could not be looked at")

    def settle(self, now: float) -> None:
        """Write the ends that their owners have had the time to write and have not.

        Every process hears every end: to claim each by itself would cost a process as much as a third of a call,
        for the calls of all the others.
        """
        due = []
        while self._heard and self._heard[0].due <= now:
            heard = self._heard.popleft()
            if heard.call not in self._ends and heard.call not in self.sessions:
                due.append(heard)
        told = self.board.told([heard.call for heard in due])
        for heard in due:
            if heard.call not in told:  # each on its own: Redis may be slow to answer
                gevent.spawn(self._write_end, heard.line, heard.call, heard.end, heard.at)

    def _write_end(self, line: Line, call: str, end: Mapping[str, Any], now: float) -> None:
        """Write the end of a call that nobody owned, unless somebody else has."""
        if call in self.sessions or call in self._ends:
            return
        try:
            state = decode(str(end["state"]))
        except StateError:
            state = None
        epoch = state.epoch if state else 0
        if self.board.claim_end(call, f"{epoch}:-1") is False:
            return
        company = state.company if state else str(end.get("company") or "")
        if state is not None:
            routing = self.published.version(state.company, state.version)
            facts = epilogue(routing, state, call, cause=end["cause"], answered=bool(end["answered"]), now=now)
        else:
            data = {"cause": end["cause"], "by": ended_by(end["cause"], "unowned"), "answered": bool(end["answered"])}
            facts = [m.Tell("call.ended", data)]
        if IN_QUEUE in state.progress if state is not None else self.queues.serves(company):
            self.queues.leave(company, call)
        at = round(now, 3)
        records = [
            self.fact(fact, company, call, epoch, index - len(facts), at, line.name) for index, fact in enumerate(facts)
        ]
        self.facts.write(records)
        self._log.info("a call ended that nobody owned", call=call, company=company, cause=end["cause"])
        line.end_legs_of(call)

    # ----------------------------------------------------------------------------------- reconciliation

    def _reconcile_forever(self) -> None:
        collect_at = time.monotonic() + COLLECT
        while not self._draining:
            gevent.sleep(RECONCILE)
            self.published.say_used()
            if time.monotonic() >= collect_at and len(self.sessions) < FEW_CALLS:
                collect_at = time.monotonic() + COLLECT
                gc.collect()
            for line in self._lines:
                self._reconcile_if_ours(line)

    def _reconcile_if_ours(self, line: Line, *, anew: bool = False) -> None:
        """Reconcile, if this process is the one that does for this switch; ``anew``: it was started again."""
        try:
            if not self.board.lease(_RECONCILER + line.name, self.name, RECONCILE * 2):
                return
            self._directory.tell(line)
            self.reconcile(line, anew=anew)
        except EslError as error:
            self._log.info("the switch could not be asked what lives", switch=line.name, error=str(error))
        except Exception:
            self._log.exception("reconciling failed", switch=line.name)

    def reconcile(self, line: Line, *, anew: bool = False) -> None:
        """Compare the calls that should live with those that do, and what queues have reserved.

        Both are done at the second look: a call that is gone gets its end; one that is parked, joined with nobody
        and closed to takeover (a joining that failed while its owner died) is sent back to a controller.
        """
        if not line.connected:
            return
        rows = json.loads(line.ask(wire.show_channels())).get("rows", [])
        alive = {str(row.get("uuid", "")) for row in rows}
        before = self._suspects.get(line.name, set())
        suspects: set[str] = set()
        now = self.now()
        for call, known in self.board.live_calls(line.name).items():
            if call in self.sessions or not _UUID.fullmatch(call):
                continue
            if call not in alive:
                if call in before:  # who heard its end has had the time to write it
                    end = {"state": "", "cause": "UNKNOWN", "answered": False, "company": known.get("company")}
                    self._write_end(line, call, end, now)
                else:
                    suspects.add(call)
                continue
            if line.ask(wire.getvar(call, "socket_resume")).strip() != "false":
                continue
            if not self._talks(line, call):
                suspects.add(call)
        for call in suspects & before & alive:
            self._log.warning("a caller was left parked: bringing the call back", call=call)
            line.ask(wire.transfer(call, RESUME_EXTENSION, CONTEXT))
        self._suspects[line.name] = suspects - before
        if forgotten := self._counts.reconcile(line.name, frozenset(alive)):
            self._log.warning("calls outside were still counted that are over", switch=line.name, calls=forgotten)
        self.queues.caretaker.reconcile(line, alive, certain=anew)

    def _talks(self, line: Line, call: str) -> bool:
        """Whether the leg that a call was joined with still lives."""
        try:
            state = decode(line.ask(wire.getvar(call, "cordboard_state")).strip())
        except StateError:
            return False
        if state.talk is None:
            return False
        leg = leg_id(call, state.talk[2], state.talk[0])
        return line.ask(wire.exists(leg)).strip() == "true"


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that the processes of one machine share; nobody is sent to it before it listens.  Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, stdlib_socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    return listener


def run_child(settings: Settings, beat: int | None) -> int:
    """Be one controller process until drained.  Returns the exit code (3: cannot start)."""
    controller = Controller(settings)
    try:
        listener = bound_socket(*settings.listen)
    except OSError as error:
        host, port = settings.listen
        print(f"cordboard: cannot listen on {host}:{port}: {error.strerror or error}", file=sys.stderr)
        return 3
    gevent.signal_handler(signal.SIGTERM, lambda: gevent.spawn(controller.drain))
    gevent.signal_handler(signal.SIGINT, lambda: gevent.spawn(controller.drain))
    gevent.signal_handler(signal.SIGHUP, lambda: gevent.spawn(controller.reload))
    gevent.signal_handler(signal.SIGUSR1, lambda: gevent.spawn(controller.follow))
    # A call leaves no cycles behind, and a full round over ten thousand that wait takes a second, in which none is
    # served and the supervisor takes us for hung: the old are collected when few calls live (_reconcile_forever).
    gc.set_threshold(700, 10, 1_000_000)
    controller.serve(listener, lambda: beat is not None and gevent.spawn(heartbeat, beat))
    return 0
