"""Where the boxes, labels and lines of a picture stand: a layered drawing, top to bottom.

It knows sizes and who leads to whom; never what a box says.  The way is Sugiyama's: loops are opened, every box gets
a row below those that lead to it, the rows are put in an order with few crossings, then all get their place.  Three
decisions of ours make it a picture of a flow:

* A label is a box of its own, in a row between the rows of boxes, so that it can lie on nothing.
* Lines that leave one box part below it, and lines that lead to one box meet as early as they can: what is drawn are
  trees, not a tangle.  Every line is made of level and upright pieces; the level ones have tracks of their own.
* What leads back up goes round the side.

The surprise: nothing here depends on hashes or on the machine: the same boxes and lines give the same numbers.

K. Sugiyama, S. Tagawa, M. Toda: Methods for Visual Understanding of Hierarchical System Structures (1981).
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

#: Between things that stand beside each other, pixels.
BETWEEN_BOXES = 30
BETWEEN_LABELS = 10
BETWEEN_LINES = 16
#: Between two level pieces of lines, and between them and what is above and below.
TRACK = 10
ABOVE, BELOW = 12, 10
#: Room for an arrow's head.
HEAD = 8
MARGIN = 16

#: How often the rows are ordered anew, and the places improved.
_ORDERINGS = 24
_PATIENCE = 6
#: Boxes and bends that are ordered anew, all turns together: a tangle of hundreds of steps stays one however long.
_EFFORT = 40_000
_PLACINGS = 24


@dataclass(frozen=True, slots=True)
class Size:
    """A box to be placed.  ``beside``: room to its right, for the label of a line from it to itself."""

    width: int
    height: int
    beside: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """A line between two boxes, by their numbers, and the size of its label."""

    source: int
    target: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Rect:
    """A place: the corner that is nearest to the beginning, and the size."""

    x: int
    y: int
    width: int
    height: int


Points = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A picture of ``width`` by ``height``.  ``labels``, ``stems`` and ``ways`` are in the order of the links: a stem
    leads from the source to the label, a way from the label to the target.
    """

    width: int
    height: int
    boxes: tuple[Rect, ...]
    labels: tuple[Rect, ...]
    stems: tuple[Points, ...]
    ways: tuple[Points, ...]


@dataclass(slots=True)
class _Item:
    """Something that has a place in a row: a box, a label, or a line that passes (``box`` and ``link`` None).

    ``x`` is where its line is; it reaches ``left`` before and ``right`` behind.  ``to``: the box to which a label or a
    line leads.
    """

    row: int
    left: float
    right: float
    height: int
    box: int | None = None
    link: int | None = None
    to: int = -1
    x: float = 0.0
    ups: list[int] = field(default_factory=list)
    downs: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Net:
    """What one level piece joins in the room between two rows: where lines come from above, where they leave below."""

    tops: list[float] = field(default_factory=list)
    bottoms: list[float] = field(default_factory=list)
    track: int = 0

    @property
    def span(self) -> tuple[float, float]:
        return min(*self.tops, *self.bottoms), max(*self.tops, *self.bottoms)

    @property
    def straight(self) -> bool:
        low, high = self.span
        return low == high


def arrange(boxes: Sequence[Size], links: Sequence[Link]) -> Layout:
    """Place all of them.  A box to which nothing leads, in the order given, stands at the top."""
    rows = _rows(len(boxes), links)
    items, order = _items(boxes, links, rows)
    order = _ordered(items, order)
    _place(items, order)
    return _Drawing(boxes, links, rows, items, order).layout()


# ------------------------------------------------------------------------------------------------------ rows


def _rows(count: int, links: Sequence[Link]) -> list[int]:
    """The row of each box: below every box that leads to it, but for lines that close a loop."""
    after: list[list[int]] = [[] for _ in range(count)]
    for link in links:
        if link.source != link.target and link.target not in after[link.source]:
            after[link.source].append(link.target)
    led = {target for targets in after for target in targets}
    roots = [*(box for box in range(count) if box not in led), *range(count)]
    finished: list[int] = []
    state = [0] * count  # 1: on the way, 2: finished
    forward: list[list[int]] = [[] for _ in range(count)]
    for root in roots:
        if state[root]:
            continue
        state[root] = 1
        work = [(root, iter(after[root]))]
        while work:
            box, rest = work[-1]
            for target in rest:
                if state[target] != 1:  # else it closes a loop
                    forward[box].append(target)
                if state[target] == 0:
                    state[target] = 1
                    work.append((target, iter(after[target])))
                    break
            else:
                state[box] = 2
                finished.append(box)
                work.pop()
    rows = [0] * count
    for box in reversed(finished):
        for target in forward[box]:
            rows[target] = max(rows[target], rows[box] + 1)
    for box in range(count):  # one that begins something stands right above it
        if box not in led and forward[box]:
            rows[box] = min(rows[target] for target in forward[box]) - 1
    return rows


def _items(boxes: Sequence[Size], links: Sequence[Link], rows: Sequence[int]) -> tuple[list[_Item], list[list[int]]]:
    """Everything that has a place in a row, and the rows in their first order.

    Boxes are in even rows, labels in odd ones; the first ``len(boxes)`` items are the boxes.
    """
    items = [
        _Item(2 * row, size.width / 2, size.width / 2 + size.beside, size.height, box=number)
        for number, (size, row) in enumerate(zip(boxes, rows, strict=True))
    ]
    passing: dict[tuple[int, int], int] = {}

    def joined(above: int, below: int) -> None:
        if below not in items[above].downs:
            items[above].downs.append(below)
            items[below].ups.append(above)

    def lead(above: int, target: int) -> None:
        """From a label to a box, through the rows between them, as soon as possible on the box's own line."""
        for row in range(items[above].row + 1, items[target].row + 1):
            known = (target, row) in passing or row == items[target].row
            if not known:
                passing[target, row] = len(items)
                items.append(_Item(row, 0, 0, 0, to=target))
            below = target if row == items[target].row else passing[target, row]
            joined(above, below)
            if known:
                return
            above = below

    for number, link in enumerate(links):
        if link.source == link.target:
            continue
        row = 2 * rows[link.source] + 1
        label = len(items)
        items.append(_Item(row, link.width / 2, link.width / 2, link.height, link=number, to=link.target))
        joined(link.source, label)
        if rows[link.target] > rows[link.source]:
            lead(label, link.target)
    order: list[list[int]] = [[] for _ in range(max(item.row for item in items) + 1)]
    seen: set[int] = set()
    roots = [box for box in range(len(boxes)) if not items[box].ups]
    for root in [*roots, *range(len(items))]:
        work = [root]
        while work:
            at = work.pop()
            if at not in seen:
                seen.add(at)
                order[items[at].row].append(at)
                work.extend(reversed(items[at].downs))
    return items, order


# ----------------------------------------------------------------------------------------------------- order


def _ordered(items: Sequence[_Item], order: list[list[int]]) -> list[list[int]]:
    """The rows in an order with few crossings: each row by the middle of its neighbours, down and up in turns."""
    best, fewest = [list(row) for row in order], _crossings(items, order)
    better = 0
    for turn in range(max(2, min(_ORDERINGS, _EFFORT // max(1, len(items))))):
        if not fewest or turn - better > _PATIENCE:
            break
        down = turn % 2 == 0
        numbers = range(1, len(order)) if down else range(len(order) - 2, -1, -1)
        for number in numbers:
            beside = order[number - 1 if down else number + 1]
            position = {at: index for index, at in enumerate(beside)}
            order[number] = _by_middle(items, order[number], position, down)
        _swap(items, order)
        crossings = _crossings(items, order)
        if crossings < fewest:
            best, fewest, better = [list(row) for row in order], crossings, turn
    return best


def _by_middle(items: Sequence[_Item], row: list[int], position: Mapping[int, int], down: bool) -> list[int]:
    """A row by the middle of each one's neighbours; who has none stays where it is."""
    middles = {}
    for at in row:
        places = [position[other] for other in (items[at].ups if down else items[at].downs)]
        if places:
            middles[at] = sum(places) / len(places)
    moving = iter(sorted(middles, key=lambda at: middles[at]))  # sorted() keeps the order of equals
    return [next(moving) if at in middles else at for at in row]


def _crossings(items: Sequence[_Item], order: Sequence[Sequence[int]]) -> int:
    """How many lines cross between the rows."""
    total = 0
    for upper, lower in itertools.pairwise(order):
        position = {at: index for index, at in enumerate(lower)}
        before: list[int] = []
        for at in upper:
            places = sorted(position[other] for other in items[at].downs)
            total += sum(len(before) - bisect.bisect_right(before, place) for place in places)
            for place in places:
                bisect.insort(before, place)
    return total


def _swap(items: Sequence[_Item], order: list[list[int]]) -> None:
    """Exchange neighbours as long as that takes crossings away."""
    for _ in range(4):
        changed = False
        for number, row in enumerate(order):
            above = {at: index for index, at in enumerate(order[number - 1])} if number else {}
            below = {at: index for index, at in enumerate(order[number + 1])} if number + 1 < len(order) else {}
            for index in range(len(row) - 1):
                one, other = row[index], row[index + 1]
                ups = [above[at] for at in items[one].ups], [above[at] for at in items[other].ups]
                downs = [below[at] for at in items[one].downs], [below[at] for at in items[other].downs]
                now = _inversions(*ups) + _inversions(*downs)
                if now > _inversions(*reversed(ups)) + _inversions(*reversed(downs)):
                    row[index], row[index + 1] = other, one
                    changed = True
        if not changed:
            return


def _inversions(left: Iterable[int], right: Sequence[int]) -> int:
    return sum(one > other for one in left for other in right)


# ---------------------------------------------------------------------------------------------------- places


def _apart(one: _Item, other: _Item) -> float:
    """How far the lines of two neighbours must be apart."""
    gap = BETWEEN_LINES
    if one.box is not None and other.box is not None:
        gap = BETWEEN_BOXES
    elif one.link is not None and other.link is not None:
        gap = BETWEEN_LABELS
    return one.right + gap + other.left


def _place(items: Sequence[_Item], order: Sequence[Sequence[int]]) -> None:
    """Give each item its ``x``: near its neighbours, never nearer to those beside it than allowed.

    First the rows find their places by turns; then whatever forms an upright line is set upright exactly.
    """
    partner = _partners(items, order)
    for row in order:
        x = 0.0
        for left, at in zip([None, *row], row, strict=False):
            x += _apart(items[left], items[at]) if left is not None else 0.0
            items[at].x = x
    for turn in range(_PLACINGS):
        down = turn % 2 == 0
        for row in order if down else reversed(order):
            wishes, weights = [], []
            for at in row:
                item, total, weight = items[at], 0.0, 0.0
                both = turn >= _PLACINGS - 6
                near = [*item.ups, *item.downs] if both else item.ups if down else item.downs
                for other in near:
                    pull = 6.0 if partner.get((at, other)) or partner.get((other, at)) else 1.0
                    total += pull * items[other].x
                    weight += pull
                wishes.append(total / weight if weight else item.x)
                weights.append(weight or 0.1)
            for at, x in zip(row, _nearest(items, row, wishes, weights), strict=True):
                items[at].x = x
    _set_upright(items, order, partner)


def _nearest(items: Sequence[_Item], row: Sequence[int], wishes: list[float], weights: list[float]) -> list[float]:
    """The places nearest to the ``wishes`` (least squares) that are far enough apart, by pooling neighbours."""
    offsets, offset = [], 0.0
    for left, at in zip([None, *row], row, strict=False):
        offset += _apart(items[left], items[at]) if left is not None else 0.0
        offsets.append(offset)
    pools: list[tuple[float, float, int]] = []  # the mean, its weight, how many
    for wish, weight, offset in zip(wishes, weights, offsets, strict=True):
        mean, size = wish - offset, 1
        while pools and pools[-1][0] > mean:
            other, heavier, more = pools.pop()
            mean = (mean * weight + other * heavier) / (weight + heavier)
            weight, size = weight + heavier, size + more
        pools.append((mean, weight, size))
    means = [mean for mean, _, size in pools for _ in range(size)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _partners(items: Sequence[_Item], order: Sequence[Sequence[int]]) -> dict[tuple[int, int], bool]:
    """Pairs, one above the other, that are to form an upright line; no two of them cross."""
    found: dict[tuple[int, int], bool] = {}
    for upper, lower in itertools.pairwise(order):
        place = {at: index for index, at in enumerate(lower)}
        wanted = []
        for index, at in enumerate(upper):
            downs = sorted(items[at].downs, key=lambda other: place[other])
            for count, other in enumerate(downs):
                passes = items[at].box is None and items[at].link is None
                if len(downs) > 1:  # only the middle one of an odd number
                    rank = 3 if len(downs) % 2 and count == len(downs) // 2 else None
                elif len(items[other].ups) == 1:
                    rank = 1
                else:
                    rank = 0 if passes else 2
                if rank is not None:
                    middle = abs(items[other].ups.index(at) * 2 - len(items[other].ups) + 1)
                    wanted.append((rank, middle, index, place[other], at, other))
        taken: list[tuple[int, int]] = []
        for _, _, index, below, at, other in sorted(wanted):
            place_in = bisect.bisect(taken, (index, below))
            before, after = taken[:place_in][-1:], taken[place_in:][:1]
            if all(one < index and two < below for one, two in before) and all(
                one > index and two > below for one, two in after
            ):
                taken.insert(place_in, (index, below))
                found[at, other] = True
    return found


def _set_upright(
    items: Sequence[_Item], order: Sequence[Sequence[int]], partner: Mapping[tuple[int, int], bool]
) -> None:
    """One ``x`` for each upright line, and all of them far enough apart."""
    line = list(range(len(items)))
    for at in sorted(range(len(items)), key=lambda at: items[at].row):
        above = next((up for up in items[at].ups if partner.get((up, at))), None)
        line[at] = line[above] if above is not None else at
    members: dict[int, list[int]] = {}
    for at, of in enumerate(line):
        members.setdefault(of, []).append(at)
    right_of: dict[int, dict[int, float]] = {of: {} for of in members}
    left_of: dict[int, dict[int, float]] = {of: {} for of in members}
    for row in order:
        for one, other in itertools.pairwise(row):
            apart = _apart(items[one], items[other])
            right_of[line[one]][line[other]] = max(apart, right_of[line[one]].get(line[other], 0.0))
            left_of[line[other]][line[one]] = right_of[line[one]][line[other]]
    x = {of: sum(items[at].x for at in them) / len(them) for of, them in members.items()}
    sequence = _from_left(right_of, left_of)
    for of in sequence:
        x[of] = max([x[of], *(x[other] + apart for other, apart in left_of[of].items())])
    outside = {
        of: [line[o] for at in them for o in (*items[at].ups, *items[at].downs) if line[o] != of]
        for of, them in members.items()
    }
    for turn in range(12):  # each goes to where it is drawn, as far as its neighbours let it
        for of in reversed(sequence) if turn % 2 == 0 else sequence:
            near = outside[of]
            wish = sum(x[other] for other in near) / len(near) if near else x[of]
            low = max((x[other] + apart for other, apart in left_of[of].items()), default=wish)
            high = min((x[other] - apart for other, apart in right_of[of].items()), default=wish)
            x[of] = max(low, min(high, wish))
    for at, of in enumerate(line):
        items[at].x = x[of]


def _from_left(right_of: Mapping[int, Mapping[int, float]], left_of: Mapping[int, Mapping[int, float]]) -> list[int]:
    """The upright lines so that each comes after those to its left.  They do not cross, so there is such an order."""
    waiting = {of: len(others) for of, others in left_of.items()}
    ready = [of for of, count in waiting.items() if not count]
    found = []
    while ready:
        of = ready.pop(0)
        found.append(of)
        for other in right_of[of]:
            waiting[other] -= 1
            if not waiting[other]:
                ready.append(other)
    return found


# ----------------------------------------------------------------------------------------------------- lines


class _Drawing:
    """From places to points: the heights of rows and of the rooms between them, and the way of every line."""

    def __init__(
        self,
        boxes: Sequence[Size],
        links: Sequence[Link],
        rows: Sequence[int],
        items: Sequence[_Item],
        order: Sequence[Sequence[int]],
    ) -> None:
        self.boxes, self.links, self.rows, self.items, self.order = boxes, links, rows, items, order
        for item in items:
            item.x = round(item.x)
        self.label_of = {item.link: at for at, item in enumerate(items) if item.link is not None}
        self.back: dict[int, list[int]] = {}
        for number, link in enumerate(links):
            if link.source != link.target and rows[link.target] <= rows[link.source]:
                self.back.setdefault(link.target, []).append(self.label_of[number])
        self.lanes = self._lanes()
        #: Row above the room (-1: above all) -> who is joined there -> how.
        self.nets: list[dict[tuple[str, int], _Net]] = [{} for _ in range(len(order) + 1)]
        self._join()
        for nets in self.nets:
            _give_tracks([net for net in nets.values() if not net.straight])

    def _lanes(self) -> dict[int, float]:
        """Where lines go up again, for each box that they lead to: beside everything that they pass."""
        ends = [
            (min(self.items[at].x - self.items[at].left for at in row), max(self._right(at) for at in row))
            for row in self.order
        ]
        found: dict[int, float] = {}

        def rows_of(target: int) -> range:
            return range(self.items[target].row, max(self.items[at].row for at in self.back[target]) + 1)

        for target in sorted(self.back, key=lambda target: (len(rows_of(target)), target)):
            rows = rows_of(target)
            left, right = min(ends[row][0] for row in rows), max(ends[row][1] for row in rows)
            places = [self.items[at].x for at in (target, *self.back[target])]
            if sum(place - left for place in places) < sum(right - place for place in places):
                found[target] = left - BETWEEN_LINES
                for row in rows:
                    ends[row] = (found[target], ends[row][1])
            else:
                found[target] = right + BETWEEN_LINES
                for row in rows:
                    ends[row] = (ends[row][0], found[target])
        return found

    def _right(self, at: int) -> float:
        return self.items[at].x + self.items[at].right

    def _net(self, row: int, key: tuple[str, int]) -> _Net:
        """What is joined below ``row``."""
        return self.nets[row + 1].setdefault(key, _Net())

    def _key(self, at: int) -> tuple[str, int]:
        """Who is joined below an item: a box with its labels, anything else with whatever goes the same way."""
        item = self.items[at]
        return ("from", at) if item.box is not None else ("to", item.to)

    def _join(self) -> None:
        for at, item in enumerate(self.items):
            if item.downs:
                net = self._net(item.row, self._key(at))
                net.tops.append(item.x)
                net.bottoms += [self.items[other].x for other in item.downs]
        for target, labels in self.back.items():
            for at in labels:
                net = self._net(self.items[at].row, ("back", target))
                net.tops += [self.items[at].x, self.lanes[target]]
                net.bottoms.append(self.items[at].x)
            net = self._net(self.items[target].row - 1, ("to", target))
            net.tops.append(self.items[target].x)
            net.bottoms += [self.items[target].x, self.lanes[target]]

    def layout(self) -> Layout:
        """Everything with its place, moved so that nothing is left of or above the margin."""
        tops, tracks = self._heights()
        boxes = [
            Rect(int(item.x - size.width / 2), tops[item.row], size.width, size.height)
            for item, size in zip(self.items, self.boxes, strict=False)
        ]
        labels, stems, ways = [], [], []
        for number, link in enumerate(self.links):
            if link.source == link.target:
                label, stem, way = _loop(boxes[link.source], link)
            else:
                item = self.items[self.label_of[number]]
                label = Rect(int(item.x - link.width / 2), tops[item.row], link.width, link.height)
                box = boxes[link.source]
                track = self._track(tracks, self.items[link.source].row, ("from", link.source))
                down = int(self.items[link.source].x), box.y + box.height
                stem = _upright(down, (int(item.x), label.y), track)
                way = self._way(number, label, tops, tracks)
            labels.append(label)
            stems.append(stem)
            ways.append(way)
        xs = [x for rect in (*boxes, *labels) for x in (rect.x, rect.x + rect.width)]
        ys = [y for rect in (*boxes, *labels) for y in (rect.y, rect.y + rect.height)]
        for points in (*stems, *ways):
            xs += [x for x, _ in points]
            ys += [y for _, y in points]
        dx, dy = MARGIN - min(xs), MARGIN - min(ys)

        def moved(rect: Rect) -> Rect:
            return Rect(rect.x + dx, rect.y + dy, rect.width, rect.height)

        def shifted(points: Points) -> Points:
            return tuple((x + dx, y + dy) for x, y in points)

        return Layout(
            max(xs) - min(xs) + 2 * MARGIN,
            max(ys) - min(ys) + 2 * MARGIN,
            tuple(map(moved, boxes)),
            tuple(map(moved, labels)),
            tuple(map(shifted, stems)),
            tuple(map(shifted, ways)),
        )

    def _heights(self) -> tuple[list[int], list[dict[tuple[str, int], int]]]:
        """The upper end of each row, and of each room the heights of its level pieces."""
        y, tops, tracks = 0, [], []
        for number, nets in enumerate(self.nets):
            used = max((net.track for net in nets.values() if not net.straight), default=-1)
            head = HEAD if number % 2 == 0 else 0  # boxes come below it, with arrows
            tracks.append({key: y + ABOVE + net.track * TRACK for key, net in nets.items()})
            if number or nets:
                y += ABOVE + max(used, 0) * TRACK + BELOW + head
            if number < len(self.order):
                tops.append(y)
                y += max((self.items[at].height for at in self.order[number]), default=0)
        return tops, tracks

    @staticmethod
    def _track(tracks: Sequence[Mapping[tuple[str, int], int]], row: int, key: tuple[str, int]) -> int:
        return tracks[row + 1][key]

    def _way(
        self, number: int, label: Rect, tops: Sequence[int], tracks: Sequence[Mapping[tuple[str, int], int]]
    ) -> Points:
        """From a label to the box that it leads to."""
        link = self.links[number]
        at, target = self.label_of[number], link.target
        start = int(self.items[at].x), label.y + label.height
        end = int(self.items[target].x), tops[self.items[target].row]
        if target in self.back and at in self.back[target]:
            lane = int(self.lanes[target])
            below = self._track(tracks, self.items[at].row, ("back", target))
            above = self._track(tracks, self.items[target].row - 1, ("to", target))
            return _clean((start, (start[0], below), (lane, below), (lane, above), (end[0], above), end))
        points = [start]
        while self.items[at].box is None:
            below = self.items[at].downs[0]
            track = self._track(tracks, self.items[at].row, ("to", target))
            points += [(int(self.items[at].x), track), (int(self.items[below].x), track)]
            at = below
        return _clean((*points, end))


def _give_tracks(nets: list[_Net]) -> None:
    """Level pieces that would lie on each other get heights of their own, in an order with few crossings."""
    nets.sort(key=lambda net: net.span)
    for _ in range(len(nets)):
        changed = False
        for index in range(len(nets) - 1):
            one, other = nets[index], nets[index + 1]
            if _crossed(one, other) > _crossed(other, one):
                nets[index], nets[index + 1] = other, one
                changed = True
        if not changed:
            break
    for index, net in enumerate(nets):
        low, high = net.span
        over = [one.track for one in nets[:index] if one.span[0] <= high + TRACK and low <= one.span[1] + TRACK]
        net.track = max(over, default=-1) + 1


def _crossed(upper: _Net, lower: _Net) -> int:
    """How bad it is when ``upper`` lies above ``lower``: crossings, and pieces that would run into one line."""
    low, high = lower.span
    cost = sum(low < x < high for x in upper.bottoms)
    low, high = upper.span
    cost += sum(low < x < high for x in lower.tops)
    return cost + 100 * sum(abs(x - other) < 5 for x in upper.bottoms for other in lower.tops)


def _upright(start: tuple[int, int], end: tuple[int, int], track: int) -> Points:
    """Down, level, down."""
    return _clean((start, (start[0], track), (end[0], track), end))


def _loop(box: Rect, link: Link) -> tuple[Rect, Points, Points]:
    """A line from a box to itself: out on its right side, up through the label, and back."""
    middle = box.x + box.width + 12 + link.width // 2
    y = box.y + (box.height - link.height) // 2
    label = Rect(middle - link.width // 2, y, link.width, link.height)
    low, high = y + link.height + 8, y - 8
    right = box.x + box.width
    return label, ((right, low), (middle, low), (middle, y + link.height)), ((middle, y), (middle, high), (right, high))


def _clean(points: Iterable[tuple[int, int]]) -> Points:
    """Without points that change nothing."""
    found: list[tuple[int, int]] = []
    for point in points:
        if found and found[-1] == point:
            continue
        if len(found) > 1 and (found[-2][0] == found[-1][0] == point[0] or found[-2][1] == found[-1][1] == point[1]):
            found.pop()
        found.append(point)
    return tuple(found)


#: Room that a line from a box to itself needs beside it, besides its label.
LOOP = 12 + BETWEEN_LINES
