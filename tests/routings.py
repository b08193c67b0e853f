"""Whole companies at random: files that ``check`` mostly passes, with every verb, section and option in them.

A step that gives the caller no time leads only forward, so that few files spin; the rest is as wild as it comes.  What
``check`` refuses all the same is thrown away by whoever draws it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from hypothesis import strategies as st

NUMBERS = ("+74951234567", "+78005550101")
PEOPLE = ("301", "302", "303", "304", "3051")
CODES = ("*55", "*21", "*41", "*42", "*43", "*44")
OUTSIDE = ("+79161112233", "+442071234567")
FLOWS = ("main", "hotline", "after", "survey", "inner")
#: Flows that others run and that come back.
INNER = ("survey", "inner")
VERBS = ("caller", "hours", "menu", "collect", "set", "lookup", "dial", "queue", "play", "voicemail", "flow", "hangup")
#: Verbs whose steps take no time: their edges lead forward.
HASTY = ("caller", "hours", "set", "flow", "lookup")
TEXTS = (
    "Hello.",
    '"You called {called}."',
    "{en: Press a key., ru: Нажмите клавишу.}",
    "night.wav",
    '"Your number is {caller}."',
    '"Welcome to {brand}."',
)


class _Company:
    """One company being written."""

    def __init__(self, choose: random.Random) -> None:
        self.r = choose
        self.steps = {flow: [f"{flow[0]}{n}" for n in range(choose.randint(1, 6))] for flow in FLOWS}

    def some(self, chance: float, text: str) -> str:
        return text if self.r.random() < chance else ""

    def one(self, *of: str) -> str:
        return self.r.choice(of)

    def few(self, of: Sequence[str], least: int = 1, most: int = 3) -> list[str]:
        return self.r.sample(list(of), min(len(of), self.r.randint(least, most)))

    def text(self) -> str:
        return self.one(*TEXTS)

    # --------------------------------------------------------------------------------------------- sections

    def file(self) -> str:
        r = self.r
        return "\n".join(
            [
                "cordboard: 1",
                "company: Random",
                "country: RU",
                "timezone: Europe/Moscow",
                "languages: [en, ru]",
                "numbers:",
                *(
                    f'  "{number}": {{flow: {flow}, set: {{brand: Acme, x: "{self.one("301", "303", OUTSIDE[0])}"'
                    f"{self.some(0.3, ', language: ru')}}}{self.some(0.3, ', record: always')}}}"
                    for number, flow in zip(NUMBERS, ("main", "hotline"), strict=True)
                ),
                "people:",
                *(self.person(extension) for extension in PEOPLE),
                "groups:",
                f"  team: [{', '.join(self.few(PEOPLE))}]",
                f"  oncall: {{members: [{', '.join(self.few(PEOPLE))}], rotate: {self.one('daily', 'weekly')}, "
                "from: 2026-11-23 09:00}",
                "lists:",
                '  vip: ["+79160000001", "+7812*"]',
                '  blocked: ["+882*", anonymous]',
                "hours:",
                "  office: {mon-fri: [09:00-13:00, 14:00-18:00], sat: 22:00-06:00, holidays: closed}",
                "  feast: {2026-12-31..2027-01-08: all day}",
                '  shut: {switch: "*21"}',
                *self.queues(),
                'agents: {log_in: "*41", log_out: "*42", pause: {lunch: "*43"}, resume: "*44"}',
                *self.outbound(),
                *([f"recording: {{record: {self.one('always', 'inbound', 'on demand')}"
                   f"{self.some(0.7, ', announce: We record.')}}}"] if r.random() < 0.5 else []),
                "flows:",
                *(line for flow in FLOWS for line in self.flow(flow)),
                "",
            ]
        )  # fmt: skip

    def person(self, extension: str) -> str:
        rules = []
        others = [one for one in PEOPLE if one != extension]
        for when in self.few(("always", "busy", "no_answer", "unreachable", "otherwise"), 0, 3):
            to = self.one(*others, "mobile", "voicemail")
            if when == "always" and to in others:
                to = "voicemail"
            rules.append(f"{when}: {{after: 8s, to: {to}}}" if when == "no_answer" else f"{when}: {to}")
        return (
            f'  {extension}: {{name: N{extension}, mobile: "{self.one(*OUTSIDE)}"'
            + self.some(0.5, f", forward: {{{', '.join(rules)}}}" if rules else "")
            + self.some(0.3, f', phones: ["{self.one(*OUTSIDE)}"]')
            + self.some(0.2, ", whisper: A call.")
            + self.some(0.2, f", record: {self.one('always', 'never', 'outbound')}")
            + self.some(0.2, ", confirm: false")
            + self.some(0.2, ", language: ru")
            + "}"
        )

    def queues(self) -> list[str]:
        found = ["queues:"]
        for name in ("sales", "help"):
            agents = [
                self.one(agent, f"{{agent: {agent}, level: {self.one('1', '2', '3')}}}") for agent in self.few(PEOPLE)
            ]
            strategies = ("longest-idle", "round-robin", "ring-all", "in-order", "random", "fewest-calls")
            found.append(
                f"  {name}: {{agents: [{', '.join(agents)}], strategy: {self.one(*strategies)}"
                + self.some(0.5, f", ring: {self.one('5s', '15s', '2m')}")
                + self.some(0.3, ", wrap_up: 10s")
                + self.some(0.3, ", delays: {declined: 0s, busy: 0s, no_answer: 0s, unreachable: 1s}")
                + self.some(0.3, ", pause_after: 1")
                + self.some(0.3, ", levels: {2: 20s}")
                + self.some(0.3, ", music: night.wav")
                + self.some(0.5, f", announce: {self.announce()}")
                + self.some(0.2, ", whisper: From the queue.")
                + self.some(0.5, f", max_wait: {self.one('5s', '90s', '10m')}")
                + self.some(0.4, ", max_callers: 2")
                + self.some(0.4, f", unstaffed: {self.one('5s', '2m')}")
                + self.some(0.3, f", keys: {{{self.one('1', 'star')}: {self.one('left', *FLOWS[:3], 'hangup')}}}")
                + self.some(0.2, ", record: always")
                + "}"
            )
        return found

    def announce(self) -> str:
        one = f"{{every: {self.one('10s', '45s')}, say: {self.one('Wait.', chr(34) + 'Place {position}.' + chr(34))}}}"
        return self.one(one, f"[{one}, {{every: 25s, say: night.wav}}]")

    def outbound(self) -> list[str]:
        if self.r.random() < 0.3:
            return []
        return ['outbound: {trunk: [a, b], allow: [RU, GB], emergency: ["112"], max_calls: 5}']

    # ------------------------------------------------------------------------------------------------- flows

    def flow(self, flow: str) -> list[str]:
        found = [f"  {flow}:"]
        if flow == "after":
            found.append('    code: "*55"')
        if self.r.random() < 0.2:
            found.append("    on_error: hangup")
        steps = self.steps[flow]
        for index, name in enumerate(steps):
            found.append(f"    {name}: {{{self.step(flow, index)}}}")
        return found

    def edge(self, flow: str, index: int, *, hasty: bool) -> str:
        """Where something leads: anywhere, or only forward."""
        later = self.steps[flow][index + 1 :]
        ends = ["hangup", *(["return"] if flow in INNER else [])]
        if hasty:
            higher = FLOWS[FLOWS.index(flow) + 1 : 3] if flow not in INNER else ()
            return self.one(*later, *later, *higher, *ends)
        others = [f"{other}/{step}" for other in FLOWS[:3] for step in self.steps[other]] if flow not in INNER else []
        return self.one(*self.steps[flow], *self.steps[flow], *self.few(others, 0, 2), *ends)

    def step(self, flow: str, index: int) -> str:
        verbs = [verb for verb in VERBS if verb != "flow" or flow != "inner"]
        verb = self.one(*verbs, "menu", "queue", "dial")
        body: Callable[[str, int], str] = getattr(self, f"_{verb}")
        text = body(flow, index)
        return text + self.some(0.1, ", on_error: hangup") + self.some(0.1, ", title: A step")

    def _fork(self, key: str, items: Sequence[str], flow: str, index: int) -> str:
        ways = ", ".join(f"{item}: {self.edge(flow, index, hasty=True)}" for item in items)
        return f"{key}: {{{ways}}}, otherwise: {self.edge(flow, index, hasty=True)}"

    def _caller(self, flow: str, index: int) -> str:
        return self._fork("caller", self.few(("vip", "blocked")), flow, index)

    def _hours(self, flow: str, index: int) -> str:
        return self._fork("hours", self.few(("office", "feast", "shut")), flow, index)

    def _menu(self, flow: str, index: int) -> str:
        keys = ", ".join(
            f"{key}: {self.edge(flow, index, hasty=False)}" for key in self.few(("1", "2", "7", "star", "hash", "3"))
        )
        dialled = self.some(0.4, f", extensions: [{', '.join(self.few(('team', *PEOPLE)))}]")
        then = self.some(0.5, f", then: {self.edge(flow, index, hasty=False)}") if dialled else ""
        return (
            f"menu: {self.text()}, keys: {{{keys}}}{dialled}{then}, tries: {self.r.randint(1, 3)}, "
            f"wait: {self.one('1s', '5s', '60s')}, otherwise: {self.edge(flow, index, hasty=False)}"
        )

    def _collect(self, flow: str, index: int) -> str:
        return (
            f"collect: {self.text()}, digits: {self.one('4', '2-8', '3')}, into: x, tries: {self.r.randint(1, 3)}, "
            f"then: {self.edge(flow, index, hasty=False)}, otherwise: {self.edge(flow, index, hasty=False)}"
        )

    def _set(self, flow: str, index: int) -> str:
        values = self.one("{x: '301'}", "{language: ru}", '{x: "+79161112233"}', "{brand: Other}").replace("'", '"')
        return f"set: {values}, then: {self.edge(flow, index, hasty=True)}"

    def _lookup(self, flow: str, index: int) -> str:
        return (
            f'lookup: "https://crm.test/{{caller}}", into: [x], wait: 2s, then: {self.edge(flow, index, hasty=True)}, '
            f"otherwise: {self.edge(flow, index, hasty=True)}"
        )

    def _dial(self, flow: str, index: int) -> str:
        one = self.one(*PEOPLE, "team", "oncall", '"{x}"', f'"{OUTSIDE[0]}"')
        stages = ", ".join(
            f"{{to: {self.one('team', 'oncall', *PEOPLE)}, ring: {self.one('5s', '20s')}"
            f"{self.some(0.3, ', strategy: in-order')}}}"
            for _ in range(self.r.randint(1, 3))
        )
        target = f"dial: {one}, ring: {self.one('5s', '20s', '60s')}" if self.r.random() < 0.6 else f"dial: [{stages}]"
        own = self.some(0.4, f", busy: {self.edge(flow, index, hasty=False)}")
        then = self.some(0.5, f", then: {self.edge(flow, index, hasty=False)}")
        whisper = self.some(0.2, ", whisper: A call for you.")
        return f"{target}{whisper}{own}{then}, otherwise: {self.edge(flow, index, hasty=True)}"

    def _queue(self, flow: str, index: int) -> str:
        keys = self.some(0.3, f", keys: {{{self.one('0', '9')}: {self.edge(flow, index, hasty=False)}}}")
        then = self.some(0.5, f", then: {self.edge(flow, index, hasty=False)}")
        return (
            f"queue: {self.one('sales', 'help')}, priority: {self.r.randint(0, 10)}{keys}{then}, "
            f"otherwise: {self.edge(flow, index, hasty=True)}"
        )

    def _play(self, flow: str, index: int) -> str:
        return f"play: {self.text()}{self.some(0.8, f', then: {self.edge(flow, index, hasty=False)}')}"

    def _voicemail(self, flow: str, index: int) -> str:
        return (
            f"voicemail: [{', '.join(self.few(PEOPLE))}]{self.some(0.6, f', greeting: {self.text()}')}, max_length: "
            f"{self.one('10s', '2m')}{self.some(0.7, f', then: {self.edge(flow, index, hasty=False)}')}"
        )

    def _flow(self, flow: str, index: int) -> str:
        inner = "inner" if flow == "survey" else self.one(*INNER)
        return f"flow: {inner}{self.some(0.8, f', then: {self.edge(flow, index, hasty=True)}')}"

    def _hangup(self, flow: str, index: int) -> str:
        return f"hangup: {self.one('normal', 'busy', 'declined', 'congestion')}"


@st.composite
def companies(draw: st.DrawFn) -> str:
    """A company's file."""
    return _Company(draw(st.randoms(use_true_random=False))).file()


def mutated(text: str, choose: random.Random) -> str:
    """The file with a mistake or two: something dropped, swapped or named otherwise."""
    for _ in range(choose.randint(1, 3)):
        lines = text.splitlines()
        first, second = choose.randrange(len(lines)), choose.randrange(len(lines))
        what = choose.randrange(4)
        if what == 0:
            del lines[first]
        elif what == 1:
            lines[first], lines[second] = lines[second], lines[first]
        elif what == 2:
            words = re.findall(r"[a-z0-9_]+", text)
            old, new = choose.choice(words), choose.choice(words)
            lines[first] = re.sub(rf"\b{old}\b", new, lines[first])
        else:
            items = lines[first].split(", ")
            del items[choose.randrange(len(items))]
            lines[first] = ", ".join(items)
        text = "\n".join(lines) + "\n"
    return text
