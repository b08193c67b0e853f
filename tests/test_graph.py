"""Pictures of flows: everything that is in the routing is in the picture once, and nothing else gets in."""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.cli import main
from callcontrol.routing.files import load_company
from callcontrol.routing.load import load_text
from callcontrol.routing.model import Routing
from callcontrol.steps import VERBS
from callcontrol.workbench import drawing, graph
from callcontrol.workbench.graph import Picture, pictures, schedule
from tests.playbook import HEAD, routing
from tests.test_layout import overlap

ROUTING = Path(__file__).parent.parent / "routing"
SVG = "{http://www.w3.org/2000/svg}"

FLOWS = """\
main:
  on_error: sorry
  clock: {hours: {office: greet}, otherwise: night}
  greet:
    menu: {en: "For sales press 1. Wrong keys are of no use at all to anybody who presses them.", ru: Нажмите 1.}
    keys: {1: sales, 2: sales, 3: ask, star: greet, hash: other}
    extensions: [team]
    timeout: hangup
    otherwise: main
  sales: {dial: [{to: team, ring: 15s}, {to: 301, ring: 25s}], title: The team, busy: other/late, otherwise: night}
  ask: {flow: survey, then: hangup}
  night: {voicemail: [301], then: hangup}
  sorry: {play: Sorry., then: night}
  lost: {play: Nobody hears this., then: night}
survey:
  how: {collect: How many?, digits: 2, into: many, then: return, otherwise: return}
other:
  early: {play: Early., then: late}
  late: {hangup: busy}
alone:
  nobody: {play: Nobody., then: nowhere}
  nowhere: {hangup: busy}
  never: {hangup: busy}
"""


def all_of(known: Routing) -> dict[str, Picture]:
    return {picture.flow: picture for picture in pictures(known)}


@pytest.fixture(scope="module")
def acme() -> Routing:
    loaded = load_company(ROUTING)
    assert loaded.routing is not None
    return loaded.routing


@pytest.fixture(scope="module")
def known() -> Routing:
    return routing(FLOWS)


def texts(svg: str) -> list[str]:
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


class TestWhatIsShown:
    @pytest.mark.parametrize("which", ["acme", "known"])
    def test_every_step_and_every_edge_stands_in_the_svg_exactly_once(
        self, which: str, request: pytest.FixtureRequest
    ) -> None:
        company: Routing = request.getfixturevalue(which)
        for picture in pictures(company):
            root = ElementTree.fromstring(drawing.svg(picture))
            flow = company.flows[picture.flow]
            ids = Counter(one.get("id", "") for one in root.iter(f"{SVG}g"))
            assert {id_: count for id_, count in ids.items() if id_} == {
                f"{flow.name}.{name}": 1 for name in flow.steps
            }
            found = Counter(one.get("data-edge") for one in root.iter(f"{SVG}text") if one.get("data-edge"))
            wanted = Counter(label for step in flow.steps.values() for label, _ in step.all_edges(company))
            assert found == wanted + Counter(["on_error"] if flow.on_error else [])

    def test_every_arrow_leads_where_its_edge_does(self, known: Routing) -> None:
        picture = all_of(known)["main"]
        named = {node.id: node for node in picture.nodes}
        found = {
            (arrow.source, label.edge): named[arrow.target].name for arrow in picture.arrows for label in arrow.labels
        }
        assert found == {
            ("clock", "hours office"): "greet",
            ("clock", "otherwise"): "night",
            ("greet", "keys 1"): "sales",
            ("greet", "keys 2"): "sales",
            ("greet", "keys 3"): "ask",
            ("greet", "keys *"): "greet",
            ("greet", "keys #"): "other",
            ("greet", "timeout"): "hangup",
            ("greet", "otherwise"): "clock",
            ("sales", "busy"): "other/late",
            ("sales", "otherwise"): "night",
            ("ask", "then"): "hangup",
            ("night", "then"): "hangup",
            ("sorry", "then"): "night",
            ("lost", "then"): "night",
            ("(any)", "on_error"): "sorry",
        }

    def test_a_label_is_the_key_the_hours_or_the_outcome(self, known: Routing) -> None:
        labels = {label.edge: label for arrow in all_of(known)["main"].arrows for label in arrow.labels}
        assert {edge: (label.text, label.tone) for edge, label in labels.items()} == {
            "hours office": ("office", "time"),
            "keys 1": ("1", "key"),
            "keys 2": ("2", "key"),
            "keys 3": ("3", "key"),
            "keys *": ("*", "key"),
            "keys #": ("#", "key"),
            "timeout": ("timeout", ""),
            "busy": ("busy", ""),
            "then": ("then", "good"),
            "otherwise": ("otherwise", ""),
            "on_error": ("on_error", "fault"),
        }

    def test_otherwise_says_what_it_stands_for(self, acme: Routing, known: Routing) -> None:
        found = {
            arrow.source: label.stands_for
            for company in (acme, known)
            for picture in pictures(company)
            for arrow in picture.arrows
            for label in arrow.labels
            if label.edge == "otherwise"
        }
        assert found["gate"] == ("on no list",)
        assert found["clock"] == ("none is on",)
        assert found["anna"] == ("busy", "no_answer", "unreachable", "declined", "refused")
        assert found["vip"] == ("timeout", "full", "no_agents", "paused")  # no key leads to left
        assert found["greet"] == ("invalid",)  # timeout has its own edge here
        assert found["sales"] == ("no_answer", "unreachable", "declined", "refused")

    def test_the_entry_names_the_numbers_and_what_else_leads_here(self, acme: Routing, known: Routing) -> None:
        entry = all_of(acme)["hotline"].nodes[0]
        assert [line.text for line in entry.lines] == ["+78005550101  Toll-free", "brand = Acme Doors"]
        entry = all_of(known)["other"].nodes[0]
        assert [(line.text, line.flow) for line in entry.lines] == [("from main: greet", "main")]
        assert [line.text for line in all_of(known)["survey"].nodes[0].lines] == ["from main: ask"]
        late = next(node for node in all_of(known)["other"].nodes if node.id == "late")
        assert ("from main: sales", "main") in [(line.text, line.flow) for line in late.lines]
        assert "no number, code or flow leads here" in [line.text for line in all_of(known)["alone"].nodes[0].lines]

    def test_a_flow_of_a_thousand_numbers_has_an_entry_of_some(self) -> None:
        numbers = "".join(f'  "+7495{n:07}": {{flow: main}}\n' for n in range(2000000, 2001000))
        head = re.sub(r'  "\+74951234567".*\n', lambda _: numbers, HEAD)
        entry = pictures(routing("main:\n  a: {hangup: normal}", head=head))[0].nodes[0]
        assert len(entry.lines) == 9
        assert entry.lines[-1].text == "and 992 more numbers"

    def test_whom_a_step_rings_stands_there_with_names(self, acme: Routing) -> None:
        reception = {node.id: [line.text for line in node.lines] for node in all_of(acme)["reception"].nodes}
        assert "1. service: Boris Orlov 302, Chiara Rossi 303" in reception["service"]
        assert "2. oncall, weekly in turn: Anna Petrova 301, Boris Orlov 302, Chiara Rossi 303" in reception["service"]
        assert "sales: Anna Petrova 301, Boris Orlov 302, Chiara Rossi 303" in reception["sales"]
        assert "for Anna Petrova 301, Boris Orlov 302" in reception["message"]
        assert "lunch: mon-fri 13:00-14:00; holidays closed" in reception["clock"]

    def test_a_prompt_is_told_in_the_first_language_and_in_all_on_pointing_at_it(self, known: Routing) -> None:
        greet = next(node for node in all_of(known)["main"].nodes if node.id == "greet")
        said = next(line for line in greet.lines if line.style == "said")
        assert said.text.startswith("“For sales press 1.")
        assert said.whole.splitlines()[1] == "ru: “Нажмите 1.”"
        svg = drawing.svg(all_of(known)["main"])
        assert "ru: “Нажмите 1.”" in svg
        assert any(text.endswith("…") for text in texts(svg))

    def test_what_no_call_reaches_is_grey_exactly_where_check_warns(self, known: Routing) -> None:
        loaded = load_text(
            HEAD + "flows:\n" + "".join(f"  {line}\n" for line in FLOWS.splitlines()), path="t.yaml", company="test"
        )
        warned = {problem.message.split('"')[1] for problem in loaded.problems if problem.code == "W501"}
        grey = {node.id for picture in pictures(known) for node in picture.nodes if not node.live}
        assert {one for one in grey if one in {"lost", "never"} or (" " not in one and "(" not in one)} == warned
        assert warned == {"lost", "never"}
        assert [picture.flow for picture in pictures(known) if not picture.live] == ["alone"]

    @pytest.mark.parametrize(
        ("flows", "lost"),
        [
            ("  a: {flow: sub, then: b}\n  b: {hangup: busy}\nsub:\n  c: {play: Hi., then: return}", set()),
            ("  a: {flow: sub, then: b}\n  b: {hangup: busy}\nsub:\n  c: {play: Hi., then: hangup}", {"b"}),
            ("  on_error: b\n  a: {play: Hi., then: hangup}\n  b: {hangup: busy, on_error: hangup}", set()),
            ("  on_error: b\n  a: {play: Hi., on_error: hangup}\n  b: {hangup: busy, on_error: hangup}", {"b"}),
        ],
    )
    def test_flows_that_come_back_and_crashes_reach_what_check_says(self, flows: str, lost: set[str]) -> None:
        text = f"main:\n{flows}"
        indented = "".join(f"  {line}\n" for line in text.splitlines())
        found = load_text(f"{HEAD}flows:\n{indented}", path="t.yaml", company="test").problems
        warned = {problem.message.split('"')[1] for problem in found if problem.code == "W501"}
        assert warned == lost or "W537" in {problem.code for problem in found}  # which says the same of its cause
        grey = {node.id for picture in pictures(routing(text)) for node in picture.nodes if not node.live}
        assert {one for one in grey if " " not in one} == lost

    def test_an_edge_of_a_queue_that_cannot_come_is_struck_out(self) -> None:
        head = HEAD + "queues:\n  line: {agents: [301]}\n"
        company = routing(
            "main:\n  wait: {queue: line, timeout: bye, otherwise: bye}\n  bye: {hangup: normal}", head=head
        )
        [label] = [
            label for arrow in all_of(company)["main"].arrows for label in arrow.labels if label.edge == "timeout"
        ]
        assert label.never == 'the queue "line" has no max_wait'

    def test_where_a_call_ends_without_an_edge_is_said(self, known: Routing) -> None:
        ends = {
            node.id: [line.text for line in node.lines if line.text.endswith("the call ends")]
            for picture in pictures(known)
            for node in picture.nodes
        }
        assert ends["sales"] == ends["greet"] == ["after a talk the call ends"]
        company = routing("main:\n  a: {menu: Press., keys: {1: b}, otherwise: b}\n  b: {play: Bye.}")
        assert [
            [line.text for line in node.lines if line.text.endswith("the call ends")]
            for node in pictures(company)[0].nodes
        ] == [[], [], ["then the call ends"]]

    def test_hours_are_told_on_one_line(self, acme: Routing) -> None:
        assert schedule(acme.hours["office"]) == (
            "mon-fri 09:00-13:00 14:00-18:00; sat 10:00-14:00; holidays closed; 2027-01-11 10:00-15:00"
        )
        assert schedule(acme.hours["shut"]) == "the switch *21"
        assert schedule(acme.hours["new_year"]) == "2026-12-31..2027-01-08 all day"

    def test_every_verb_has_a_kind_a_tale_and_a_colour(self) -> None:
        assert set(graph._KINDS) == set(VERBS) == set(graph._TOLD)
        assert set(graph._KINDS.values()) == set(graph.KINDS) <= set(drawing._LIGHT) & set(drawing._DARK)
        assert set(drawing._LIGHT) == set(drawing._DARK)


class TestSvg:
    def test_no_card_or_label_lies_on_another(self, acme: Routing, known: Routing) -> None:
        """Also where a small card leads to itself by many keys."""
        keys = ", ".join(f"{key}: a" for key in (*range(10), "star", "hash"))
        loop = routing(f"main:\n  a: {{menu: Hi., keys: {{{keys}}}, timeout: hangup, otherwise: a}}")
        for picture in (one for company in (acme, known, loop) for one in pictures(company)):
            layout = drawing._Svg(picture, lambda flow, step: "").arranged()
            labels = [rect for rect in layout.labels if rect.height]
            for one, other in itertools.combinations([*layout.boxes, *labels], 2):
                assert not overlap(one, other)

    def test_colours_are_written_out_for_programs_that_know_no_variables(self, acme: Routing) -> None:
        assert "var(" not in drawing.svg(pictures(acme)[0])

    def test_it_is_well_formed_labelled_and_without_scripts(self, acme: Routing) -> None:
        for picture in pictures(acme):
            svg = drawing.svg(picture)
            root = ElementTree.fromstring(svg)
            assert (root.tag, root.get("role")) == (f"{SVG}svg", "img")
            ids = {one.get("id"): one for one in root.iter()}
            assert ids[root.get("aria-labelledby")].text == f"Acme Windows: the flow {picture.flow}"
            assert "leads to" in (ids[root.get("aria-describedby")].text or "")
            assert not list(root.iter(f"{SVG}script"))
            assert not re.search(r"\son\w+=|https?:(?!//www\.w3\.org/2000/svg|//crm)|url\(|@import", svg)
            assert "prefers-color-scheme:dark" in svg

    def test_the_same_routing_gives_the_same_bytes(self, acme: Routing) -> None:
        again = load_company(ROUTING).routing
        assert again is not None
        assert [drawing.svg(one) for one in pictures(acme)] == [drawing.svg(one) for one in pictures(again)]
        assert drawing.page(pictures(acme)) == drawing.page(pictures(again))

    def test_texts_of_operators_are_texts(self) -> None:
        nasty = """<script>alert(1)</script> & "quoted" ]]> 'x'"""
        quoted = nasty.replace("'", "''")
        company = routing(
            f"main:\n  a: {{play: '{quoted}', title: '{quoted}', then: b}}\n"
            f"  b: {{menu: '{quoted}', keys: {{1: a}}, otherwise: hangup}}",
            head=HEAD.replace("name: Anna,", f"name: '{quoted}',").replace("company: Test", f"company: '{quoted}'"),
        )
        for text in (drawing.svg(pictures(company)[0]), drawing.page(pictures(company))):
            assert "<script" not in text
            assert "&lt;script&gt;" in text
        ElementTree.fromstring(drawing.svg(pictures(company)[0]))

    @given(st.text(max_size=60))
    def test_any_text_is_well_formed_and_keeps_what_can_be_seen(self, text: str) -> None:
        found = ElementTree.fromstring(f'<a b="{drawing.escaped(text)}">{drawing.escaped(text)}</a>')
        shown = "".join(
            one if one == "\n" or one.isprintable() or unicodedata.category(one) == "Zs" else "\ufffd" for one in text
        )
        assert found.text == (shown or None)

    @given(st.text(st.characters(categories=["L", "N", "P", "M", "Zs"]), max_size=80), st.integers(20, 200))
    def test_rows_fit_their_room_and_lose_nothing_without_saying_so(self, text: str, room: int) -> None:
        rows, whole = drawing.rows_of(text, room, 11.5, 2)
        assert len(rows) <= 2
        assert all(drawing.width(row, 11.5) <= room or len(row) <= 4 for row in rows)
        kept = "".join("".join(rows).split())
        assert (kept == "".join(text.split())) if whole else rows[-1].endswith("…")

    def test_a_line_that_is_read_from_right_to_left_begins_at_the_right(self) -> None:
        company = routing("main:\n  a: {play: أهلا وسهلا, then: hangup}")
        said = next(
            one
            for one in ElementTree.fromstring(drawing.svg(pictures(company)[0])).iter(f"{SVG}text")
            if one.get("class", "").startswith("said")
        )
        assert said.get("direction") == "rtl"
        assert int(said.get("x", 0)) > 60


class TestPage:
    def test_every_link_leads_to_something_on_the_page(self, acme: Routing, known: Routing) -> None:
        for company in (acme, known):
            page = drawing.page(pictures(company))
            ids = re.findall(r'\bid="([^"]+)"', page)
            assert len(ids) == len(set(ids))
            links = re.findall(r'href="#([^"]+)"', page)
            assert set(links) <= set(ids)
            assert {f"flow:{flow}" for flow in company.flows} <= set(links)

    def test_names_that_look_like_our_own_are_no_confusion(self) -> None:
        company = routing(
            "main:\n  fit: {flow: main-title, then: svg}\n  svg: {hangup: normal}\n"
            "main-title:\n  fit: {menu: Press., keys: {1: main-desc}, otherwise: return}\n"
            "main-desc:\n  fit: {play: Hi., then: main/fit}\n"
        )
        page = drawing.page(pictures(company))
        ids = re.findall(r'\bid="([^"]+)"', page)
        assert len(ids) == len(set(ids))

    def test_a_stub_leads_to_the_step_in_the_other_picture(self, acme: Routing) -> None:
        assert 'href="#reception.vip"' in drawing.page(pictures(acme))
        files = drawing.files(pictures(acme))
        assert set(re.findall(r'href="([^"]+)"', files["hotline.svg"])) == {"reception.svg"}
        assert set(re.findall(r'href="([^"]+)"', files["reception.svg"])) == {"hotline.svg"}

    def test_a_page_of_some_flows_has_no_dead_links(self, acme: Routing) -> None:
        page = drawing.page(pictures(acme, ["hotline"]))
        ids = set(re.findall(r'\bid="([^"]+)"', page))
        assert set(re.findall(r'href="#([^"]+)"', page)) <= ids
        assert "href" not in drawing.files(pictures(acme, ["hotline"]))["hotline.svg"]


class TestForOtherPrograms:
    def test_json_has_one_entry_for_each_edge(self, known: Routing) -> None:
        found = json.loads(graph.data(all_of(known)["main"]))
        wanted = {"from": "clock", "to": "greet", "edge": "hours office", "label": "office", "stands_for": []}
        assert wanted in found["edges"]
        assert len(found["edges"]) == 16
        assert {node["id"] for node in found["nodes"]} >= set(known.flows["main"].steps)

    def test_dot_and_mermaid_name_every_edge(self, known: Routing) -> None:
        picture = all_of(known)["main"]
        labels = [label.text for arrow in picture.arrows for label in arrow.labels]
        dot, mermaid = graph.dot(picture), graph.mermaid(picture)
        assert dot.count(" -> ") == mermaid.count(" -->") == len(picture.arrows)
        assert all(label in dot for label in labels)
        assert '"clock" -> "greet" [label="office"];' in dot
        assert "otherwise: no_answer, unreachable, declined, refused" in dot

    def test_hostile_text_ends_no_string(self) -> None:
        company = routing("""main:\n  a: {play: 'x"]; evil -> b; \\" <img> | end', then: hangup}""")
        picture = pictures(company)[0]
        line = next(line for line in graph.dot(picture).splitlines() if line.startswith('  "a" ['))
        assert re.fullmatch(r'  "a" \[label="(?:[^"\\]|\\.)*"\];', line)
        line = next(line for line in graph.mermaid(picture).splitlines() if "evil" in line)
        assert line.count('"') == 2
        assert "<img" not in line


class TestCommand:
    def run(self, *arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["graph", *arguments])
        return result.exit_code, result.output

    def test_it_writes_a_picture_for_each_flow_and_a_page(self, tmp_path: Path) -> None:
        out = tmp_path / "new" / "pictures"
        code, text = self.run(str(ROUTING), "-o", str(out))
        assert code == 0
        assert text.splitlines() == [f"{out}/{name}" for name in ("reception.svg", "hotline.svg", "index.html")]
        assert sorted(file.name for file in out.iterdir()) == ["hotline.svg", "index.html", "reception.svg"]
        ElementTree.parse(out / "reception.svg")

    @pytest.mark.parametrize(
        ("form", "begins"),
        [("svg", "<svg "), ("dot", "digraph"), ("mermaid", "flowchart TD"), ("json", "{")],
    )
    def test_a_dash_prints_one(self, form: str, begins: str) -> None:
        code, text = self.run(str(ROUTING / "acme.yaml"), "--flow", "hotline", "-o", "-", "--format", form)
        assert code == 0
        assert text.startswith(begins)

    def test_a_dash_wants_one_flow(self) -> None:
        code, text = self.run(str(ROUTING), "-o", "-")
        assert code == 2
        assert "reception, hotline" in text

    def test_an_unknown_flow_is_named_with_what_there_is(self) -> None:
        code, text = self.run(str(ROUTING), "--flow", "recption")
        assert code == 2
        assert "'recption'; there is: reception, hotline" in text

    def test_a_file_with_errors_is_not_drawn(self, tmp_path: Path) -> None:
        (tmp_path / "bad.yaml").write_text("cordboard: 1\n")
        code, text = self.run(str(tmp_path), "-o", str(tmp_path / "out"))
        assert code == 1
        assert "E302" in text
        assert not (tmp_path / "out").exists()

    def test_a_place_that_cannot_be_written_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        code, text = self.run(str(ROUTING), "-o", str(tmp_path / "file"))
        assert code == 1
        assert "cannot be written" in text
