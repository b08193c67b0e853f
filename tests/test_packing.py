"""Packed routing: reads back as the same, piece by piece, and is only ever data."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import pickle
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callcontrol.routing.load import compiled, load_compiled, load_text
from callcontrol.routing.model import Person, Place, Routing
from callcontrol.routing.packing import PIECE, PackError, pack, program, unpack, unpacked
from callcontrol.steps import VERBS

ROOT = Path(__file__).parent.parent
SOURCES = [ROOT / "routing/acme.yaml", *sorted((ROOT / "tests/corpus").glob("*.yaml"))]


def parsed(path: Path, more: str = "") -> Routing | None:
    """The routing of a file as a controller parses it; None if it has errors."""
    text = path.read_bytes().decode(errors="replace").replace("flows:\n", more or "flows:\n")
    entry = load_text(text, path=str(path), company="acme")
    return load_compiled(compiled(entry, {"hi.wav": "abc"}, {"en": "amy"})[1]) if entry.routing else None


ACME = parsed(SOURCES[0])
assert ACME is not None
PACKED = pack(ACME)


def again(routing: Routing) -> Routing:
    return unpacked(pack(routing), routing.company, routing.version)


def with_body(*lines: Any) -> bytes:
    """Bytes that are right in everything but what they say."""
    body = b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    assert ACME is not None
    header = {"program": program(), "company": "acme", "version": ACME.version, "sha256": digest(body)}
    return json.dumps(header).encode() + b"\n" + body


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def read(data: bytes) -> Routing:
    assert ACME is not None
    return unpacked(data, "acme", ACME.version)


COMPANIES = {path.stem: routing for path in SOURCES if (routing := parsed(path)) is not None}
ASIDE = "flows:\n  aside:\n    go: {flow: reception, then: hangup}\n"
COMPANIES["aside"] = parsed(SOURCES[0], ASIDE) or ACME


@pytest.mark.parametrize("routing", COMPANIES.values(), ids=COMPANIES)
def test_a_packed_routing_reads_back_as_the_parsed_one(routing: Routing) -> None:
    found = again(routing)
    assert pack(found) == pack(routing)  # the same to the last place
    parts = {field.name for field in fields(Routing)} - {"flows"}  # steps know no equality
    assert [getattr(found, part) for part in parts] == [getattr(routing, part) for part in parts]
    assert list(found.flows) == list(routing.flows)
    for flow in routing.flows.values():
        assert (found.flows[flow.name].start, found.flows[flow.name].place) == (flow.start, flow.place)
        for name, step in flow.steps.items():
            other = found.step(flow.name, name)
            assert type(other) is type(step)
            assert vars(other) == vars(step)


def test_the_companies_packed_here_use_every_verb() -> None:
    steps = [step for company in COMPANIES.values() for flow in company.flows.values() for step in flow.steps.values()]
    used = {step.verb for step in steps}
    assert used == set(VERBS)


def test_what_is_packed_when_published_is_what_a_controller_would_parse() -> None:
    entry = load_text(SOURCES[0].read_text(), path="/somewhere/else/acme.yaml", company="acme")
    routing, stored = compiled(entry)
    assert pack(routing) == pack(load_compiled(stored))


def test_something_that_is_not_of_the_model_is_refused_when_it_is_packed() -> None:
    assert ACME is not None
    with pytest.raises(PackError, match=r"builtins\.object"):
        pack(replace(ACME, outbound={"x": object()}))


def test_a_large_company_is_read_in_pieces() -> None:
    assert ACME is not None
    one = ACME.people["301"]
    large = replace(ACME, people={f"{n:05}": replace(one, extension=f"{n:05}") for n in range(20 * PIECE)})
    steps = unpack(pack(large), large.company, large.version)
    assert len(list(steps)) >= 20
    assert again(large).people == large.people


def test_the_days_off_of_a_country_are_kept_once() -> None:
    assert ACME is not None
    first, second = again(ACME), again(replace(ACME, version="0" * 16))
    assert first.hours["office"].days_off is second.hours["office"].days_off


@pytest.mark.parametrize("what", ["company", "version", "program"])
def test_what_was_packed_for_something_else_is_refused(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ACME is not None
    asked = {"company": "acme", "version": ACME.version}
    if what == "program":
        monkeypatch.setattr("callcontrol.routing.packing.program", lambda: "0" * 12)
    else:
        asked[what] = "other"
    with pytest.raises(PackError, match="another"):
        unpacked(PACKED, **asked)


@settings(deadline=None)
@given(at=st.integers(0, len(PACKED) - 1), byte=st.integers(0, 255))
def test_a_byte_that_changed_is_noticed(at: int, byte: int) -> None:
    damaged = PACKED[:at] + bytes([byte]) + PACKED[at + 1 :]
    if damaged != PACKED:
        with pytest.raises(PackError):
            read(damaged)


@settings(deadline=None)
@given(at=st.integers(0, len(PACKED) - 1))
def test_a_file_that_was_cut_short_is_noticed(at: int) -> None:
    with pytest.raises(PackError):
        read(PACKED[:at])


class Bomb:
    """Runs when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_a_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "ran"))
    pickle.loads(bomb)
    (tmp_path / "ran").unlink()
    for data in (bomb, PACKED.splitlines(keepends=True)[0] + bomb, with_body(bomb)):
        with pytest.raises(PackError):
            read(data)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "value",
    [
        [-1],
        [10_000],
        [1.5],
        ["Person"],
        [[0]],
        [None],
        [],
        [8],
        [3, "x"],
        [4, 10**12],
        [5, "today"],
        [2, {}],
        [7],
        json.loads("[0," * 500 + "1" + "]" * 500),
    ],
    ids=str,
)
def test_data_that_means_nothing_is_refused(value: Any) -> None:
    good = [json.loads(line) for line in PACKED.splitlines()[1:]]
    with pytest.raises(PackError):
        read(with_body(*good, ["title", value]))


def test_only_what_a_routing_has_can_be_given_to_it() -> None:
    good = [json.loads(line) for line in PACKED.splitlines()[1:]]
    assert read(with_body(*good)).company == "acme"
    with pytest.raises(PackError):
        read(with_body(*good, ["__class__", 1]))
    with pytest.raises(PackError):
        read(with_body(*good[1:]))


def test_days_and_moments_come_back_as_such() -> None:
    assert ACME is not None
    given_ = {"a": dt.date(2026, 1, 2), "b": dt.datetime(2026, 1, 2, 3, 4), "c": frozenset("xy"), "d": [1, (2.5, None)]}
    assert again(replace(ACME, outbound=given_)).outbound == given_


def test_a_place_is_in_the_companys_file_whatever_the_path_was() -> None:
    assert ACME is not None
    person = replace(ACME.people["301"], place=Place("/secret/path/acme.yaml", 3, 4))
    found: Person = again(replace(ACME, people={"301": person})).people["301"]
    assert found.place == Place("acme.yaml", 3, 4)
