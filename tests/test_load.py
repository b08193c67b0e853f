"""A company's file as a whole: the example, a corpus of broken files, stored versions, directories."""

from __future__ import annotations

import datetime as dt
import json
import random
import time
from pathlib import Path

import pytest

from callcontrol.routing import load, nodes
from callcontrol.routing.codes import CODES
from callcontrol.routing.files import check_directory, check_loaded, load_company, load_directory
from callcontrol.routing.load import Loaded, LoadError, compiled, load_compiled, load_text
from callcontrol.routing.model import File, QueueAgent, Target
from callcontrol.steps import RESERVED_VERBS, VERBS

ROOT = Path(__file__).parent.parent
EXAMPLE = (ROOT / "routing/acme.yaml").read_text(encoding="utf-8")
CORPUS = sorted((ROOT / "tests/corpus").glob("*.yaml"))
SOUNDS = frozenset({"greet-ru.wav", "night.wav", "new-year.wav"})
#: The day on which the files are checked.
TODAY = dt.date(2026, 11, 26)
SMALL = (ROOT / "tests/corpus/nothing-wrong.yaml").read_text(encoding="utf-8")


def loaded(text: str, company: str = "acme") -> Loaded:
    return load_text(text, path=f"{company}.yaml", company=company, today=TODAY)


def problems(text: str) -> list[str]:
    return [str(problem) for problem in loaded(text).problems]


# -------------------------------------------------------------------------------------------- the corpus


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_a_broken_file_gives_exactly_these_lines(path: Path) -> None:
    text, found = nodes.decode(path.read_bytes(), path.name)
    if text is not None:
        result = load_text(text, path=path.name, company="volga", sounds=SOUNDS, today=TODAY)
        found = result.problems
        assert (result.routing is None) == any(problem.severity == "error" for problem in found)
    assert "".join(f"{problem}\n" for problem in found) == path.with_suffix(".expected").read_text(encoding="utf-8")


def test_every_code_is_shown_by_a_broken_file_or_by_a_test_here() -> None:
    shown = {
        line.split(" ")[1] for path in CORPUS for line in path.with_suffix(".expected").read_text("utf-8").splitlines()
    }
    elsewhere = {"E112", "E118", "E119", "E120"}  # too large, unreadable, wrongly named, too many
    elsewhere |= {"E319", "W550"}  # test_kinds; too many, below
    elsewhere |= {"E601", "W601", "W602"}  # found when a routing is published: test_publishing
    elsewhere |= {"E520", "E521", "E522", "E524", "E525", "W538"}  # no mistakes of one file: test_planning
    elsewhere |= {"E215", "E216", "W509"}  # found when a routing is published: test_speech
    elsewhere |= {"E601", "W601", "W602"}  # found when rehearsals are walked: test_rehearsal_files, test_publishing
    assert set(CODES) - shown == elsewhere


def test_a_problem_is_one_line_whatever_the_file_is_called() -> None:
    (line,) = [str(problem) for problem in load_text("", path="a\nb\x1b[2J\udcff é.yaml", company="x").problems][:1]
    assert line.startswith("a\\nb\\x1b[2J\\udcff é.yaml:1:1: E")


# ------------------------------------------------------------------------------------------- the example


def test_the_example_company_has_nothing_wrong() -> None:
    assert check_directory(ROOT / "routing", today=TODAY) == []


def test_the_example_is_read_as_it_is_written() -> None:
    routing = loaded(EXAMPLE).routing
    assert routing is not None
    assert (routing.title, routing.country, routing.timezone) == ("Acme Windows", "RU", "Europe/Moscow")
    assert routing.languages == ("en", "ru")
    assert routing.numbers["+74951234567"].sets == {"brand": "Acme Windows"}
    assert routing.numbers["+78005550101"].label == "Toll-free"
    anna = routing.people["301"]
    assert anna.forward == {
        "no_answer": {"to": "mobile", "after": 20.0},
        "busy": {"to": "302"},
        "unreachable": {"to": "mobile"},
    }
    assert (anna.mobile, anna.record, anna.confirm) == ("+79161112233", "always", True)
    assert routing.people["303"].phones == ("+390612345678",)
    assert routing.groups["service"].members == ("302", "303")
    assert routing.groups["oncall"].start == dt.datetime(2026, 11, 23, 9, 0)
    assert routing.lists["blocked"].anonymous
    assert routing.switches == {"shut": "*21"}
    assert routing.queues["sales"].agents[2] == QueueAgent("303", level=2)
    assert routing.queues["sales"].max_wait == 300.0
    assert routing.outbound["emergency"] == ("112",)
    assert routing.outbound["caller_id"] == {"+44*": "+442071234567", "otherwise": "+74951234567"}
    assert routing.flows["reception"].start == "gate"
    assert [rehearsal.name for rehearsal in routing.rehearsals][:2] == [
        "VIPs go first in the queue",
        "After hours callers may leave a message",
    ]
    assert routing.rehearsals[1].ends == {"voicemail": ("301", "302")}
    assert routing.rehearsals[3].given == {"phones": {"301": "busy", "302": "no_answer", "303": "no_answer"}}


def test_steps_are_made_with_their_values_edges_and_places() -> None:
    routing = loaded(EXAMPLE).routing
    assert routing is not None
    greet = routing.step("reception", "greet")
    assert greet is not None
    assert isinstance(greet, VERBS["menu"])
    assert str(greet.place) == "acme.yaml:61:5"
    assert greet.values["menu"].sayings["ru"] == File("greet-ru.wav", greet.place)
    assert {key: str(edge) for key, edge in greet.values["keys"].items()} == {
        "1": "sales",
        "2": "service",
        "9": "russian",
        "*": "greet",
    }
    assert greet.values["extensions"] == (Target(group="service"), Target(person="301"))
    assert (greet.values["tries"], greet.values["wait"]) == (3, 5.0)
    assert str(greet.edge("timeout")) == "anna"
    service = routing.step("reception", "service")
    assert service is not None
    assert [(str(stage.to[0]), stage.ring) for stage in service.values["dial"]] == [("service", 15.0), ("oncall", 25.0)]
    ask = routing.step("hotline", "ask")
    assert ask is not None
    assert (ask.edges["otherwise"].flow, ask.edges["otherwise"].step) == ("reception", "sales")


def test_common_options_of_a_step_are_kept() -> None:
    text = SMALL.replace(
        "night: {play: night.wav,",
        "night: {play: night.wav, title: At night, note: Ask Anna first., record: always, on_error: reject,",
    )
    routing = loaded(text).routing
    assert routing is not None
    night = routing.step("reception", "night")
    assert night is not None
    assert (night.title, night.note, night.record, str(night.on_error)) == (
        "At night",
        "Ask Anna first.",
        "always",
        "reject",
    )


def test_holidays_come_from_the_country_and_are_frozen_in() -> None:
    routing = loaded(EXAMPLE).routing
    assert routing is not None
    assert dt.date(2027, 5, 9) in routing.hours["office"].days_off
    asked: list[tuple[str, range]] = []

    def holidays_for(country: str, years: range) -> list[dt.date]:
        asked.append((country, years))
        return [dt.date(2026, 11, 24)]

    text = load_text(EXAMPLE, path="p", company="acme", holidays_for=holidays_for, years=range(2026, 2027))
    assert asked == [("RU", range(2026, 2027))]
    assert text.routing is not None
    assert text.routing.hours["office"].days_off == frozenset([dt.date(2026, 11, 24)])


def test_a_company_without_holidays_in_its_hours_does_not_ask_for_them() -> None:
    def holidays_for(country: str, years: range) -> None:
        raise AssertionError("nobody asked")

    text = SMALL.replace(", holidays: closed", "")
    assert load_text(text, path="p", company="volga", holidays_for=holidays_for).problems == []


# ------------------------------------------------------------------------------------------ the language


@pytest.mark.parametrize("verb", RESERVED_VERBS)
def test_a_verb_of_a_later_version_is_named_as_such(verb: str) -> None:
    text = SMALL.replace("play: night.wav", f"{verb}: x")
    (line,) = problems(text)
    assert f'E403 "{verb}" is a verb of a later version' in line


def test_a_section_that_is_no_mapping_is_one_mistake() -> None:
    assert problems(SMALL.replace("[301, 302]", "service").replace("groups:\n  service: service", "groups: none")) == [
        "acme.yaml:11:9: E303 the section groups is a mapping of names to what they are"
    ]


def test_text_without_sounds_is_no_mistake_and_sounds_are_only_checked_when_they_are_known() -> None:
    text = SMALL.replace("night.wav", "We are closed.")
    assert load_text(text, path="p", company="volga", sounds=frozenset()).problems == []
    assert load_text(SMALL, path="p", company="volga", sounds=None).problems == []
    assert [p.code for p in load_text(SMALL, path="p", company="volga", sounds=frozenset()).problems] == ["E209"]


def test_problems_are_sorted_by_place_and_told_once() -> None:
    found = loaded(SMALL.replace("message", "mesage", 1).replace("greet}", "gret}").replace("[301]", "[309]")).problems
    assert found == sorted(found, key=lambda problem: problem.place)
    assert len(found) == len(set(found))


def test_a_file_with_very_many_problems_says_how_many_are_not_shown() -> None:
    people = "".join(f"  {i}: {{nam: x}}\n" for i in range(400, 900))
    found = loaded(SMALL.replace("people:\n", "people:\n" + people)).problems
    assert len(found) == load.MOST_PROBLEMS + 1
    assert str(found[-1]).endswith("E120 200 more problems are not shown; mend these first")


def test_warnings_alone_never_keep_a_file_from_going_live_however_many() -> None:
    lost = "".join(f"    lost{i}: {{hangup: busy}}\n" for i in range(310))
    found = loaded(SMALL + lost)
    assert found.routing is not None
    assert {problem.severity for problem in found.problems} == {"warning"}
    assert str(found.problems[-1]).endswith("W550 10 more warnings are not shown; mend these first")


def test_errors_come_before_warnings_where_not_all_are_shown() -> None:
    lost = "".join(f"    lost{i}: {{hangup: busy}}\n" for i in range(400))
    found = loaded(SMALL.replace("message: {voicemail: [301]", "message: {voicemail: [309]") + lost)
    assert [str(problem.place) for problem in found.problems if problem.code == "E202"] == ["acme.yaml:27:27"]
    last = loaded(SMALL + lost + "    last: {dial: 309, otherwise: hangup}\n").problems
    assert [problem.place.line for problem in last if problem.severity == "error"] == [429]


@pytest.mark.parametrize("text", ["", "x", "- a", "a: b", "cordboard: 1", "{}", "[]", "---", "\0", "%YAML 9.9"])
def test_a_file_that_is_no_company_is_refused_without_an_exception(text: str) -> None:
    result = loaded(text)
    assert result.routing is None
    assert result.problems


@pytest.mark.parametrize("seed", range(6))
def test_mutilated_companies_never_raise(seed: int) -> None:
    chance = random.Random(seed)
    lines = EXAMPLE.splitlines()
    words = ["[]", "{}", "x", "''", "301", "{a: b}", "[[]]", "greet", "*", "null", "${x}", "hangup", "1s", "|"]
    for _ in range(60):
        mutilated = list(lines)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(mutilated))
            head, colon, _ = mutilated[at].partition(":")
            kind = chance.randrange(4)
            if kind == 0:
                del mutilated[at]
            elif kind == 1:
                mutilated[at] = f"{head}{colon} {chance.choice(words)}"
            elif kind == 2:
                mutilated[at] = mutilated[at].replace(chance.choice(lines).strip()[:4], chance.choice(words))
            else:
                mutilated.insert(at, chance.choice(lines))
        result = loaded("\n".join(mutilated))
        assert (result.routing is None) == any(problem.severity == "error" for problem in result.problems)


# --------------------------------------------------------------------------------------- stored versions


def test_a_stored_version_reads_back_as_the_same_routing() -> None:
    entry = loaded(EXAMPLE)
    assert entry.routing is not None
    again = load_compiled(compiled(entry)[1])
    assert again.version == entry.routing.version
    assert len(again.version) == 16
    assert again.people == entry.routing.people
    assert again.hours == entry.routing.hours
    assert again.rehearsals == entry.routing.rehearsals
    for flow in entry.routing.flows.values():
        for step in flow.steps.values():
            other = again.step(step.flow, step.name)
            assert other is not None
            assert (other.values, other.edges) == (step.values, step.edges)


def test_the_version_follows_the_content_and_nothing_else() -> None:
    def version(text: str, company: str = "acme", path: str = "p") -> str:
        routing = load_text(text, path=path, company=company).routing
        assert routing is not None
        return routing.version

    assert version(EXAMPLE) == version(EXAMPLE, path="elsewhere")
    assert version(EXAMPLE) != version(EXAMPLE + "# x\n")
    assert version(EXAMPLE) != version(EXAMPLE, company="other")


def test_a_stored_version_keeps_the_holidays_it_was_published_with() -> None:
    entry = load_text(EXAMPLE, path="p", company="acme", holidays_for=lambda country, years: [dt.date(2026, 11, 24)])
    again = load_compiled(compiled(entry)[1])
    assert again.hours["office"].days_off == frozenset([dt.date(2026, 11, 24)])
    assert again.hours["shut"].days_off == frozenset()


def test_a_stored_version_is_not_checked_again() -> None:
    # Accepted once; a check that a later program adds must not take it from its live calls.
    text = SMALL.replace("star: greet}", "2: service}").replace("dial: service", "dial: nobody")
    stored = json.dumps({"format": 1, "company": "volga", "holidays": [], "source": text}).encode()
    assert load_compiled(stored).step("reception", "service") is not None


@pytest.mark.parametrize(
    "stored",
    [b"", b"{}", b"[]", b"\xff", b"null", b'{"format":3,"company":"a","holidays":[],"source":""}', b"[" * 100_000]
    + [
        json.dumps({"format": 1, "company": "a", "holidays": days, "source": "x: y"}).encode()
        for days in ([], ["x"], 3)
    ],
)
def test_a_stored_version_that_cannot_be_read_is_an_error_of_its_own(stored: bytes) -> None:
    with pytest.raises(LoadError):
        load_compiled(stored)


# ------------------------------------------------------------------------------------------ directories


def write(directory: Path, **files: str) -> None:
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text, encoding="utf-8")
    for company in {name.partition("__")[0] for name in files}:
        sounds = directory / "sounds" / company
        sounds.mkdir(parents=True, exist_ok=True)
        for sound in SOUNDS:
            (sounds / sound).touch()


OTHER = SMALL.replace("+74951234567", "+74951234568")


def test_each_file_of_a_directory_is_a_company(tmp_path: Path) -> None:
    write(tmp_path, volga__yaml=SMALL, don__yaml=OTHER)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.yaml").write_text("x")
    entries = load_directory(tmp_path)
    assert [(entry.company, entry.path) for entry in entries] == [
        ("don", str(tmp_path / "don.yaml")),
        ("volga", str(tmp_path / "volga.yaml")),
    ]
    assert check_loaded(entries) == []


def test_a_number_of_two_companies_is_the_mistake_of_the_second(tmp_path: Path) -> None:
    write(tmp_path, volga__yaml=SMALL, don__yaml=SMALL)
    (line,) = (str(problem) for problem in check_directory(tmp_path))
    assert line == (
        f"{tmp_path}/volga.yaml:7:3: E502 +74951234567 is owned by another company already: {tmp_path}/don.yaml:7:3"
    )


def test_a_number_claimed_by_a_file_with_mistakes_is_still_claimed(tmp_path: Path) -> None:
    write(tmp_path, volga__yaml=SMALL, don__yaml=SMALL.replace("otherwise: clock", "otherwise: clok"))
    assert [problem.code for problem in check_directory(tmp_path)] == ["E201", "E502"]


def test_sounds_are_looked_for_in_the_companys_own_directory(tmp_path: Path) -> None:
    write(tmp_path, volga__yaml=SMALL)
    assert check_directory(tmp_path) == []
    (tmp_path / "sounds/volga/night.wav").unlink()
    (line,) = (str(problem) for problem in check_directory(tmp_path))
    assert 'E209 the sound "night.wav" is not in sounds/volga/' in line
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "volga").mkdir(parents=True)
    (elsewhere / "volga/night.wav").touch()
    assert check_directory(tmp_path, elsewhere) == []


@pytest.mark.parametrize(
    "name", ["Volga.yaml", "1c.yaml", "volga don.yaml", f"{'x' * 32}.yaml", "volga.yml", "a_b.yaml"]
)
def test_a_file_whose_name_is_no_company_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(SMALL)
    (problem,) = check_directory(tmp_path)
    assert problem.code == "E119"
    assert str(problem.place) == f"{tmp_path}/{name}:1:1"


def test_a_file_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    write(tmp_path, volga__yaml=SMALL)
    (tmp_path / "broken.yaml").mkdir()
    (tmp_path / "huge.yaml").write_bytes(b"#" * (nodes.LARGEST_FILE + 1))
    assert [(problem.code, Path(problem.place.path).name) for problem in check_directory(tmp_path)] == [
        ("E118", "broken.yaml"),
        ("E112", "huge.yaml"),
    ]
    assert [entry.company for entry in load_directory(tmp_path) if entry.routing] == ["volga"]


def test_a_directory_that_is_missing_or_empty_is_a_problem_not_silence(tmp_path: Path) -> None:
    assert [problem.code for problem in check_directory(tmp_path)] == ["E118"]
    assert [problem.code for problem in check_directory(tmp_path / "nowhere")] == ["E118"]
    with pytest.raises(LoadError):
        load_directory(tmp_path / "nowhere")


def test_five_thousand_people_load_in_time() -> None:
    people = "".join(
        f"  {i:05}: {{name: Person {i}, email: p{i}@acme.test, mobile: '+7916{i:07}', forward: {{busy: 301}}}}\n"
        for i in range(5000)
    )
    began = time.process_time()
    result = loaded(EXAMPLE.replace("people:", "people:  #", 1).replace("  301:\n", people + "  301:\n", 1))
    took = time.process_time() - began
    assert result.problems == []
    assert result.routing is not None
    assert len(result.routing.people) == 5003
    assert took < 6, "the aim is 2 s; this allows for a slow machine"


class TestOneCompany:
    def files(self, tmp_path: Path, *names: str) -> Path:
        for name in names:
            (tmp_path / f"{name}.yaml").write_text(EXAMPLE)
        return tmp_path

    def test_a_file_is_one_company(self, tmp_path: Path) -> None:
        assert load_company(self.files(tmp_path, "one", "two") / "two.yaml").company == "two"

    def test_of_several_one_must_be_named(self, tmp_path: Path) -> None:
        folder = self.files(tmp_path, "one", "two")
        assert load_company(folder, "one").company == "one"
        with pytest.raises(LoadError, match="several companies: name one with --company: one, two"):
            load_company(folder)

    def test_a_name_of_nobody_is_told_with_those_there_are(self, tmp_path: Path) -> None:
        with pytest.raises(LoadError, match="there is no company three here; there is: one"):
            load_company(self.files(tmp_path, "one"), "three")


def test_joiners_stand_in_what_people_hear_and_read_and_in_no_other_word() -> None:
    persian = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    text = """cordboard: 1
company: TEXT
country: RU
timezone: UTC
languages: [en]
people: {301: {name: TEXT}}
numbers: {"+74951234567": {flow: main, set: {brand: VALUE}}}
flows: {main: {a: {play: TEXT, title: TEXT}}}
"""
    good = text.replace("TEXT", persian).replace("VALUE", "x")
    assert load_text(good, path="f", company="t").problems == []
    for bad in (good.replace("x}", f"{persian}}}"), good.replace("main", persian), good.replace("RU", persian)):
        assert "E115" in {found.code for found in load_text(bad, path="f", company="t").problems}
