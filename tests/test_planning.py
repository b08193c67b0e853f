"""What a publication would change: what is asked, what is held back, and whom a held company holds in turn."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st

from callcontrol.planning import File, Live, Pin, Plan, decide
from callcontrol.routing.model import Place

OLD, NEW = "0" * 16, "1" * 16
PIN = Pin(OLD, "anna", 1_790_000_000.0, "the new menu loses callers")


def file(company: str, *numbers: str, version: str | None = NEW) -> File:
    places = {number: Place(f"routing/{company}.yaml", line, 3) for line, number in enumerate(numbers, start=6)}
    return File(f"routing/{company}.yaml", version, places)


def live(*numbers: str, version: str = OLD) -> Live:
    return Live(version, frozenset(numbers))


def plan(
    files: Mapping[str, File],
    lives: Mapping[str, Live],
    pins: Mapping[str, Pin] | None = None,
    *,
    only: Collection[str] = (),
    yes: bool = False,
) -> Plan:
    asked = decide("routing", files, lives, pins or {}, only=only)
    if not yes:
        return asked
    return decide("routing", files, lives, pins or {}, only=only, confirmed={need.token for need in asked.needs})


def said(found: Plan) -> list[str]:
    return [str(problem) for problem in found.problems]


def asked(found: Plan) -> list[str]:
    return [need.text for need in found.needs]


def test_a_fresh_state_has_nothing_to_ask() -> None:
    found = plan({"acme": file("acme", "+1"), "beta": file("beta", "+2")}, {})
    assert found == Plan({"acme": NEW, "beta": NEW})


def test_a_change_a_new_company_and_numbers_of_nobody_go_live_at_once() -> None:
    files = {"acme": file("acme", "+1", "+3"), "beta": file("beta", "+2"), "bad": file("bad", version=None)}
    found = plan(files, {"acme": live("+1", "+4"), "bad": live("+9")})
    assert found == Plan({"acme": NEW, "beta": NEW, "bad": OLD})


class TestGone:
    lives: ClassVar = {"acme": live("+1"), "beta": live("+2")}

    def test_a_company_without_a_file_goes_on_and_is_told_of(self) -> None:
        found = plan({"acme": file("acme", "+1")}, self.lives)
        assert found.live == {"acme": NEW, "beta": OLD}
        assert said(found) == [
            f"routing/beta.yaml:1:1: E520 the file of beta is gone: it goes on by version {OLD}"
            " until cordboard publish has asked"
        ]

    def test_it_is_withdrawn_with_a_yes(self) -> None:
        found = plan({"acme": file("acme", "+1")}, self.lives, yes=True)
        assert found.live == {"acme": NEW}
        assert (asked(found), said(found)) == (["beta takes no more calls (+2): its file is gone"], [])

    def test_a_yes_is_for_what_was_shown(self) -> None:
        shown = plan({}, {"beta": live("+2")}).needs
        found = decide("routing", {}, {"beta": live("+2", "+3")}, {}, confirmed=[need.token for need in shown])
        assert found.live == {"beta": OLD}

    def test_where_others_were_named_it_is_not_asked_about(self) -> None:
        found = plan({"acme": file("acme", "+1")}, self.lives, only={"acme"})
        assert (found.live, found.needs, found.problems) == ({"acme": NEW, "beta": OLD}, (), ())


class TestMoves:
    def test_both_ends_of_a_move_stay_until_it_is_asked(self) -> None:
        files = {"acme": file("acme", "+1"), "beta": file("beta", "+2", "+3"), "other": file("other", "+9")}
        lives = {"acme": live("+1", "+3"), "beta": live("+2"), "other": live("+9")}
        found = plan(files, lives)
        assert found.live == {"acme": OLD, "beta": OLD, "other": NEW}
        assert said(found) == [
            "routing/beta.yaml:7:3: E521 +3 would move from acme to beta;"
            " acme and beta stay as they are until cordboard publish has asked"
        ]
        found = plan(files, lives, yes=True)
        assert found.live == {"acme": NEW, "beta": NEW, "other": NEW}
        assert (asked(found), said(found)) == (["+3 moves from acme to beta"], [])

    def test_a_new_company_that_takes_a_number_is_not_live_before(self) -> None:
        files = {"acme": file("acme", "+1"), "beta": file("beta", "+3")}
        assert plan(files, {"acme": live("+1", "+3")}).live == {"acme": OLD}

    def test_whoever_depends_on_a_company_that_is_held_is_held(self) -> None:
        """a -> b -> c: no to the first keeps the second, so the third cannot have its number either."""
        files = {"a": file("a", "+9"), "b": file("b", "+1"), "c": file("c", "+2"), "d": file("d", "+4")}
        lives = {"a": live("+1"), "b": live("+2"), "c": live(), "d": live("+4")}
        every = plan(files, lives)
        second = [need.token for need in every.needs if "b to c" in need.text]
        found = decide("routing", files, lives, {}, confirmed=second)
        assert found.live == {"a": OLD, "b": OLD, "c": OLD, "d": NEW}
        assert [problem.code for problem in found.problems] == ["E521", "E524"]
        assert "+2 cannot move from b to c while another of their moves is held back" in said(found)[1]

    def test_two_may_change_their_numbers(self) -> None:
        files = {"a": file("a", "+2"), "b": file("b", "+1")}
        lives = {"a": live("+1"), "b": live("+2")}
        assert plan(files, lives).live == {"a": OLD, "b": OLD}
        assert plan(files, lives, yes=True).live == {"a": NEW, "b": NEW}

    def test_a_number_stays_with_a_company_whose_file_is_wrong(self) -> None:
        files = {"acme": file("acme", version=None), "beta": file("beta", "+1")}
        found = plan(files, {"acme": live("+1")}, yes=True)
        assert (found.live, found.needs) == ({"acme": OLD}, ())
        assert said(found) == [
            "routing/beta.yaml:6:3: E524 +1 belongs to acme, and the file of acme cannot go live:"
            " acme and beta stay as they are"
        ]

    def test_a_number_is_not_given_up_to_a_file_that_is_wrong(self) -> None:
        files = {"acme": file("acme", "+2"), "beta": file("beta", "+1", version=None)}
        found = plan(files, {"acme": live("+1", "+2")}, yes=True)
        assert found.live == {"acme": OLD}
        assert "E524 +1 belongs to acme, and the file of beta cannot go live" in said(found)[0]

    def test_a_number_in_both_files_is_the_others_mistake_and_no_move(self) -> None:
        files = {"acme": file("acme", "+1"), "beta": file("beta", "+1", version=None)}
        assert plan(files, {"acme": live("+1"), "beta": live("+2")}) == Plan({"acme": NEW, "beta": OLD})

    def test_the_owner_does_not_lose_a_number_because_its_file_comes_later(self) -> None:
        files = {"acme": file("acme", "+1"), "beta": file("beta", "+1", version=None)}
        found = plan(files, {"beta": live("+1")}, yes=True)
        assert found.live == {"beta": OLD}
        assert [problem.code for problem in found.problems] == ["E524"]

    def test_one_end_alone_is_not_published(self) -> None:
        files = {"acme": file("acme"), "beta": file("beta", "+1")}
        for only in ("acme", "beta"):
            found = plan(files, {"acme": live("+1"), "beta": live()}, only={only}, yes=True)
            assert found.live == {"acme": OLD, "beta": OLD}
            assert "is not published with it: name both, --company acme --company beta" in said(found)[0]

    def test_many_numbers_are_one_question(self) -> None:
        numbers = [f"+{n}" for n in range(1000)]
        files = {"acme": file("acme"), "beta": file("beta", *numbers)}
        found = plan(files, {"acme": live(*numbers), "beta": live()})
        assert asked(found) == ["+0, +1, +10 and 997 more move from acme to beta"]


class TestRenaming:
    files: ClassVar = {"acme-windows": file("acme-windows", "+1", "+2")}
    lives: ClassVar = {"acme": live("+1", "+2")}

    def test_a_company_that_looks_renamed_keeps_its_name_until_it_is_asked(self) -> None:
        found = plan(self.files, self.lives)
        assert found.live == {"acme": OLD}
        assert said(found) == [
            "routing/acme-windows.yaml:6:3: E522 acme looks renamed: its file is gone, and acme-windows has its"
            " +1, +2; acme and acme-windows stay as they are until cordboard publish has asked"
        ]

    def test_it_is_one_question(self) -> None:
        found = plan(self.files, self.lives, yes=True)
        assert found.live == {"acme-windows": NEW}
        assert asked(found) == ["acme is renamed acme-windows, which takes over +1, +2"]

    def test_the_new_file_must_be_right(self) -> None:
        found = plan({"acme-windows": file("acme-windows", "+1", version=None)}, self.lives, yes=True)
        assert found.live == {"acme": OLD}
        assert "E524 +1 belongs to acme, and the file of acme-windows cannot go live" in said(found)[0]

    def test_a_company_that_is_split_is_asked_about_once_for_each(self) -> None:
        files = {"north": file("north", "+1", "+2"), "south": file("south", "+3")}
        found = plan(files, {"acme": live("+1", "+2", "+3")}, yes=True)
        assert found.live == {"north": NEW, "south": NEW}
        assert asked(found) == ["+3 moves from acme to south", "acme is renamed north, which takes over +1, +2"]


class TestPins:
    def test_a_pinned_company_is_left_alone_and_that_is_said(self) -> None:
        found = plan({"acme": file("acme", "+1")}, {"acme": live("+1")}, {"acme": PIN})
        assert (found.live, found.pinned) == ({"acme": OLD}, {"acme": False})
        assert said(found) == [
            f"routing/acme.yaml:1:1: W538 acme is pinned to version {OLD} by anna since 2026-09-21 14:13 UTC"
            " (the new menu loses callers), and its file says something else:"
            " cordboard publish --company acme ends the pin"
        ]

    def test_its_file_may_say_the_same_be_wrong_or_gone(self) -> None:
        same = plan({"acme": file("acme", "+1", version=OLD)}, {"acme": live("+1")}, {"acme": PIN})
        assert (said(same), same.pinned) == ([], {"acme": True})
        wrong = plan({"acme": file("acme", version=None)}, {"acme": live("+1")}, {"acme": PIN})
        assert "its file cannot go live" in said(wrong)[0]
        gone = plan({}, {"acme": live("+1")}, {"acme": PIN})
        assert (gone.live, "its file is gone" in said(gone)[0]) == ({"acme": OLD}, True)

    def test_naming_it_ends_the_pin(self) -> None:
        for version in (OLD, NEW):
            found = plan({"acme": file("acme", version=version)}, {"acme": live()}, {"acme": PIN}, only={"acme"})
            assert (found.live, list(found.released), said(found)) == ({"acme": version}, ["acme"], [])

    def test_what_its_file_would_make_it_is_offered_if_that_could_go_live(self) -> None:
        has, pins = {"acme": live("+1")}, {"acme": PIN}
        assert plan({"acme": file("acme", "+1")}, has, pins).offered == {"acme": NEW}
        for its in ({"acme": file("acme", version=None)}, {"acme": file("acme", "+1", version=OLD)}, {}):
            assert plan(its, has, pins).offered == {}

    def test_a_yes_to_one_ends_its_pin_and_the_others_are_published_as_ever(self) -> None:
        files = {name: file(name) for name in ("acme", "beta", "gamma")}
        has = {name: live() for name in files}
        pins = {"acme": PIN, "beta": PIN}
        found = decide("routing", files, has, pins, unpinned={"acme"})
        assert found.live == {"acme": NEW, "beta": OLD, "gamma": NEW}
        assert (list(found.released), found.pinned) == (["acme"], {"beta": False})

    def test_a_pin_that_ends_stays_while_a_number_of_the_company_cannot_move(self) -> None:
        files = {"acme": file("acme"), "beta": file("beta", "+1")}
        has = {"acme": live("+1"), "beta": live()}
        found = decide("routing", files, has, {"acme": PIN}, unpinned={"acme"})
        assert (found.live, list(found.released), found.pinned) == ({"acme": OLD, "beta": OLD}, [], {"acme": False})
        assert [need.text for need in found.needs] == ["+1 moves from acme to beta"]

    def test_a_file_that_is_wrong_does_not_end_it(self) -> None:
        found = plan({"acme": file("acme", version=None)}, {"acme": live()}, {"acme": PIN}, only={"acme"})
        assert (found.live, list(found.released)) == ({"acme": OLD}, [])

    def test_a_number_of_a_pinned_company_does_not_move(self) -> None:
        files = {"acme": file("acme"), "beta": file("beta", "+1")}
        found = plan(files, {"acme": live("+1"), "beta": live()}, {"acme": PIN}, yes=True)
        assert found.live == {"acme": OLD, "beta": OLD}
        assert f"+1 belongs to acme, and acme is pinned to version {OLD}" in "\n".join(said(found))


companies = st.sampled_from(["a", "b", "c", "d", "e"])
numbers = st.sets(st.sampled_from(["+1", "+2", "+3", "+4"]))


@given(
    st.dictionaries(companies, st.tuples(numbers, st.booleans())),
    st.dictionaries(companies, numbers),
    st.sets(companies),
    st.sets(companies),
    st.data(),
)
@settings(max_examples=300)
def test_no_number_ever_has_two_owners_or_goes_astray(
    wanted: Mapping[str, tuple[set[str], bool]],
    has: Mapping[str, set[str]],
    pinned: set[str],
    only: set[str],
    data: st.DataObject,
) -> None:
    """Whatever is asked and answered: one owner for each, and a number that some file claims is not given up for it."""
    owned: set[str] = set()
    lives = {}
    for company, its in sorted(has.items()):
        lives[company] = live(*(its - owned))
        owned |= its
    claimed: set[str] = set()
    files = {}
    for company, (its, right) in sorted(wanted.items()):
        twice = its & claimed  # E502: the later file is wrong
        claimed |= its
        files[company] = file(company, *sorted(its), version=NEW if right and not twice else None)
    pins = {company: PIN for company in pinned if company in lives}
    every = plan(files, lives, pins, only=only)
    yes = data.draw(st.sets(st.sampled_from([need.token for need in every.needs]))) if every.needs else set()
    found = decide("routing", files, lives, pins, only=only, confirmed=yes)
    after: dict[str, str] = {}
    for company, version in found.live.items():
        for number in files[company].numbers if version == NEW else lives[company].numbers:
            assert after.setdefault(number, company) == company
    for number in owned & claimed:
        assert number in after
