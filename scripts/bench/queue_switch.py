"""The real switch with mod_callcenter and Cordboard on it at once, and the same telephones for both, in turns.

What stands here of mod_callcenter's configuration is ours, and is written into the run's directory: a copy of the
configuration that we ship, with one more extension and one more file.  Both call the same three registered phones by
``user/…``, so what lies between them and a telephone is the same.

The surprise: mod_callcenter counts in whole seconds when an agent may be asked again, so what is measured of single
calls leaves it two seconds after each.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from callcontrol.embedded import EmbeddedRedis
from scripts.bench.contestants import free_port
from scripts.bench.outcome import BenchError
from scripts.bench.queue_phones import VOICES, Agent, Caller, Desk, Joinings, rush, singles
from scripts.bench.queue_seen import COMPANY, EXTENSIONS, MUSIC, NUMBER, ROUTING, Rush, Seen
from tests.switch import harness

#: The number that leads to each contestant's queue.
NUMBERS = {"mod_callcenter": "+442071230009", "Cordboard": NUMBER}

_EXTENSION = """
    <extension name="callcenter">
      <condition field="destination_number" expression="^\\{number}\\z">
        <action application="answer"/>
        <action application="callcenter" data="bench"/>
      </condition>
    </extension>
"""
_CALLCENTER = """\
<configuration name="callcenter.conf">
  <queues>
    <queue name="bench">
      <param name="strategy" value="longest-idle-agent"/>
      <param name="moh-sound" value="{music}"/>
      <param name="time-base-score" value="queue"/>
      <param name="max-wait-time" value="0"/>
      <param name="max-wait-time-with-no-agent" value="0"/>
      <param name="tier-rules-apply" value="false"/>
    </queue>
  </queues>
  <agents>
{agents}
  </agents>
  <tiers>
{tiers}
  </tiers>
</configuration>
"""
_AGENT = (
    '<agent name="{0}" type="callback" contact="user/{0}@{1}" status="Available" max-no-answer="0" wrap-up-time="0" '
    'reject-delay-time="1" busy-delay-time="1" no-answer-delay-time="1"/>'
)
_TIER = '<tier agent="{0}" queue="bench" level="1" position="1"/>'


def side_by_side(
    program: str,
    directory: Path,
    redis: EmbeddedRedis,
    sizes: Rush,
    say: Callable[[str], None],
    names: Sequence[str] = tuple(NUMBERS),
) -> dict[str, Seen]:
    """Both, in turns; what the telephones saw of each.  Raises BenchError, AssertionError of the harness, OSError."""
    found = {name: Seen() for name in names}
    with _switch(program, directory, redis) as switch, contextlib.ExitStack() as stack:
        desk, joinings = Desk(), Joinings()
        _follow(stack, desk, switch, joinings)
        agents = [Agent(desk, harness.PHONES, sizes.ring, sizes.talk) for _ in EXTENSIONS]
        callers = [
            Caller(desk, harness.CARRIER, (harness.CARRIER, switch.sip_port), voice)
            for voice in VOICES[: sizes.callers]
        ]
        for close in (*[agent.close for agent in agents], *[caller.close for caller in callers]):
            stack.callback(close)
        domain = f"{COMPANY}.{harness.DOMAIN}"
        for extension, agent in zip(EXTENSIONS, agents, strict=True):
            password = switch.password_of(extension, COMPANY)
            harness.register(switch, extension, password, agent.port, domain=domain).ended()
        # The first call of a switch takes it longer than any other: nobody's is counted.
        for name in names:
            singles(desk, agents, callers[0], NUMBERS[name], 1, sizes.pause, joinings)
        for turn in range(sizes.rounds):
            for name in names:
                number = NUMBERS[name]
                say(f"round {turn + 1} of {sizes.rounds}: {name}")
                for agent in agents:
                    agent.talk = sizes.short
                found[name].add(singles(desk, agents, callers[0], number, sizes.singles, sizes.pause, joinings))
                for agent in agents:
                    agent.talk = sizes.talk
                found[name].add(rush(desk, agents, callers, number, sizes.talks, joinings))
                desk.rest(sizes.pause)
    return found


def _follow(stack: contextlib.ExitStack, desk: Desk, switch: harness.Switch, joinings: Joinings) -> None:
    """Hear of joinings.  Both ends are told by the switch's own clock, which moves every 20 ms."""
    watch = switch.watch("CHANNEL_ANSWER", "CHANNEL_BRIDGE")
    stack.callback(watch.close)
    answered: dict[str, float] = {}

    def look() -> None:
        watch.catch_up()
        for event in watch.events:
            at = int(event["Event-Date-Timestamp"]) / 1e6
            if event.name == "CHANNEL_ANSWER":
                if event.get("Call-Direction") == "outbound":
                    answered[event.call] = at
                continue
            legs = [event.get(f"Bridge-{side}-Unique-ID", "") for side in "AB"]
            for since in [answered.pop(leg) for leg in legs if leg in answered]:
                for number in {event.get(f"{whose}-Caller-ID-Number", "") for whose in ("Caller", "Other-Leg")}:
                    joinings.said(number, at, at - since)
        watch.events.clear()

    desk.follow(watch, look)


@contextlib.contextmanager
def _switch(program: str, directory: Path, redis: EmbeddedRedis) -> Iterator[harness.Switch]:
    """A switch with mod_callcenter, and ``cordboard serve`` for it: both ready for calls."""
    conf, sounds, routing = directory / "conf", directory / "routing" / "sounds", directory / "routing"
    shutil.copytree(ROUTING, routing)
    harness.sound(sounds / COMPANY / MUSIC, 30.0)
    _configure(conf, sounds / COMPANY / MUSIC)
    certificates = directory / "certificates"
    certificates.mkdir()
    controller = free_port()
    switch = harness.Switch(
        harness.Installation(program, certificates),
        directory / "switch",
        f"127.0.0.1:{controller}",
        {"cordboard_calls_per_second": "1000", "cordboard_max_calls": "1000"},
        conf=conf,
    )
    try:
        with switch:
            switch.make_passwords(str(routing))
            with harness.Serve(switch, controller, redis.url, routing, processes=1):
                _load(switch)
                yield switch
    finally:
        switch.stop()


def _configure(conf: Path, music: Path) -> None:
    """What we ship, and mod_callcenter's besides."""
    shutil.copytree(harness.CONF, conf)
    dialplan = conf / "dialplan" / "cordboard.xml"
    text, context = dialplan.read_text(), '<context name="cordboard">'
    if text.count(context) != 1:
        raise BenchError(f"{dialplan} is not as the bench knows it")
    extension = _EXTENSION.format(number=NUMBERS["mod_callcenter"])
    dialplan.write_text(text.replace(context, context + extension))
    agents = "\n".join(_AGENT.format(one, f"{COMPANY}.{harness.DOMAIN}") for one in EXTENSIONS)
    tiers = "\n".join(map(_TIER.format, EXTENSIONS))
    (conf / "autoload_configs" / "callcenter.conf.xml").write_text(
        _CALLCENTER.format(music=music, agents=agents, tiers=tiers)
    )


def _load(switch: harness.Switch) -> None:
    watch = switch.watch()
    try:
        said = watch.api("load mod_callcenter")
        if "+OK" not in said:
            raise BenchError(f"this switch has no mod_callcenter: {said.strip()}")
        listed = watch.api("callcenter_config agent list")
        if listed.count("Available") != len(EXTENSIONS):
            raise BenchError(f"mod_callcenter does not know its agents: {listed}")
    finally:
        watch.close()
