"""The next openings and closings: told to the minute, over holidays, dates and changes of the clocks."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from callcontrol.cli import main
from callcontrol.routing import countries, load
from callcontrol.routing.hours import instant
from callcontrol.routing.model import Routing
from callcontrol.workbench.preview import Preview, SwitchError, as_data, clock_change, lasting, previews, told

ROUTING = Path(__file__).parent.parent / "routing"
NUMBERS = {
    "RU": ["+74951234567", "+74951234568"],
    "IT": ["+390612345678"],
    "US": ["+12125550123"],
    "AU": ["+61290000000"],
    "IR": ["+982188888888"],
    "EG": ["+20227350000"],
}
FLOWS = """\
  main:
    gate: {caller: {blocked: bye}, otherwise: clock}
    clock: {hours: {office: greet}, otherwise: night}
    greet: {menu: Hello., keys: {1: anna}, otherwise: anna}
    anna: {dial: 301, otherwise: message}
    night: {play: We are closed., then: message}
    message: {voicemail: 301, then: hangup}
    bye: {hangup: busy}
"""


def company(
    hours: str, flows: str = FLOWS, zone: str = "Europe/Moscow", country: str = "RU", language: str = "en"
) -> Routing:
    numbers = "".join(f'  "{number}": {{flow: main}}\n' for number in NUMBERS[country])
    text = (
        f"cordboard: 1\ncompany: Test\ncountry: {country}\ntimezone: {zone}\nlanguages: [{language}]\n"
        f"numbers:\n{numbers}people:\n  301: {{name: Anna}}\n  302: {{name: Boris}}\n"
        'lists:\n  blocked: ["+882*", anonymous]\n'
        "groups:\n  oncall: {members: [301, 302], rotate: weekly, from: 2026-11-23 09:00}\n"
        f"hours:\n{hours}flows:\n{flows}"
    )
    loaded = load.load_text(text, path="t.yaml", company="test")
    errors = [str(problem) for problem in loaded.problems if problem.severity == "error"]
    assert not errors, errors
    assert loaded.routing is not None
    return loaded.routing


def ahead(
    routing: Routing, start: str, count: int = 4, switches: Mapping[str, bool] | None = None, names: bool = True
) -> Preview:
    at = instant(dt.datetime.fromisoformat(start), routing.timezone)
    called = partial(countries.holiday_names, routing.country, language=routing.languages[0])
    more = {"names": called} if names else {}
    found = previews(routing, list(routing.numbers), start=at, count=count, switches=switches, **more)
    return found[0]


def lines(routing: Routing, start: str, count: int = 4, switches: Mapping[str, bool] | None = None) -> list[str]:
    """What is told, without the heading; columns are parted by ``|``."""
    found = told(routing, ahead(routing, start, count, switches))[1:]
    return [" | ".join(cell.strip() for cell in line.strip().split("  ") if cell.strip()) for line in found]


OFFICE = "  office: {mon-fri: 09:00-18:00, holidays: closed}\n"


class TestChanges:
    def test_each_change_says_when_what_and_for_how_long(self) -> None:
        assert lines(company(OFFICE), "2026-11-27 12:00", 2) == [
            "Fri 2026-11-27 12:00 MSK +03:00 (now) | open: greet (office) | for 6 h",
            "Fri 2026-11-27 18:00 MSK +03:00 | closes: night (none of the hours is on) | for 2 days 15 h",
            "Mon 2026-11-30 09:00 MSK +03:00 | opens: greet (office) | for 9 h",
        ]

    def test_a_number_that_is_always_the_same_says_so(self) -> None:
        flows = "  main:\n    greet: {dial: 301, otherwise: hangup}\n"
        assert lines(company(OFFICE, flows), "2026-11-27 12:00") == ["always: greet"]

    def test_a_change_of_hours_that_changes_nothing_for_callers_is_no_line(self) -> None:
        hours = "  office: {mon-fri: 09:00-18:00}\n  extra: {mon-fri: 18:00-20:00}\n"
        flows = FLOWS.replace("{office: greet}, otherwise: night}", "{office: greet}, otherwise: later}")
        flows = flows.replace("    greet:", "    later: {hours: {extra: greet}, otherwise: night}\n    greet:")
        assert [line[:20] for line in lines(company(hours, flows), "2026-11-27 12:00", 1)] == [
            "Fri 2026-11-27 12:00",
            "Fri 2026-11-27 20:00",
        ]

    def test_hours_that_lead_to_the_same_step_for_ever_end_the_search(self) -> None:
        flows = FLOWS.replace("otherwise: night", "otherwise: greet").replace(
            "    night: {play: We are closed., then: message}\n", ""
        )
        assert lines(company(OFFICE, flows), "2026-11-27 12:00") == ["always: greet (office)"]

    def test_what_is_set_on_the_way_is_a_difference(self) -> None:
        flows = FLOWS.replace("otherwise: night", "otherwise: late").replace(
            "    night: {play: We are closed., then: message}", "    late: {set: {late: 'yes'}, then: greet}"
        )
        found = lines(company(OFFICE, flows), "2026-11-27 12:00", 1)
        assert found[1].endswith("open: greet (none of the hours is on) | for 2 days 15 h")

    def test_a_greeting_before_the_look_at_the_clock_is_passed(self) -> None:
        flows = FLOWS.replace("    gate:", "    hello: {play: Hello., then: gate}\n    gate:")
        assert "closes: night" in lines(company(OFFICE, flows), "2026-11-27 12:00", 1)[1]

    def test_the_clock_of_another_flow_counts_and_its_steps_are_named_by_it(self) -> None:
        flows = """\
  main:
    first: {flow: times, then: greet}
    greet: {dial: 301, otherwise: hangup}
  times:
    clock: {hours: {office: return}, otherwise: shut}
    shut: {play: Shut., then: hangup}
"""
        found = lines(company(OFFICE, flows), "2026-11-27 12:00", 1)
        assert found[0].endswith("open: greet (office) | for 6 h")
        assert found[1].endswith("closes: times/shut (none of the hours is on) | for 2 days 15 h")

    def test_people_who_can_be_reached_behind_a_menu_make_it_open_and_a_message_does_not(self) -> None:
        flows = FLOWS.replace(
            "night: {play: We are closed., then: message}",
            "night: {menu: Closed., keys: {1: anna}, otherwise: message}",
        )
        assert " open: night" in lines(company(OFFICE, flows), "2026-11-27 12:00", 1)[1]
        flows = FLOWS.replace(
            "night: {play: We are closed., then: message}",
            "night: {menu: C., keys: {1: clock}, otherwise: message, on_error: anna}",
        )
        assert " closes: night" in lines(company(OFFICE, flows), "2026-11-27 12:00", 1)[1]

    def test_a_rota_says_whose_turn_it_is_and_when_it_changes(self) -> None:
        flows = "  main:\n    call: {dial: oncall, otherwise: hangup}\n"
        assert lines(company(OFFICE, flows), "2026-11-27 12:00", 2) == [
            "Fri 2026-11-27 12:00 MSK +03:00 (now) | open: call (oncall: 301 Anna) | for 2 days 21 h",
            "Mon 2026-11-30 09:00 MSK +03:00 | open: call (oncall: 302 Boris) | for 7 days",
            "Mon 2026-12-07 09:00 MSK +03:00 | open: call (oncall: 301 Anna) | for 7 days",
        ]

    def test_dates_that_are_over_are_followed_by_nothing(self) -> None:
        hours = "  office: {2026-12-31..2027-01-02: all day}\n"
        found = lines(company(hours), "2026-12-30 12:00")
        assert found[1].startswith("Thu 2026-12-31 00:00 MSK +03:00 | opens: greet (office) | for 3 days")
        assert found[2] == (
            "Fri 2027-01-01 to Sat 2027-01-02 | still open | New Year Holidays: a day like others, since no hours here "
            "say holidays; office: 2026-12-31..2027-01-02 all day"
        )
        assert found[3].startswith("Sun 2027-01-03 00:00 MSK +03:00 | closes: night (none of the hours is on)")
        assert found[-1] == "nothing changes after that"

    def test_numbers_of_one_flow_are_told_together(self) -> None:
        routing = company(OFFICE)
        found = previews(routing, list(routing.numbers), start=0.0, count=1)
        assert [one.numbers for one in found] == [("+74951234567", "+74951234568")]

    @settings(max_examples=15, deadline=None)
    @given(start=st.datetimes(dt.datetime(2026, 1, 1), dt.datetime(2027, 12, 31)))
    def test_between_two_changes_the_hours_stay_as_they_are(self, start: dt.datetime) -> None:
        routing = company("  office: {mon-fri: [09:00-12:30, 22:00-02:30], holidays: closed}\n", zone="Europe/Rome")
        office = routing.hours["office"]
        stretches = ahead(routing, start.isoformat(" "), 8, names=False).stretches
        assert len(stretches) == 9
        for stretch in stretches:
            assert stretch.until is not None
            for part in (0.0, 0.5, 0.999):
                assert office.is_on(stretch.at + part * (stretch.until - stretch.at)) is stretch.open


class TestSpecialDays:
    def test_a_week_of_holidays_is_told_though_nothing_changes_in_it(self) -> None:
        routing = company(OFFICE)
        assert lines(routing, "2026-12-30 12:00", 2) == [
            "Wed 2026-12-30 12:00 MSK +03:00 (now) | open: greet (office) | for 6 h",
            "Wed 2026-12-30 18:00 MSK +03:00 | closes: night (none of the hours is on) | for 11 days 15 h",
            "Thu 2026-12-31 | still closed | Day off (substituted from 01/04/2026)",
            "Fri 2027-01-01 to Wed 2027-01-06 | still closed | New Year Holidays",
            "Thu 2027-01-07 | still closed | Christmas Day",
            "Fri 2027-01-08 | still closed | New Year Holidays",
            "Mon 2027-01-11 09:00 MSK +03:00 | opens: greet (office) | for 9 h",
        ]

    def test_holidays_are_named_in_the_companys_language_else_in_english(self) -> None:
        day = dt.date(2027, 1, 7)
        russian = ahead(company(OFFICE, language="ru"), "2027-01-06 12:00", 1)
        assert russian.special[day] == ("Рождество Христово",)
        german = ahead(company(OFFICE, language="de"), "2027-01-06 12:00", 1)
        assert german.special[day] == ("Christmas Day",)

    def test_a_holiday_that_no_hours_keep_is_told_as_such(self) -> None:
        found = lines(company("  office: {mon-fri: 09:00-18:00}\n"), "2027-02-22 20:00", 1)
        assert found[1].endswith("Defender of the Fatherland Day: a day like others, since no hours here say holidays")

    def test_a_holiday_on_a_weekend_is_told_and_changes_nothing(self) -> None:
        found = lines(company(OFFICE, country="IT", zone="Europe/Rome"), "2026-08-14 12:00", 2)
        assert found[2] == "Sat 2026-08-15 | still closed | Assumption Of Mary Day"
        assert found[3].startswith("Mon 2026-08-17 09:00 CEST +02:00 | opens")

    def test_a_written_date_says_what_is_written(self) -> None:
        hours = "  office: {mon-fri: 09:00-18:00, holidays: closed, 2027-01-07: 10:00-15:00}\n"
        found = lines(company(hours), "2027-01-06 12:00", 2)
        assert found[1] == (
            "Thu 2027-01-07 10:00 MSK +03:00 | opens: greet (office) | for 5 h "
            "| Christmas Day; office: 2027-01-07 10:00-15:00"
        )
        assert found[2].endswith("closes: night (none of the hours is on) | for 3 days 18 h")

    def test_the_day_on_which_the_last_stretch_ends_is_not_told(self) -> None:
        routing = company("  office: {mon-sun: 22:00-02:00, holidays: closed}\n", country="IT", zone="Europe/Rome")
        found = lines(routing, "2026-08-14 20:00", 1)
        assert found[-1] == "Fri 2026-08-14 22:00 CEST +02:00 | opens: greet (office) | for 4 h"


class TestClocks:
    NIGHTS = "  office: {mon-sun: 22:00-02:30}\n"

    def test_a_span_that_ends_in_the_hour_that_is_left_out_is_cut_there(self) -> None:
        found = lines(company(self.NIGHTS, country="IT", zone="Europe/Rome"), "2026-03-28 21:00", 2)
        assert found[1] == "Sat 2026-03-28 22:00 CET +01:00 | opens: greet (office) | for 4 h"
        assert found[2] == (
            "Sun 2026-03-29 03:00 CEST +02:00 | closes: night (none of the hours is on) | for 19 h "
            "| clocks go forward 02:00→03:00; 02:30 is left out and means 03:00"
        )

    def test_a_time_that_comes_twice_means_the_first(self) -> None:
        found = lines(
            company("  office: {mon-sun: 22:00-01:30}\n", country="US", zone="America/New_York"), "2026-10-31 21:00", 2
        )
        assert found[2] == (
            "Sun 2026-11-01 01:30 EDT -04:00 | closes: night (none of the hours is on) | for 21 h 30 m "
            "| clocks go back 02:00→01:00; 01:30 comes twice and means the first"
        )

    def test_a_change_of_the_clocks_at_night_is_told_on_the_first_line_of_the_day(self) -> None:
        found = lines(
            company("  office: {mon-sun: 09:00-18:00}\n", country="IT", zone="Europe/Rome"), "2026-10-24 20:00", 1
        )
        assert found[0].endswith("for 14 h")
        assert found[1].endswith("for 9 h | clocks go back 03:00→02:00")

    @pytest.mark.parametrize(
        ("zone", "day", "change"),
        [
            ("Europe/Moscow", "2026-03-29", None),
            ("Europe/Rome", "2026-03-28", None),
            ("Europe/Rome", "2026-03-29", "clocks go forward 02:00→03:00"),
            ("Europe/Rome", "2026-10-25", "clocks go back 03:00→02:00"),
            ("America/New_York", "2026-03-08", "clocks go forward 02:00→03:00"),
            ("America/New_York", "2026-11-01", "clocks go back 02:00→01:00"),
            ("Australia/Lord_Howe", "2026-04-05", "clocks go back 02:00→01:30"),
            ("Australia/Lord_Howe", "2026-10-04", "clocks go forward 02:00→02:30"),
            ("Asia/Tehran", "2021-03-22", "clocks go forward 00:00→01:00"),
            ("Asia/Tehran", "2021-03-21", None),
            ("Asia/Tehran", "2021-09-21", "clocks go back 00:00→23:00"),
            ("Asia/Tehran", "2021-09-22", None),
            ("Asia/Tehran", "2026-03-22", None),
            ("America/Havana", "2026-11-01", "clocks go back 01:00→00:00"),
            ("Africa/Cairo", "2026-04-24", "clocks go forward 00:00→01:00"),
        ],
    )
    def test_the_change_is_told_on_its_own_day(self, zone: str, day: str, change: str | None) -> None:
        assert clock_change(zone, dt.date.fromisoformat(day)) == change

    def test_a_zone_without_letters_has_its_offset_alone(self) -> None:
        found = lines(
            company("  office: {mon-sun: 09:00-18:00}\n", country="IR", zone="Asia/Tehran"), "2026-11-23 10:00", 1
        )
        assert found[0].startswith("Mon 2026-11-23 10:00 +03:30 (now) |")

    def test_half_an_hour_of_summer_time_makes_a_night_half_an_hour_longer(self) -> None:
        routing = company("  office: {mon-sun: 09:00-18:00}\n", country="AU", zone="Australia/Lord_Howe")
        assert lines(routing, "2026-04-04 18:00", 1)[0].endswith("for 15 h 30 m")
        assert lines(routing, "2026-10-03 18:00", 1)[0].endswith("for 14 h 30 m")


class TestSwitches:
    HOURS = '  shut: {switch: "*21"}\n' + OFFICE
    FLOWS = FLOWS.replace("{office: greet}", "{shut: night, office: greet}")

    def test_a_switch_is_off_unless_it_is_said_and_the_preview_says_so(self) -> None:
        routing = company(self.HOURS, self.FLOWS)
        assert lines(routing, "2026-11-27 12:00", 1)[0] == (
            "the switch shut (*21) is taken as off (see it on: --switch shut=on)"
        )
        assert lines(routing, "2026-11-27 12:00", 1, {"shut": True}) == [
            "the switch shut (*21) is taken as on",
            "always: night (shut)",
        ]

    def test_an_unknown_switch_is_an_error_with_those_that_there_are(self) -> None:
        with pytest.raises(SwitchError, match="no switch 'dark'; there is: shut"):
            ahead(company(self.HOURS, self.FLOWS), "2026-11-27 12:00", 1, {"dark": True})


def test_durations_are_told_in_days_hours_and_minutes() -> None:
    assert [lasting(s) for s in (59, 60, 3600, 86400, 2 * 86400 + 3660)] == [
        "less than a minute",
        "1 m",
        "1 h",
        "1 day",
        "2 days 1 h 1 m",
    ]


def run(*args: str) -> Result:
    return CliRunner().invoke(main, ["preview", str(ROUTING), *args], env={"CORDBOARD_ROUTING": ""})


class TestCommand:
    def test_a_number_may_be_written_as_it_is_dialled_at_home(self) -> None:
        found = run("84951234567", "--from", "2026-11-27 12:00", "--count", "1")
        assert found.exit_code == 0, found.output
        assert found.output.startswith("+74951234567 → reception, times of Europe/Moscow\n")
        assert "hotline" not in found.output

    @pytest.mark.parametrize("number", ["+74951234567", "84951234567"])
    def test_routing_may_be_left_out_before_a_number(self, number: str) -> None:
        args = ["preview", number, "--from", "2026-11-27 12:00", "--count", "1"]
        found = CliRunner().invoke(main, args, env={"CORDBOARD_ROUTING": str(ROUTING)})
        assert found.output.startswith("+74951234567 → reception, times of Europe/Moscow\n")

    def test_a_path_that_is_not_there_is_no_number(self) -> None:
        found = CliRunner().invoke(main, ["preview", "roting"], env={"CORDBOARD_ROUTING": str(ROUTING)})
        assert found.exit_code == 2
        assert "there is no file or directory roting" in found.output

    def test_all_numbers_are_told_when_none_is_named(self) -> None:
        found = run("--from", "2026-11-27", "--count", "1")
        assert "+78005550101 → hotline, times of Europe/Moscow\n  always: ask\n" in found.output

    def test_thirty_changes_are_told_from_now_on(self) -> None:
        found = run("+74951234567")
        assert found.output.count("MSK") == 31
        assert "(now)" in found.output

    def test_json_has_the_same_as_data(self) -> None:
        found = json.loads(run("+74951234567", "--from", "2027-01-11 12:00", "--count", "1", "--format", "json").output)
        assert found[0]["now"]["special"] == ["office: 2027-01-11 10:00-15:00"]
        assert found[0]["changes"][0]["at"] == "2027-01-11T15:00:00+03:00"
        assert found[0]["switches"] == {"shut": "off"}

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["+74950000000"], "acme has no number +74950000000; it has: +74951234567, +78005550101"),
            (["--switch", "shut"], "--switch shut: write it as shut=on or shut=off"),
            (["--switch", "dark=on"], "there is no switch 'dark'; there is: shut"),
            (["--from", "tomorrow"], "'tomorrow' does not match the format"),
        ],
    )
    def test_what_cannot_be_understood_is_said_with_what_could(self, args: list[str], message: str) -> None:
        found = run(*args)
        assert found.exit_code == 2
        assert message in " ".join(found.output.split())


def test_data_and_lines_agree() -> None:
    routing = company(OFFICE)
    found = ahead(routing, "2026-12-30 12:00", 2)
    data = as_data(routing, found)
    assert [data["now"]["what"], *(change["what"] for change in data["changes"])] == ["open", "closes", "opens"]
    assert data["changes"][0]["lasts"] == (11 * 24 + 15) * 3600
    assert data["special"]["2027-01-07"] == ["Christmas Day"]
