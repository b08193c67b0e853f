"""``make demo``: calls through routing/ on a stand-in switch, each told as people would tell it, and a queue hour.

The server is the real one, started with ``cordboard serve``; the switch speaks real Event Socket bytes to it
over TCP.  At the end it is told what the calls left behind: recordings in a store, webhooks at a subscriber, mail, the
journal.  Exit code 0 only if everything ended as it should; nothing is left running unless ``KEEP=1``.
The example company has no codes for agents: what they dial is shown by the company of the hour.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent

from callcontrol.wire import Tone
from freeswitch.simulator import Answers, Behaviour, Busy, Caller, NeverAnswers, Rejects, Ring, Unregistered
from scripts import aftermath, queue_hour, subscriber
from scripts.rig import Rig, RigError
from scripts.run import write_env

NUMBER = "+74951234567"
HOTLINE = "+78005550101"
SOMEBODY = "+79031234567"
#: Tones in a caller's words.
SOUNDS = {
    Tone.RINGBACK.value: "the ringing tone",
    Tone.RECORD_BEEP.value: "the beep",
    Tone.APOLOGY.value: "the apology",
}
#: Results of a leg in a person's words, where the word alone says too little.
RESULTS = {"lost": "stops ringing, another was faster", "unreachable": "cannot be reached"}
VIP = "+79160000001"
#: Anna's mobile, and Chiara's second telephone.
MOBILE = "+79161112233"
ITALY = "+390612345678"


class Wrong(Exception):
    """A story did not end as it should."""


def expect(holds: object, what: str) -> None:
    """Raise Wrong unless it holds."""
    if not holds:
        raise Wrong(what)


@dataclass
class Story:
    """One story: a title, what people do, what must have become of it."""

    title: str
    play: Callable[[Stage], None]
    callers: list[Caller] = field(default_factory=list)
    trouble: str = ""


class Stage:
    """Where a story is played: the rig, and the callers of the story that is on."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.switch = rig.switch
        self.callers: list[Caller] = []
        self.stream = queue_hour.Stream(rig.redis_url)

    def call(self, from_: str, to: str = NUMBER, name: str = "") -> Caller:
        caller = self.switch.call(from_, to, name=name)
        self.callers.append(caller)
        return caller

    def dials(self, extension: str, to: str, company: str = "acme") -> Caller:
        """A telephone of the company calls; it is known by its password, not by the number that it says."""
        caller = self.switch.call(extension, to, company=company, extension=extension)
        self.callers.append(caller)
        return caller

    def phones(self, **behaviours: Any) -> None:
        """``p302=Busy()``; everybody who is not named does not answer."""
        for extension in ("301", "302", "303"):
            self.switch.phone(extension, behaviours.get(f"p{extension}", NeverAnswers()))
        self.switch.outside(MOBILE, behaviours.get("mobile", NeverAnswers()))
        self.switch.outside(ITALY, NeverAnswers())

    def told(self, caller: Caller, kind: str) -> dict[str, Any]:
        return dict(self.rig.wait_fact(caller.uuid, kind, 15)["data"])

    def ringing(self) -> list[str]:
        """The telephones that ring."""
        return [extension for (extension, _), phone in self.switch.phones.items() if phone.ringing]

    def agent(self, extension: str, state: str) -> dict[str, Any]:
        """Wait until an agent is in this state; what is told of that.  Facts of agents are in the stream only."""

        def newest() -> dict[str, Any]:
            self.stream.read()
            theirs = [fact["data"] for fact in self.stream.of_agents if fact["data"]["agent"] == extension]
            return theirs[-1] if theirs else {}

        self.rig.until(lambda: newest().get("state") == state, 10, f"{extension} to be {state}")
        return newest()

    def path(self, caller: Caller) -> list[str]:
        return [f["data"]["step"] for f in self.rig.facts(caller.uuid, "step.entered")]

    def ended(self, caller: Caller, timeout: float = 30) -> None:
        caller.wait("ended", timeout)
        self.told(caller, "call.ended")


def presses(stage: Stage, key: str, from_: str = SOMEBODY) -> Caller:
    """Somebody who is greeted and presses a key."""
    caller = stage.call(from_)
    caller.wait("heard:speech", 10)
    caller.press(key)
    return caller


def vip(stage: Stage) -> None:
    stage.phones(p301=Answers(0.5, talk=3.0), p302=Answers(0.5, talk=60.0), p303=Answers(0.5, talk=60.0))
    others = [presses(stage, "1", f"+7903000000{n}") for n in (1, 2, 3)]
    for other in others:
        other.wait("talking", 20)
    earlier = presses(stage, "1")
    stage.told(earlier, "queue.joined")
    caller = stage.call(VIP)
    stage.told(caller, "queue.joined")
    caller.wait(lambda c: bool(c.heard), 10)  # nothing is said to a VIP: this is the music
    caller.wait("talking", 30)
    expect(earlier.state == "answered", "who came earlier still waits")
    for other in (earlier, *others, caller):
        other.hangup()
        stage.ended(other)
    expect(stage.path(caller) == ["gate", "vip"], "a VIP goes to the queue at once")
    expect(stage.told(caller, "queue.joined")["priority"] == 10, "and goes first there")
    expect(stage.told(earlier, "queue.abandoned"), "the other one gave up")


def leaves_while_it_rings(stage: Stage) -> None:
    stage.phones()
    caller = presses(stage, "1")
    stage.switch.wait(lambda: bool(stage.ringing()), 20)
    agent = stage.told(caller, "queue.offered")["agent"]
    stage.switch.sleep(0.5)
    caller.hangup()
    stage.switch.wait(lambda: not stage.ringing(), 10)
    stage.ended(caller)
    stage.told(caller, "queue.abandoned")
    stage.agent(agent, "available")
    expect(not stage.rig.facts(caller.uuid, "queue.missed"), "it was not the agent's doing")


def declines(stage: Stage) -> None:
    first: list[Behaviour] = [Rejects(0.6)]

    def decide(ring: Ring) -> Behaviour:
        return first.pop() if first else Answers(0.6, talk=1.5)

    stage.phones(p301=decide, p302=decide)
    caller = presses(stage, "1")
    caller.wait("talking", 30)
    stage.ended(caller)
    missed, answered = stage.told(caller, "queue.missed"), stage.told(caller, "queue.answered")
    expect(missed["result"] == "declined", f"the first declines, not {missed['result']}")
    expect(missed["agent"] != answered["agent"], "another answers")


def by_code(stage: Stage) -> None:
    """At the company of the hour.  Whoever has been free longest is asked first, and that is Alma."""
    for extension in queue_hour.NAMES:
        stage.switch.phone(extension, Answers(0.4, talk=1.0), domain=queue_hour.DOMAIN)
    alma = stage.dials("401", "*43", queue_hour.COMPANY)
    stage.ended(alma)
    told = stage.agent("401", "paused")
    expect(told.get("reason") == "lunch", f"Alma is at lunch, not {told}")
    caller = stage.call(SOMEBODY, queue_hour.NUMBER)
    caller.wait("talking", 15)
    stage.ended(caller)
    answered = stage.told(caller, "queue.answered")["agent"]
    expect(answered == "402", f"Bruno is asked, who comes after Alma, not {answered}")
    alma = stage.dials("401", "*44", queue_hour.COMPANY)
    stage.ended(alma)
    stage.agent("401", "available")


def menu(stage: Stage) -> None:
    stage.phones(p302=Answers(after=0.8, talk=1.5))
    caller = stage.call(SOMEBODY)
    caller.wait("heard:speech", 10)
    caller.press("2")
    caller.wait("talking", 15)
    stage.ended(caller)
    expect(stage.told(caller, "talk.started")["with"] == "302", "302 answers in service")
    expect(stage.told(caller, "call.ended")["cause"] == "NORMAL_CLEARING", "the call ends after the talk")


def wrong_keys(stage: Stage) -> None:
    stage.phones(p301=Answers(after=0.5, talk=1.0))
    caller = stage.call(SOMEBODY)
    for tries in (1, 2, 3):
        caller.wait(lambda c, n=tries: len(c.heard) >= n, 10)  # type: ignore[misc]
        caller.press("7")
    caller.wait("talking", 15)
    stage.ended(caller)
    expect(stage.told(caller, "talk.started")["with"] == "301", "wrong keys end at Anna")


def busy_then_next(stage: Stage) -> None:
    stage.phones(p302=Busy(), p303=Answers(after=1.2, talk=1.0))
    caller = stage.call(SOMEBODY)
    caller.wait("heard:speech", 10)
    caller.press("2")
    caller.wait("talking", 15)
    stage.ended(caller)
    results = {f["data"]["address"]: f["data"]["result"] for f in stage.rig.facts(caller.uuid, "leg.result")}
    expect((results["302"], results["303"]) == ("busy", "answered"), f"302 is busy and 303 answers, not {results}")


def extension(stage: Stage) -> None:
    stage.phones(p303=Answers(after=0.5, talk=1.0), p302=Unregistered())
    caller = stage.call(SOMEBODY)
    caller.wait("heard:speech", 10)
    caller.press("303", gap=0.15)
    caller.wait("talking", 15)
    stage.ended(caller)
    expect(stage.told(caller, "talk.started")["with"] == "303", "303 was dialled and answers")


def to_the_mobile(stage: Stage) -> None:
    stage.phones(p301=Unregistered(), mobile=Answers(after=1.0, presses="1", waits=2.0, talk=1.5))
    caller = stage.call(SOMEBODY)
    caller.wait("heard:speech", 10)
    caller.press("301", gap=0.15)
    caller.wait("talking", 20)
    stage.ended(caller)
    expect(stage.told(caller, "call.forwarded")["to"] == "mobile", "Anna's calls go to her mobile")
    expect(stage.told(caller, "talk.ended")["with"] == MOBILE, "she takes the call there, by pressing 1")


def mailbox(stage: Stage) -> None:
    stage.phones(p302=Busy())
    caller = stage.call(SOMEBODY)
    caller.wait("heard:speech", 10)
    caller.press("302", gap=0.15)
    caller.wait(lambda c: bool(c.recordings), 20)
    stage.switch.sleep(1.5)
    caller.press("#")
    stage.ended(caller)
    expect(stage.told(caller, "message.recorded")["for"] == ["302"], "the message is for Boris")


def colleague(stage: Stage) -> None:
    stage.phones(p303=Answers(after=0.8, talk=1.5))
    caller = stage.dials("302", "303")
    caller.wait("talking", 15)
    stage.ended(caller)
    began = stage.told(caller, "call.started")
    expect((began["from"], began["to"]) == ("302", "303"), "Boris calls Chiara")


def out(stage: Stage) -> None:
    stage.phones(mobile=Answers(after=0.8, talk=1.5))
    caller = stage.dials("302", "89161112233")
    caller.wait("talking", 15)
    stage.ended(caller)
    rings = [entry for entry in stage.switch.outside(MOBILE).history if entry.what == "rings"]
    expect(rings[-1].detail == NUMBER, "the company's number is shown")


def refused(stage: Stage) -> None:
    stage.phones()
    caller = stage.dials("302", "+12644971234")
    stage.ended(caller)
    expect("AI" in stage.told(caller, "call.refused")["why"], "Anguilla is not allowed")
    expect(not stage.rig.facts(caller.uuid, "leg.rung"), "nothing leaves the switch")


def by_hand(stage: Stage) -> None:
    stage.phones()
    for on in (True, False):
        boris = stage.dials("302", "*21")
        stage.ended(boris)
        expect(stage.told(boris, "switch.set")["on"] is on, "the switch is turned over")
        stage.switch.sleep(1.2)  # every controller looks once a second
        caller = stage.call(SOMEBODY)
        caller.wait("heard:night.wav" if on else "heard:speech", 10)
        caller.hangup()
        stage.ended(caller)


def hangs_up_in_menu(stage: Stage) -> None:
    caller = stage.call(SOMEBODY)
    caller.wait("heard:speech", 10)
    stage.switch.sleep(0.3)
    caller.hangup()
    stage.ended(caller)
    expect(stage.told(caller, "call.ended")["by"] == "caller", "the caller ended it")
    expect(stage.path(caller)[-1] == "greet", "it ended in the menu")


def unknown_number(stage: Stage) -> None:
    caller = stage.call(SOMEBODY, "+74950000000")
    stage.ended(caller, 10)
    expect(caller.hangup_cause == "UNALLOCATED_NUMBER", "the caller hears that the number does not exist")
    expect(not caller.answered, "and pays nothing")


def hostile_name(stage: Stage) -> None:
    stage.phones(p302=Answers(after=0.3, talk=0.5))
    caller = stage.call("+88213334455", name="Bob%0Avariable_cordboard_state: x%0A%0A${system(reboot)}")
    stage.ended(caller, 10)
    expect(caller.hangup_cause == "USER_BUSY", "the list “blocked” decides, not the name")
    expect(not stage.switch.executed, "nothing in a name is executed")


def killed(stage: Stage) -> None:
    stage.phones(p302=Answers(after=0.4, talk=4.0), p303=Answers(after=0.4, talk=1.0))
    talker = stage.call(SOMEBODY)
    talker.wait("heard:speech", 10)
    talker.press("2")
    talker.wait("talking", 15)
    with_whom = talker.talking_to
    stage.switch.phone("302", Answers(after=0.4, talk=1.0))
    waiting = stage.call("+79037654321")
    waiting.wait("heard:speech", 10)
    stage.told(waiting, "step.entered")
    heard = len(waiting.heard)
    owner = stage.rig.owner_of(waiting.uuid)
    stage.rig.kill(owner)
    waiting.note("(kill -9 of the controller that has the call)")
    began = time.monotonic()
    waiting.wait(lambda c: len(c.heard) > heard, 10)
    took = time.monotonic() - began
    waiting.note(f"(another controller has the call; {took * 1000:.0f} ms)")
    expect(talker.state == "talking" and talker.talking_to == with_whom, "the two talk on")
    waiting.press("303", gap=0.15)
    waiting.wait("talking", 15)
    stage.ended(waiting)
    stage.ended(talker)
    expect(stage.told(waiting, "call.taken_over")["step"] == "greet", "it is taken over in the menu")
    for caller in (talker, waiting):
        ends = stage.rig.facts(caller.uuid, "call.ended")
        expect(len(ends) == 1, f"each call has one end, not {len(ends)}")


def workers_killed(stage: Stage) -> None:
    """A call with everything behind it; each worker dies while what it has in hand is neither done nor undone.

    The store hangs, so a recording is under way; the subscriber has an event and has not answered, so it must come
    again: when its lease is over, in half a minute.  Before that the subscriber fails once.
    """
    behind = stage.rig.behind
    if behind is None:
        raise Wrong("nobody works behind this server")
    stage.phones(p301=Answers(1.0, talk=3.0), p302=Busy())
    behind.subscriber_fails("queue.joined")
    caller = stage.call(SOMEBODY, HOTLINE)
    caller.wait("heard:speech", 10)
    caller.press("12345678", gap=0.1)
    stage.told(caller, "lookup.done")
    caller.wait("talking", 30)

    def in_hand() -> bool:
        events = [one["type"] for one in subscriber.read(behind.subscriber) if one["call"] == caller.uuid]
        return "call.ended" in events and any(stage.rig.spool.glob(f"*{caller.uuid}*.json"))

    with behind.store_hangs(), behind.subscriber_holds("call.ended"):
        stage.ended(caller)
        stage.rig.until(in_hand, 18, "the recording and the end of the call to be under way")
        roles = [role for role in behind.workers() if role.startswith(("delivery-", "recordings-"))]
        killed = {behind.kill(role) for role in roles}
        caller.note("(kill -9 of those that upload and deliver: the store hangs, a webhook is not answered yet)")
    began = time.monotonic()
    stage.rig.until(
        lambda: {*roles} <= {*behind.workers()} and not killed & {*behind.workers().values()}, 10, "others to be there"
    )
    caller.note(f"(others are there; {(time.monotonic() - began) * 1000:.0f} ms)")
    expect("vip" in stage.path(caller), "the fallback of the lookup is taken")
    expect(stage.told(caller, "queue.answered")["queue"] == "sales", "and somebody in sales answers")


def after_hours(stage: Stage) -> None:
    stage.phones()
    caller = stage.call(SOMEBODY)
    caller.wait("heard:night.wav", 10)
    caller.wait(lambda c: bool(c.recordings), 20)
    stage.switch.sleep(1.5)
    caller.press("#")
    message(stage, caller)
    stage.ended(caller)
    expect(
        stage.path(caller) == ["gate", "clock", "night", "message"] or "night" in stage.path(caller),
        "it is night",
    )


def message(stage: Stage, caller: Caller) -> None:
    fact = stage.told(caller, "message.recorded")
    expect(fact["for"] == ["301", "302"], "the message is for Anna and Boris")
    lengths = [fact["seconds"]]
    # Where workers are, it may be in the store already.
    with contextlib.suppress(FileNotFoundError), wave.open(str(stage.rig.spool / fact["files"][0])) as sound:
        lengths.append(sound.getnframes() / sound.getframerate())
    expect(min(lengths) > 1, f"the message lasts longer than a second, not {lengths}")


DAY = [
    Story("Sales is busy: a VIP waits with music, and is served before one who came earlier", vip),
    Story("A caller gives up while an agent's telephone rings", leaves_while_it_rings),
    Story("An agent declines, so the next one is rung", declines),
    Story("Somebody presses 2 for service", menu),
    Story("Wrong keys end at Anna", wrong_keys),
    Story("One is busy, the next answers", busy_then_next),
    Story("An extension is dialled in the menu", extension),
    Story("Anna's desk is empty: her mobile, and it must press 1", to_the_mobile),
    Story("Boris is busy: his voicemail", mailbox),
    Story("Boris calls Chiara from his desk", colleague),
    Story("Boris calls a mobile: out by the carrier, with the company's number", out),
    Story("Boris calls the Caribbean: refused, and told why", refused),
    Story("*21 from a telephone: night at noon, and day again", by_hand),
    Story("A caller hangs up in the middle of the menu", hangs_up_in_menu),
    Story("A number that nobody owns", unknown_number),
    Story("A hostile caller name", hostile_name),
    Story("A controller is killed while one is in a menu and two talk", killed),
]
NIGHT = [Story("After hours: a message", after_hours)]
TODAY = [
    Story("The CRM cannot be reached, sales answers; then workers die with the call's traces in hand", workers_killed)
]
DESK = [Story("Alma goes to lunch by *43 and comes back by *44", by_code)]


def main() -> int:
    """Play every story and tell it.  Returns the exit code."""
    keep = os.environ.get("KEEP", "") not in ("", "0")
    began = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="cordboard-demo-"))
    print("Cordboard demo: the real server and workers, a stand-in switch, Redis, S3, SMTP; all on loopback.")
    print("First everything that the example company says is spoken into files: some ten seconds.\n", flush=True)
    rig = Rig(directory, behind=True)
    hour = Rig(directory / "hour", routing=queue_hour.ROUTING, clock=None)
    stories = [*DAY, *NIGHT, *TODAY, *DESK]
    try:
        rig.start()
        if rig.behind is not None:
            rig.behind.subscribe("acme")
        print("── Monday 2026-11-23, 10:00 in Moscow ──\n")
        tell(rig, stories, DAY)
        rig.restart_server("2026-11-23 23:10")
        print("── Monday 2026-11-23, 23:10 in Moscow ──\n")
        tell(rig, stories, NIGHT)
        rig.restart_server(None)
        print("── Now, by this machine's own clock: the hotline is open day and night ──\n")
        tell(rig, stories, TODAY)
        hour.start()
        print("── Another company: a help desk with eight agents ──\n")
        tell(hour, stories, DESK)
        print("── An hour at the help desk in fast time: a second stands for a minute ──\n", flush=True)
        account = queue_hour.Play(hour, queue_hour.Hour(), say).run()
        held = queue_hour.tell(account, say)
        print("\n── What the calls of the first company left behind ──\n", flush=True)
        trouble = aftermath.tell(rig, "acme", told_of(stories), say)
        print(f"   {'✗ ' + trouble if trouble else '✓ as it should be'}", flush=True)
        good = sum(not story.trouble for story in stories)
        calls = sum(len(story.callers) for story in stories) + len(account.journeys)
        facts = len(rig.facts()) + len(hour.facts())
        print(f"\n{good} of {len(stories)} stories ended as they should, ", end="")
        print(f"the queue hour {'too' if held else 'did not'}: {calls} calls, {facts} facts, ", end="")
        print(f"{time.monotonic() - began:.0f} s.")
        hour.stop()
        if keep:
            print(kept(rig))
            while True:
                gevent.sleep(3600)
        return 0 if held and not trouble and good == len(stories) else 1
    except KeyboardInterrupt:
        print("\nStopped.")
        return 130
    except RigError as error:
        print(f"The demo could not be played: {error}", file=sys.stderr)
        return 1
    finally:
        try:
            hour.stop()
        finally:
            rig.stop()
        if not keep:
            remove(directory)


def told_of(stories: list[Story]) -> str:
    """The call whose journey is printed: the one with everything behind it."""
    return next(story for story in stories if story.play is workers_killed).callers[0].uuid


def kept(rig: Rig) -> str:
    """What stays up, and how it is asked."""
    env = rig.directory / "env"
    write_env(env, {name: value for name, value in rig.environment().items() if name.startswith("CORDBOARD_")})
    return (
        f"\nKept up: server at 127.0.0.1:{rig.port}, files in {rig.directory}. Ctrl-C ends it; the files stay.\n"
        f"Ask it: . {env} && cordboard calls"
    )


def say(line: str) -> None:
    print(line, flush=True)


def tell(rig: Rig, all_: list[Story], stories: list[Story]) -> None:
    """Play these stories of all."""
    for story in stories:
        play(rig, all_.index(story) + 1, story)


def play(rig: Rig, number: int, story: Story) -> None:
    """Play one story and print it."""
    stage = Stage(rig)
    story.callers = stage.callers
    began = rig.switch.clock()
    try:
        story.play(stage)
    except (Wrong, TimeoutError, RigError) as error:
        story.trouble = str(error)
    for caller in stage.callers:
        if caller.state != "ended":
            caller.hangup()
    print(f"{number}. {story.title}")
    several = len(stage.callers) > 1
    for at, who, line in told(rig, stage.callers):
        print(f"   {max(0.0, at - began):5.1f} s  {who + ': ' if several else ''}{line}")
    print(f"   {'✗ ' + story.trouble if story.trouble else '✓ as it should be'}\n", flush=True)


def told(rig: Rig, callers: list[Caller]) -> list[tuple[float, str, str]]:
    """The journey of these callers, line by line, by time: what they noticed and what Cordboard did."""
    lines: list[tuple[float, str, str]] = []
    for caller in callers:
        sounds = iter(caller.heard)
        pressed = False
        for entry in caller.journal:
            detail = entry.detail
            if entry.what == "hears" and detail:
                detail = SOUNDS.get(next(sounds), detail)
            if entry.what == "is recorded":
                detail = ""  # the name of the file says nothing to people
            if entry.what == "presses" and pressed:  # one key after the other is one thing to do
                at, who, line = lines[-1]
                lines[-1] = (at, who, line + detail)
                continue
            pressed = entry.what == "presses"
            lines.append((entry.at, caller.from_, f"{entry.what} {detail}".rstrip()))
        for fact in rig.facts(caller.uuid):
            line = of_fact(fact)
            if line:
                lines.append((rig.switch_time(fact["at"]), caller.from_, f"    {line}"))
    return sorted(lines, key=lambda entry: entry[0])


def of_fact(fact: dict[str, Any]) -> str:
    """A fact in words, or nothing for one that the caller's own story tells."""
    data = fact["data"]
    where = f"{data.get('flow')}/{data.get('step')}"
    words = {
        "step.left": lambda: f"{where}: {data.get('why') or data['outcome']}",
        "call.taken_over": lambda: f"{'back from the talk' if data['after'] == 'talk' else 'taken over'} at {where}",
        "leg.rung": lambda: f"{data['address']} rings",
        "leg.result": lambda: f"{data['address']}: {RESULTS.get(data['result'], data['result'].replace('_', ' '))}",
        "call.forwarded": lambda: f"{data['person']} forwards to {data['to']} ({data['rule'].replace('_', ' ')})",
        "call.refused": lambda: f"refused: {data['why']}",
        "switch.set": lambda: f"{data['switch']} is {'on' if data['on'] else 'off'} now, by {data['by']}",
        "lookup.done": lambda: (
            f"the lookup at {data['host']}: {data['outcome'].replace('_', ' ')}, {data.get('why', '')}"
        ),
        "talk.ended": lambda: f"the talk with {data['with']} is over after {data['seconds']} s",
        "message.recorded": lambda: f"a message of {data['seconds'] or 0:.1f} s for {' and '.join(data['for'])}",
        "queue.joined": lambda: f"waits in the queue {data['queue']}{_priority(data)}",
        "queue.offered": lambda: f"the queue offers the call to {data['agent']}",
        "queue.withdrawn": lambda: f"the offer to {data['agent']} is taken back",
        "queue.answered": lambda: f"{data['agent']} takes the call, after {data['waited']} s",
        "queue.abandoned": lambda: f"gave up waiting after {data['waited']} s",
        "call.ended": lambda: f"the end: {data['cause']} by {data['by']}",
    }
    tell = words.get(fact["type"])
    return tell() if tell else ""


def _priority(data: dict[str, Any]) -> str:
    return f", with priority {data['priority']}" if data.get("priority") else ""


def remove(directory: Path) -> None:
    """Remove what the demo wrote."""
    import shutil

    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
