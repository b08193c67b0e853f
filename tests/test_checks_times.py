"""Times: each check on the smallest company that shows it, and its opposite.  It is Thursday, 2026-11-26."""

from __future__ import annotations

import datetime as dt

import pytest

from callcontrol.routing.load import load_text
from tests.checked import HEAD, PLAY, TODAY, codes, placed, problems


def hours(rows: str, asked: str, *, head: str = HEAD) -> list[str]:
    """Code and message of every problem of a company with these hours, of which a step asks some in this order."""
    rows = "".join(f"  {row}\n" for row in rows.splitlines())
    edges = ", ".join(f"{name}: b" for name in asked.split())
    flows = f"main:\n  a: {{hours: {{{edges}}}, otherwise: b}}\n  b: {{play: B.}}"
    return problems(flows, head=head.replace("  office: {mon-fri: 09:00-18:00}\n", rows))


# ------------------------------------------------------------------------------------------- never


@pytest.mark.parametrize(
    ("times", "why"),
    [
        ("{mon-sun: closed}", "on: every day of it is closed"),
        ("{holidays: closed}", "on: every day of it is closed"),
        ("{2026-11-01..2026-11-25: 09:00-18:00}", "on again: 2026-11-25, its last day, is over"),
        ("{2026-11-25: 09:00-24:00, 2027-01-01: closed}", "on again: 2026-11-25, its last day, is over"),
    ],
)
def test_hours_that_never_come_are_told_of(times: str, why: str) -> None:
    assert hours(f"x: {times}\noffice: {{mon-fri: 09:00-18:00}}", "x office") == [f'W520 "x" is never {why}']


@pytest.mark.parametrize(
    "times",
    [
        "{2026-11-26: 00:00-00:01}",  # today
        "{2026-11-25: 22:00-00:01}",  # goes on into today
        "{2099-12-31: 09:00-18:00}",
        "{holidays: 10:00-11:00}",
        '{switch: "*21"}',
    ],
)
def test_hours_that_come_once_are_fine(times: str) -> None:
    assert hours(f"x: {times}", "x") == []


def test_a_step_whose_hours_never_come_is_closed_for_ever() -> None:
    assert hours("x: {sun: closed}\ny: {2020-01-01: all day}", "x y")[2:] == [
        "W523 this is closed for ever: none of its hours is ever on, and every call goes to b"
    ]
    assert [line[:4] for line in hours('x: {sun: closed}\ny: {switch: "*21"}', "x y")] == ["W520"]


def test_a_queue_whose_agents_are_never_on_duty_is_told_of() -> None:
    head = HEAD + "  summer: {2026-06-01..2026-08-31: 09:00-18:00}\n"
    more = "queues:\n  sales: {agents: [301, 302]}\n"
    flows = "main:\n  a: {queue: sales, otherwise: hangup}"
    head = head.replace("Anna}", "Anna, duty: summer}")
    assert codes(flows, head=head, more=more) == ["W520"]
    assert problems(flows, head=head.replace("Boris}", "Boris, duty: summer}"), more=more) == [
        'W520 "summer" is never on again: 2026-08-31, its last day, is over',
        'W527 the hours of duty of all agents of the queue "sales" are never on: '
        "nobody serves it who does not log in by hand",
    ]
    assert codes(flows, head=head.replace("Boris}", "Boris, duty: office}"), more=more) == ["W520"]


# ------------------------------------------------------------------------------------- one after another


@pytest.mark.parametrize(
    ("rows", "asked", "expected"),
    [
        ("day: {mon-fri: 09:00-18:00}\nlunch: {mon-fri: 13:00-14:00}", "day lunch", ['"lunch": "day" is']),
        ("day: {mon-fri: 09:00-18:00}\nlunch: {mon-fri: 13:00-14:00}", "lunch day", []),
        ("day: {mon-fri: 09:00-18:00}\nlunch: {mon-sat: 13:00-14:00}", "day lunch", []),
        # together, and over midnight
        (
            "am: {mon-sun: 00:00-12:00}\npm: {mon-sun: 12:00-20:00}\nx: {wed: 10:00-14:00}",
            "am pm x",
            ['"x": one of "am" and "pm" is'],
        ),
        ("night: {mon-sun: 22:00-06:00}\nx: {mon-sun: 01:00-02:00}", "night x", ['"x": "night" is']),
        ("night: {fri: 22:00-06:00}\nx: {sat: 01:00-02:00}", "night x", ['"x": "night" is']),
        ("night: {fri: 22:00-06:00}\nx: {fri: 01:00-02:00}", "night x", []),
        # dates and holidays
        ("day: {mon-fri: 09:00-18:00, holidays: closed}\nx: {mon: 10:00-11:00}", "day x", []),
        ("day: {mon-fri: 09:00-18:00}\nx: {mon: 10:00-11:00, holidays: closed}", "day x", ['"x": "day" is']),
        ("day: {mon-fri: 09:00-18:00, 2029-03-05: closed}\nx: {mon: 10:00-11:00}", "day x", []),
        ("day: {mon-fri: 09:00-18:00, 2025-03-03: closed}\nx: {mon: 10:00-11:00}", "day x", ['"x": "day" is']),
        ("xmas: {2026-12-24..2027-12-31: all day}\nx: {2027-01-05: 09:00-10:00}", "xmas x", ['"x": "xmas" is']),
        ("xmas: {2026-12-24..2026-12-31: all day}\nx: {2027-01-01: 00:00-00:30}", "xmas x", []),
        ("xmas: {2090-01-01..2099-12-31: all day}\nx: {2095-06-01: 00:00-24:00}", "xmas x", ['"x": "xmas" is']),
        # nobody knows a switch
        ('shut: {switch: "*21"}\nday: {mon-fri: 09:00-18:00}', "shut day", []),
        ('day: {mon-sat: all day}\nshut: {switch: "*21"}', "day shut", []),
    ],
)
def test_hours_behind_others_that_are_always_on_meanwhile_never_decide(
    rows: str, asked: str, expected: list[str]
) -> None:
    said = [pair.replace(": ", " never decides here: whenever it is on, ", 1) for pair in expected]
    assert hours(rows, asked) == [f"W521 {line} on as well, and asked first" for line in said]


@pytest.mark.parametrize(
    ("rows", "asked", "expected"),
    [
        ("all: {mon-sun: all day}", "all", '"all" is'),
        ("day: {mon-sun: 08:00-20:00}\nnight: {mon-sun: 20:00-08:00}", "day night", 'one of "day" and "night" is'),
        ("day: {mon-sun: 08:00-20:00}\nnight: {mon-sun: 20:00-07:59}", "day night", ""),
        ("all: {mon-sun: all day, holidays: closed}", "all", ""),
        ("all: {mon-sun: all day, 2027-05-01: closed}", "all", ""),
        ("all: {mon-sun: all day, 2026-11-25: closed}", "all", '"all" is'),
    ],
)
def test_an_otherwise_that_nothing_is_left_for_is_told_of(rows: str, asked: str, expected: str) -> None:
    said = [f"W522 otherwise is never followed here: {expected} on at any time"] if expected else []
    assert hours(rows, asked) == said


def test_each_step_is_told_at_its_own_place() -> None:
    flows = (
        "main:\n  a: {hours: {office: b}, otherwise: b}\n  b: {hours: {office: c, x: c}, otherwise: c}\n  c: {play: C.}"
    )
    head = HEAD + "  x: {mon: 10:00-11:00}\n"
    assert [line.partition(" ")[0] for line in placed(flows, head=head)] == ["21:28:"]


# ----------------------------------------------------------------------------------- the clocks go forward

BERLIN = HEAD.replace("country: RU\ntimezone: Europe/Moscow", "country: RU\ntimezone: Europe/Berlin")
SPRING = "on 2027-03-28, 2028-03-26 and 2029-03-25: the clocks of Europe/Berlin go from 02:00 to 03:00 then"


@pytest.mark.parametrize(
    ("times", "code", "what"),
    [
        ("sun: 02:10-02:50", "W524", "02:10-02:50"),
        ("sun: 02:00-03:00", "W524", "02:00-03:00"),
        ("sun: 02:30-10:00", "W525", "02:30-10:00"),
        ("sun: 01:00-02:30", "W525", "01:00-02:30"),
        ("sat: 22:00-02:30", "W525", "22:00-02:30"),
        ("mon-sun: [01:00-02:00, 02:10-02:50]", "W524", "02:10-02:50"),
    ],
)
def test_times_that_the_clocks_skip_are_told_of(times: str, code: str, what: str) -> None:
    how = "does not come" if code == "W524" else "is shorter"
    assert hours(f"x: {{{times}}}", "x", head=BERLIN) == [f'{code} {what} of "x" {how} {SPRING}']


@pytest.mark.parametrize("times", ["mon-sat: 02:10-02:50", "sun: 01:00-02:00", "sun: 03:00-04:00", "sun: 01:00-04:00"])
def test_times_that_the_clocks_do_not_skip_are_fine(times: str) -> None:
    assert hours(f"x: {{{times}}}", "x", head=BERLIN) == []


def test_a_zone_without_changes_skips_nothing() -> None:
    assert hours("x: {mon-sun: 02:10-02:50}", "x") == []


def test_a_date_on_which_the_clocks_change_is_told_alone() -> None:
    found = hours("x: {2027-03-28: 02:10-02:50}", "x", head=BERLIN)
    assert found == [f'W524 02:10-02:50 of "x" does not come {SPRING.replace(", 2028-03-26 and 2029-03-25", "")}']
    assert hours("x: {mon-sun: 02:10-02:50, 2027-03-28: closed}", "x", head=BERLIN)[0].startswith(
        'W524 02:10-02:50 of "x" does not come on 2028-03-26 and 2029-03-25: '
    )


@pytest.mark.parametrize(
    ("zone", "gap"),
    [
        ("Africa/Cairo", "00:10-00:50"),  # the clocks go forward at midnight
        ("America/New_York", "02:10-02:50"),
        ("Australia/Lord_Howe", "02:10-02:20"),  # by half an hour
    ],
)
def test_every_zone_has_its_own_changes(zone: str, gap: str) -> None:
    found = hours(f"x: {{mon-sun: {gap}}}", "x", head=HEAD.replace("Europe/Moscow", zone))
    assert [line.partition(" of ")[0] for line in found] == [f"W524 {gap}"]


# --------------------------------------------------------------------------------------------- over midnight


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ("14:00-10:00", "14:00-10:00 is on from 14:00 until 10:00 of the next day, 20h; did you mean 10:00-14:00?"),
        ("09:00-06:00", "09:00-06:00 is on from 09:00 until 06:00 of the next day, 21h; did you mean 09:00-18:00?"),
        ("16:00-08:01", "16:00-08:01 is on from 16:00 until 08:01 of the next day, 16h 1m; did you mean 08:01-16:00?"),
        ("18:00-09:00", ""),
        ("16:00-08:00", ""),
        ("00:00-24:00", ""),
        ("07:00-24:00", ""),
    ],
)
def test_a_night_is_no_longer_than_sixteen_hours(times: str, expected: str) -> None:
    assert hours(f"x: {{mon: {times}}}", "x") == ([f"W526 {expected}"] if expected else [])


# --------------------------------------------------------------------------------------------- the day


def test_what_depends_on_the_day_is_no_error_and_is_left_out_without_one() -> None:
    """A version must be accepted or refused for ever, and what is published is remembered by content."""
    head = HEAD.replace("{mon-fri: 09:00-18:00}", "{2026-11-27: 02:10-02:50}")
    text = (
        head + 'numbers: {"+74951234567": {flow: main}}\nflows:\n  main:\n    a: {hours: {office: b}, otherwise: b}\n'
    )
    text += "    b: {play: B.}\n"
    versions = set()
    for today, expected in ((None, []), (TODAY, []), (dt.date(2026, 11, 29), ["W520", "W523"])):
        loaded = load_text(text, path="f", company="test", today=today)
        assert [problem.code for problem in loaded.problems] == expected
        assert loaded.routing is not None
        versions.add(loaded.routing.version)
    assert len(versions) == 1


def test_hours_that_could_not_be_read_are_left_alone() -> None:
    assert codes(PLAY, head=HEAD.replace("09:00-18:00", "09:00-18")) == ["E322"]
    assert codes("main:\n  a: {hours: {offic: b}, otherwise: b}\n  b: {play: B.}") == ["E205"]
