"""The layout of pictures: nothing lies on anything, and every line leads from its box through its label to the other.

Judged by geometry alone, over graphs that nobody would draw.
"""

from __future__ import annotations

import itertools

from hypothesis import example, given, settings
from hypothesis import strategies as st

from callcontrol.workbench.layout import LOOP, MARGIN, Layout, Link, Points, Rect, Size, arrange

Graph = tuple[list[Size], list[Link]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Boxes and lines between any of them, one at most in each direction: loops, islands, crowds."""
    count = draw(st.integers(1, 14))
    sizes = draw(st.lists(st.tuples(st.integers(20, 240), st.integers(20, 160)), min_size=count, max_size=count))
    box = st.integers(0, count - 1)
    pairs = draw(st.lists(st.tuples(box, box), unique=True, max_size=30))
    links = [Link(a, b, draw(st.integers(0, 120)), draw(st.sampled_from([0, 18, 47]))) for a, b in pairs]
    loops = {link.source: link for link in links if link.source == link.target}
    boxes = [
        Size(width, max(height, loops[n].height + 32), loops[n].width + LOOP) if n in loops else Size(width, height)
        for n, (width, height) in enumerate(sizes)
    ]
    return boxes, links


def overlap(one: Rect, other: Rect) -> bool:
    level = one.x < other.x + other.width and other.x < one.x + one.width
    return level and one.y < other.y + other.height and other.y < one.y + one.height


def crosses(points: Points, rect: Rect) -> bool:
    """Whether a line runs through the inside of a rectangle; its edge does not count."""
    for (ax, ay), (bx, by) in itertools.pairwise(points):
        level = max(min(ax, bx), rect.x + 1) <= min(max(ax, bx), rect.x + rect.width - 1)
        if level and max(min(ay, by), rect.y + 1) <= min(max(ay, by), rect.y + rect.height - 1):
            return True
    return False


def on_edge(point: tuple[int, int], rect: Rect) -> bool:
    x, y = point
    inside = rect.x <= x <= rect.x + rect.width and rect.y <= y <= rect.y + rect.height
    return inside and (x in (rect.x, rect.x + rect.width) or y in (rect.y, rect.y + rect.height) or not rect.height)


def drawn(graph: Graph) -> Layout:
    return arrange(*graph)


CROWD: Graph = (
    [Size(120, 60)] * 5,
    [Link(a, b, 40, 18) for a, b in itertools.permutations(range(5), 2)],
)


@given(graphs())
@example(CROWD)
def test_no_box_or_label_lies_on_another(graph: Graph) -> None:
    layout = drawn(graph)
    labels = [rect for rect in layout.labels if rect.width and rect.height]
    for one, other in itertools.combinations([*layout.boxes, *labels], 2):
        assert not overlap(one, other)


@given(graphs())
@example(CROWD)
def test_no_line_runs_through_a_box_or_label(graph: Graph) -> None:
    layout = drawn(graph)
    for points in (*layout.stems, *layout.ways):
        for rect in (*layout.boxes, *layout.labels):
            if rect.width > 1 and rect.height > 1:
                assert not crosses(points, rect)


@given(graphs())
@example(CROWD)
def test_every_line_leads_from_its_box_by_its_label_to_its_box_in_level_and_upright_pieces(graph: Graph) -> None:
    layout = drawn(graph)
    for link, label, stem, way in zip(graph[1], layout.labels, layout.stems, layout.ways, strict=True):
        assert on_edge(stem[0], layout.boxes[link.source])
        assert on_edge(stem[-1], label)
        assert on_edge(way[0], label)
        assert on_edge(way[-1], layout.boxes[link.target])
        assert len(stem) > 1 < len(way)
        for (ax, ay), (bx, by) in itertools.pairwise((*stem, *way[1:]) if stem[-1] == way[0] else way):
            assert (ax == bx) != (ay == by)


@given(graphs())
@example(CROWD)
def test_lines_of_different_ends_never_lie_on_each_other(graph: Graph) -> None:
    """Two ways that share a level piece lead to the same box, two stems come from the same one."""
    layout = drawn(graph)
    for links, ends in ((layout.stems, "source"), (layout.ways, "target")):
        level: dict[int, list[tuple[int, int, int]]] = {}
        for link, points in zip(graph[1], links, strict=True):
            if link.source != link.target:
                for (ax, ay), (bx, by) in itertools.pairwise(points):
                    if ay == by:
                        level.setdefault(ay, []).append((min(ax, bx), max(ax, bx), getattr(link, ends)))
        for pieces in level.values():
            for (low, high, one), (other_low, other_high, other) in itertools.combinations(pieces, 2):
                assert one == other or high < other_low or other_high < low


@given(graphs())
def test_everything_is_on_the_paper(graph: Graph) -> None:
    layout = drawn(graph)
    for rect in (*layout.boxes, *layout.labels):
        assert rect.x >= MARGIN
        assert rect.x + rect.width <= layout.width - MARGIN
        assert rect.y >= MARGIN
        assert rect.y + rect.height <= layout.height - MARGIN
    for points in (*layout.stems, *layout.ways):
        assert all(MARGIN <= x <= layout.width - MARGIN for x, _ in points)
        assert all(MARGIN <= y <= layout.height - MARGIN for _, y in points)


@given(graphs())
def test_what_leads_on_stands_above_unless_it_leads_back(graph: Graph) -> None:
    """From the first box, without loops, every line leads down."""
    boxes, links = graph
    forward = [link for link in links if link.source < link.target]
    layout = arrange(boxes, forward)
    for link in forward:
        assert layout.boxes[link.source].y + layout.boxes[link.source].height <= layout.boxes[link.target].y


@given(graphs())
@settings(max_examples=20)
def test_the_same_graph_gives_the_same_picture(graph: Graph) -> None:
    assert drawn(graph) == drawn(graph)


def test_a_chain_is_one_straight_line() -> None:
    layout = arrange([Size(100, 40), Size(60, 40), Size(140, 40)], [Link(0, 1, 30, 18), Link(1, 2, 40, 18)])
    assert {x for points in (*layout.stems, *layout.ways) for x, _ in points} == {layout.stems[0][0][0]}


def test_what_leads_back_goes_round_the_side_and_comes_from_above() -> None:
    layout = arrange([Size(100, 40)] * 3, [Link(0, 1, 0, 0), Link(1, 2, 30, 18), Link(2, 1, 30, 18)])
    way = layout.ways[2]
    assert max(x for x, _ in way) > 16 + 100 or min(x for x, _ in way) < layout.boxes[1].x
    assert way[-1][1] == layout.boxes[1].y
    assert way[-2][1] < way[-1][1]


def test_a_small_tree_has_no_crossings_and_its_root_in_the_middle() -> None:
    layout = arrange([Size(100, 40)] * 4, [Link(0, 3, 30, 18), Link(0, 1, 30, 18), Link(0, 2, 30, 18)])
    xs = sorted(rect.x for rect in layout.boxes[1:])
    assert xs[1] == layout.boxes[0].x


def test_a_chain_of_two_thousand_boxes_is_drawn() -> None:
    """Nothing in it calls itself once for every row."""
    links = [Link(n, n + 1, 20, 18) for n in range(1999)]
    assert arrange([Size(50, 20)] * 2000, [*links, Link(0, 1999, 20, 18)]).height > 100_000
