"""Pictures of flows as SVG, and a page that shows them all.

Drawn with nothing but this file: no program, no network, no fonts, no scripts.  Widths of letters are a table of the
widest of the common sans-serif fonts, so that text fits whatever font the reader has.  Everything that an operator
wrote is text here, never markup.

The surprise: the same picture gives the same bytes on every machine, so pictures can be kept beside the routing and
compared.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from callcontrol.workbench.graph import KINDS, Arrow, Label, Node, Picture, plain
from callcontrol.workbench.layout import LOOP, Layout, Link, Points, Rect, Size, arrange

#: Where a step of a flow is shown: (flow, step or "") → an address, "" if nowhere.
Where = Callable[[str, str], str]

# ------------------------------------------------------------------------------------------------- letters

#: Widths of the characters from space to ~ in hundredths of the size, of the widest common font, plain and bold.
_PLAIN = (
    *(32, 40, 46, 84, 64, 95, 83, 27, 39, 39, 55, 84, 32, 36, 32, 37, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 34, 34),
    *(84, 84, 84, 56, 102, 68, 69, 72, 77, 67, 61, 78, 75, 34, 50, 67, 57, 91, 78, 79, 67, 79, 72, 67, 63, 73, 68, 99),
    *(69, 67, 69, 39, 37, 39, 84, 56, 50, 61, 63, 56, 63, 62, 36, 63, 63, 28, 28, 58, 28, 97, 63, 61, 63, 63, 41, 52),
    *(39, 63, 59, 82, 59, 59, 52, 64, 55, 64, 84),
)
_BOLD = (
    *(35, 46, 52, 84, 70, 100, 87, 31, 46, 46, 52, 84, 38, 42, 38, 41, 70, 70, 70, 70, 70, 70, 70, 70, 70, 70, 40, 40),
    *(84, 84, 84, 61, 100, 77, 76, 73, 83, 68, 68, 82, 84, 37, 56, 77, 64, 100, 84, 85, 73, 85, 77, 72, 68, 81, 77),
    *(110, 77, 72, 73, 46, 41, 46, 84, 56, 50, 67, 72, 59, 72, 68, 44, 72, 71, 34, 34, 67, 34, 104, 71, 69, 72, 72, 49),
    *(60, 48, 71, 65, 92, 65, 65, 58, 71, 55, 71, 84),
)
_WIDE = frozenset("жмшщъыюфЖМШЩЫЮФѢѤѨѬ")


def width(text: str, size: float, *, bold: bool = False) -> float:
    """How wide a text is at most, in pixels."""
    return sum(_advance(one, bold) for one in text) * size / 100


def _advance(one: str, bold: bool) -> int:
    code = ord(one)
    if 32 <= code < 127:
        return (_BOLD if bold else _PLAIN)[code - 32]
    if unicodedata.combining(one) or unicodedata.category(one) in ("Mn", "Me", "Cf"):
        return 0
    if unicodedata.east_asian_width(one) in ("W", "F"):
        return 140 if code > 0x1F000 else 102
    if one in "“”‘’–·…—":
        return {"…": 100, "—": 100, "–": 58}.get(one, 56 if bold else 52 if one in "“”" else 34)
    if one in _WIDE:
        return (124 if bold else 110) if one.isupper() else (111 if bold else 96)
    if unicodedata.category(one) == "Lu":
        return 90 if bold else 80
    if unicodedata.category(one)[0] == "L" and code < 0x0600:
        return 76 if bold else 68
    if unicodedata.bidirectional(one) == "AL":  # letters that are joined are narrower than alone
        return 66
    return 84 if unicodedata.category(one)[0] in "LNM" else 104


def rows_of(text: str, room: float, size: float, most: int, *, bold: bool = False) -> tuple[list[str], bool]:
    """A text in at most so many rows of so many pixels, and whether it is all there; what is not is an ellipsis."""
    rows: list[str] = []
    rest = " ".join(text.split())
    while rest and len(rows) < most:
        if width(rest, size, bold=bold) <= room:
            rows.append(rest)
            return rows, True
        last = len(rows) + 1 == most
        cut = _cut(rest, room - (width("…", size, bold=bold) if last else 0), size, bold)
        space = rest.rfind(" ", 0, cut + 1)
        if space > cut // 2 and not last:
            cut = space
        row = rest[:cut].rstrip()
        rows.append(f"{row}…" if last else row)
        rest = rest[cut:].lstrip()
    return rows or [""], not rest


def _cut(text: str, room: float, size: float, bold: bool) -> int:
    """How many characters have room; never between a letter and its marks."""
    used, cut = 0.0, 0
    for index, one in enumerate(text):
        used += _advance(one, bold) * size / 100
        if used > room:
            break
        cut = index + 1
    while 0 < cut < len(text) and unicodedata.category(text[cut]) in ("Mn", "Me", "Mc", "Cf"):
        cut -= 1
    return max(cut, 1)


def escaped(text: str) -> str:
    """Text between tags and in quotes."""
    safe = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe.replace('"', "&quot;").replace("'", "&#39;")


def _leads_left(text: str) -> bool:
    """Whether the first letter with a direction is written from right to left."""
    ways = (unicodedata.bidirectional(one) for one in text)
    return next((way in ("R", "AL") for way in ways if way in ("L", "R", "AL")), False)


def _may_slant(text: str) -> bool:
    """Whether these letters have an italic that is worth reading."""
    return all(ord(one) < 0x590 or one in "“”‘’…–—" for one in text)


# --------------------------------------------------------------------------------------------------- boxes

#: Sizes of letters, and rows.
_NAME, _VERB, _TEXT, _LABEL = 13.0, 10.0, 11.5, 11.0
_ROW = 16
_PAD = 12
#: The narrowest and the widest card.
_NARROW, _WIDEST = 120, 236
#: The room that a row of labels may take.
_LABEL_ROOM = 190


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of letters: ``y`` of its base line within the box; ``whole`` is the tooltip."""

    text: str
    style: str
    y: int
    whole: str = ""
    flow: str = ""


@dataclass(frozen=True, slots=True)
class _Card:
    """A node, measured."""

    node: Node
    width: int
    height: int
    rows: tuple[_Row, ...]


def _card(node: Node) -> _Card:
    """Measure a node."""
    if node.shape in ("end", "flow"):
        bold = node.shape == "flow"
        wide = round(width(node.name, _TEXT, bold=bold)) + (34 if bold else 28)
        return _Card(node, wide, 26, ())
    heading = width(node.name, _NAME, bold=True)
    room = heading
    for line in node.lines:
        wanted = min(width(line.text, _TEXT, bold=line.style == "title"), _WIDEST - 2 * _PAD)
        room = max(room, wanted)
    if node.verb:
        room = max(room, width(node.verb.upper(), _VERB, bold=True) + len(node.verb) * 0.6)
    room = min(max(room, _NARROW - 2 * _PAD), max(_WIDEST - 2 * _PAD, heading))
    rows, y = [], 6
    for text, style, step in ((node.verb.upper(), "verb", 13), (node.name, "name", 17)):
        if text:
            y += step
            rows.append(_Row(text, style, y))
    for line in node.lines:
        parts, all_there = rows_of(line.text, room, _TEXT, line.most, bold=line.style == "title")
        whole = line.whole or ("" if all_there else line.text)
        for index, part in enumerate(parts):
            y += _ROW + (2 if not index else 0)
            rows.append(_Row(part, line.style, y, whole, line.flow))
    return _Card(node, round(room) + 2 * _PAD, y + 10, tuple(rows))


@dataclass(frozen=True, slots=True)
class _Tag:
    """A label, measured: rows of text, the first of each its outcome."""

    width: int
    height: int
    rows: tuple[tuple[Label, str, bool, int], ...]  # whose, the text, whether it is the outcome, the base line


def _tag(labels: Sequence[Label]) -> _Tag:
    rows, y, wide = [], 1, 0.0
    for label in labels:
        y += 15
        more, _ = rows_of(", ".join(label.stands_for), 130, _LABEL - 1, 3) if label.stands_for else ([], True)
        for index, text in enumerate((label.text, *more)):
            y += 13 if index else 0
            rows.append((label, text, not index, y - 3))
            wide = max(wide, width(text, _LABEL - 1 if index else _LABEL, bold=not index))
    return _Tag(round(wide) + 14, y + 5, tuple(rows)) if rows else _Tag(0, 0, ())


# ---------------------------------------------------------------------------------------------------- style

_LIGHT = {
    "paper": "#ffffff",
    "ink": "#1d2530",
    "quiet": "#5a6675",
    "line": "#8592a3",
    "card": "#ffffff",
    "edge": "#c5ced9",
    "tag": "#f1f4f8",
    "asks": "#6a3fc4",
    "decides": "#96600a",
    "notes": "#54637a",
    "rings": "#0b6e4f",
    "waits": "#0d5fb3",
    "says": "#a13a72",
    "records": "#a8431b",
    "runs": "#11707d",
    "ends": "#b3261e",
    "good": "#0b6e4f",
    "key": "#6a3fc4",
    "time": "#96600a",
    "fault": "#b3261e",
}
_DARK = {
    "paper": "#14181e",
    "ink": "#e8edf3",
    "quiet": "#a3afbd",
    "line": "#76859a",
    "card": "#1e242d",
    "edge": "#3d4958",
    "tag": "#28303b",
    "asks": "#b79bff",
    "decides": "#e9b65c",
    "notes": "#aebbd0",
    "rings": "#5fd3a8",
    "waits": "#79b8ff",
    "says": "#f29ac8",
    "records": "#f4a27a",
    "runs": "#6ed3df",
    "ends": "#ff8a80",
    "good": "#5fd3a8",
    "key": "#b79bff",
    "time": "#e9b65c",
    "fault": "#ff8a80",
}


def _colours(palette: dict[str, str]) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in palette.items())


def _painted(palette: dict[str, str]) -> str:
    """The colours of a picture.  Written out: not every program that shows SVG knows variables."""
    rules = [
        (".paper", "fill:{paper}"),
        (".box", "fill:{card};stroke:{edge}"),
        (".entry .box,.any .box", "fill:{tag};stroke:{line}"),
        (".end .box", "fill:{quiet};stroke:none"),
        (".end text", "fill:{paper}"),
        (".flow .box", "fill:{tag};stroke:{runs}"),
        (".flow text", "fill:{runs}"),
        ("text", "fill:{ink}"),
        (".quiet,.tag .more", "fill:{quiet}"),
        (".link", "fill:{runs}"),
        (".line", "stroke:{line}"),
        (".head", "fill:{line}"),
        (".tag rect", "fill:{tag};stroke:{edge}"),
        *((f".{kind} .bar,.{kind} .verb", f"fill:{{{kind}}}") for kind in KINDS),
        *((f".tag .{tone}", f"fill:{{{tone}}}") for tone in ("good", "key", "time", "fault")),
    ]
    return "".join(f"{where}{{{what.format(**palette)}}}" for where, what in rules)


_STYLE = (
    f"{_painted(_LIGHT)}\n"
    f"@media screen and (prefers-color-scheme:dark){{{_painted(_DARK)}}}\n"
    "@media print{.paper{fill:none}}\n"
    ".cordboard{font-family:Helvetica,Arial,'Liberation Sans','Noto Sans','DejaVu Sans',sans-serif}\n"
    f"text{{font-size:{_TEXT}px}}.verb{{font-size:{_VERB}px;letter-spacing:.6px}}.name{{font-size:{_NAME}px}}\n"
    f".tag .outcome{{font-size:{_LABEL}px}}.tag .more{{font-size:{_LABEL - 1}px}}\n"
    ".verb,.name,.title,.outcome,.end text,.flow text{font-weight:bold}.slanted{font-style:italic}\n"
    ".box{stroke-width:1.2}.any .box{stroke-dasharray:4 3}.line{fill:none;stroke-width:1.4}\n"
    ".never{text-decoration:line-through}.dead{opacity:.42}\n"
    "a:hover .box,a:focus .box{stroke-width:2.4}a text{text-decoration:underline}\n"
)


# ------------------------------------------------------------------------------------------------------ SVG


@dataclass(slots=True)
class _Svg:
    picture: Picture
    where: Where
    cards: list[_Card] = field(default_factory=list)
    tags: list[_Tag] = field(default_factory=list)

    def arranged(self) -> Layout:
        """Measure everything and give it its place."""
        number = {node.id: index for index, node in enumerate(self.picture.nodes)}
        self.cards = [_card(node) for node in self.picture.nodes]
        self.tags = [_tag(arrow.labels) for arrow in self.picture.arrows]
        links = [
            Link(number[arrow.source], number[arrow.target], tag.width, tag.height)
            for arrow, tag in zip(self.picture.arrows, self.tags, strict=True)
        ]
        beside = {link.source: link for link in links if link.source == link.target}
        sizes = [
            Size(
                card.width,
                max(card.height, beside[index].height + 32 if index in beside else 0),
                beside[index].width + LOOP if index in beside else 0,
            )
            for index, card in enumerate(self.cards)
        ]
        return arrange(sizes, links)

    def text(self) -> str:
        layout = self.arranged()
        flow = escaped(self.picture.flow)
        dead = {node.id for node in self.picture.nodes if not node.live}
        drawn = list(zip(self.picture.arrows, self.tags, layout.labels, layout.stems, layout.ways, strict=True))
        grey = [one for one in drawn if one[0].source in dead]
        lively = [one for one in drawn if one[0].source not in dead]
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="cordboard" role="img" width="{layout.width}" '
            f'height="{layout.height}" viewBox="0 0 {layout.width} {layout.height}" '
            f'aria-labelledby="title:{flow}" aria-describedby="desc:{flow}">',
            f'<title id="title:{flow}">{escaped(self.picture.title)}: the flow {flow}</title>',
            f'<desc id="desc:{flow}">{escaped(told(self.picture))}</desc>',
            f"<style>{_STYLE}</style>",
            f'<rect class="paper" width="{layout.width}" height="{layout.height}"/>',
            *(self._lines(stem, way, arrow.source in dead) for arrow, _, _, stem, way in (*grey, *lively)),
            *(self._node(card, rect) for card, rect in zip(self.cards, layout.boxes, strict=True)),
            *(self._label(arrow, tag, rect, dead) for arrow, tag, rect, _, _ in drawn if tag.rows),
            "</svg>",
        ]
        return "\n".join(parts) + "\n"

    @staticmethod
    def _lines(stem: Points, way: Points, dead: bool) -> str:
        (x, y), (dx, _) = way[-1], way[-2]
        if dx == x:
            head = f"M{x} {y}l-4.5 -8h9z"
            way = (*way[:-1], (x, y - 6))
        else:
            back = 8 if dx > x else -8
            head = f"M{x} {y}l{back} -4.5v9z"
            way = (*way[:-1], (x + back // 2, y))
        cls = "line dead" if dead else "line"
        return (
            f'<path class="{cls}" d="{_path(stem)}{_path(way)}"/>'
            f'<path class="head{" dead" if dead else ""}" d="{head}"/>'
        )

    def _node(self, card: _Card, rect: Rect) -> str:
        node = card.node
        classes = " ".join(("node", node.shape, *([node.kind] if node.kind else []), *([] if node.live else ["dead"])))
        corner = 13 if node.shape == "end" else 3 if node.shape == "flow" else 8
        parts = [f'<g class="{classes}" transform="translate({rect.x} {rect.y})"{self._id(node)}>']
        box = f'<rect class="box" width="{rect.width}" height="{rect.height}" rx="{corner}"/>'
        if node.shape in ("end", "flow"):
            text = f'<text x="{rect.width // 2}" y="17" text-anchor="middle">{escaped(node.name)}</text>'
            inside = box + text
            if node.shape == "flow":
                inside = _linked(inside, self.where(node.flow, node.step))
            return parts[0] + inside + "</g>"
        parts.append(box)
        if node.kind:
            parts.append(f'<path class="bar" d="M0 8a8 8 0 0 1 8 -8h-3v{rect.height}h3a8 8 0 0 1 -8 -8z"/>')
        parts += [self._row(row, rect.width) for row in card.rows]
        return "".join(parts) + "</g>"

    def _id(self, node: Node) -> str:
        if node.shape == "step":
            return f' id="{escaped(self.picture.flow)}.{escaped(node.id)}"'
        return ""

    def _row(self, row: _Row, wide: int) -> str:
        tip = f"<title>{escaped(row.whole)}</title>" if row.whole else ""
        if _leads_left(row.text):
            place = f'x="{wide - _PAD}" direction="rtl"'
        else:
            place = f'x="{_PAD}"'
        style = f"{row.style} slanted" if row.style == "said" and _may_slant(row.text) else row.style
        text = f'<text class="{style}" {place} y="{row.y}">{tip}{escaped(row.text)}</text>'
        return _linked(text, self.where(row.flow, "") if row.flow else "")

    def _label(self, arrow: Arrow, tag: _Tag, rect: Rect, dead: set[str]) -> str:
        cls = "tag dead" if arrow.source in dead else "tag"
        parts = [
            f'<g class="{cls}" transform="translate({rect.x} {rect.y})">',
            f'<rect width="{rect.width}" height="{rect.height}" rx="5"/>',
        ]
        for label, text, outcome, y in tag.rows:
            words = f"outcome {label.tone}".strip() if outcome else "more"
            words += " never" if label.never else ""
            mark = f' data-edge="{escaped(label.edge)}"' if outcome else ""
            tip = f"never: {label.never}" if label.never else ", ".join(label.stands_for)
            title = f"<title>{escaped(tip)}</title>" if tip else ""
            parts.append(
                f'<text class="{words}" x="{rect.width // 2}" y="{y}" text-anchor="middle"{mark}>'
                f"{title}{escaped(text)}</text>"
            )
        return "".join(parts) + "</g>"


def _linked(inside: str, address: str) -> str:
    return f'<a href="{escaped(address)}">{inside}</a>' if address else inside


def _path(points: Points) -> str:
    """A line with round corners."""
    found = [f"M{points[0][0]} {points[0][1]}"]
    for before, at, after in zip(points, points[1:], points[2:], strict=False):
        reach = min(7, _length(before, at) // 2, _length(at, after) // 2)
        found.append(f"L{_towards(at, before, reach)}Q{at[0]} {at[1]} {_towards(at, after, reach)}")
    found.append(f"L{points[-1][0]} {points[-1][1]}")
    return "".join(found)


def _length(one: tuple[int, int], other: tuple[int, int]) -> int:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


def _towards(at: tuple[int, int], other: tuple[int, int], reach: int) -> str:
    dx = (other[0] > at[0]) - (other[0] < at[0])
    dy = (other[1] > at[1]) - (other[1] < at[1])
    return f"{at[0] + dx * reach} {at[1] + dy * reach}"


def told(picture: Picture) -> str:
    """The picture in words, for those who do not see it."""
    leads: dict[str, list[str]] = {}
    names = {node.id: node.name for node in picture.nodes}
    for arrow in picture.arrows:
        labels = ", ".join(label.text for label in arrow.labels)
        leads.setdefault(arrow.source, []).append(f"{labels} leads to {names[arrow.target]}".strip())
    lines = []
    for node in picture.nodes:
        if node.shape == "step":
            dead = "" if node.live else ", which no call reaches"
            lines.append(f"{node.name} ({node.verb}){dead}: {'; '.join(leads.get(node.id, ['the call ends']))}.")
    return " ".join(lines)


def svg(picture: Picture, where: Where = lambda flow, step: "") -> str:
    """One picture.  ``where``: the address of another flow's picture."""
    return _Svg(picture, where).text()


def files(pictures: Sequence[Picture]) -> dict[str, str]:
    """The pictures as files that link to each other, and the page that shows them all: name → text."""
    shown = {picture.flow for picture in pictures}

    def where(flow: str, step: str) -> str:
        return f"{flow}.svg" if flow in shown else ""

    return {**{f"{picture.flow}.svg": svg(picture, where) for picture in pictures}, "index.html": page(pictures)}


# ----------------------------------------------------------------------------------------------------- HTML

_PAGE = (
    f":root{{{_colours(_LIGHT)}color-scheme:light dark}}\n"
    f"@media screen and (prefers-color-scheme:dark){{:root{{{_colours(_DARK)}}}}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--paper);color:var(--ink);"
    "font:15px/1.5 Helvetica,Arial,'Liberation Sans','Noto Sans',sans-serif;display:flex;align-items:flex-start}\n"
    "nav{position:sticky;top:0;flex:0 0 230px;max-height:100vh;overflow:auto;padding:24px 20px;"
    "border-right:1px solid var(--edge)}\n"
    "nav h1{font-size:19px;line-height:1.25;margin:0 0 4px}nav p{margin:0 0 16px;color:var(--quiet);font-size:13px}\n"
    "nav ol,nav ul{list-style:none;margin:0 0 20px;padding:0}nav li{margin:5px 0}\n"
    "a{color:var(--waits)}nav small{display:block;color:var(--quiet)}\n"
    ".key span{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:8px}\n"
    "main{flex:1;min-width:0;padding:8px 28px 60px}section{margin-top:20px}\n"
    "h2{font-size:18px;margin:0 0 8px}.picture{overflow:auto;border:1px solid var(--edge);border-radius:10px}\n"
    ".picture svg{display:block}#fit:checked~main .picture svg{max-width:100%;height:auto}\n"
    "#fit{position:fixed;right:20px;top:14px}label[for=fit]{position:fixed;right:42px;top:10px;font-size:13px;"
    "background:var(--paper);padding:1px 6px}\n"
    "details{margin-top:6px;font-size:13px;color:var(--quiet)}.dead-flow{opacity:.6}\n"
    ":target>.box{stroke:var(--waits);stroke-width:3}\n"
    "@media (max-width:760px){body{display:block}nav{position:static;max-height:none;border:0}main{padding:8px 12px}}\n"
    "@media print{body{display:block}nav,#fit,label[for=fit],details{display:none}section{break-inside:avoid;"
    "break-after:page}.picture{border:0;overflow:visible}.picture svg{max-width:100%;max-height:92vh;height:auto}}\n"
)


def page(pictures: Sequence[Picture]) -> str:
    """All pictures of a company on one page, with a list of them."""
    title = escaped(pictures[0].title if pictures else "Cordboard")
    shown = {picture.flow for picture in pictures}

    def where(flow: str, step: str) -> str:
        if flow not in shown:
            return ""
        return f"#{flow}.{step}" if step else f"#flow:{flow}"

    entries = []
    for picture in pictures:
        came = ", ".join(line.text for line in picture.nodes[0].lines if line.style == "title")
        quiet = escaped(came if picture.live else "no call comes here")
        entries.append(
            f'<li><a href="#flow:{escaped(picture.flow)}">{escaped(picture.flow)}</a>'
            + (f"<small>{quiet}</small>" if quiet else "")
            + "</li>"
        )
    sections = [
        f'<section id="flow:{escaped(picture.flow)}"{"" if picture.live else " class=dead-flow"}>'
        f"<h2>{escaped(picture.flow)}</h2>\n"
        f'<div class="picture">{svg(picture, where)}</div>\n'
        f"<details><summary>In words</summary><p>{escaped(told(picture))}</p></details></section>"
        for picture in pictures
    ]
    used = {node.kind for picture in pictures for node in picture.nodes}
    legend = "".join(
        f'<li><span style="background:var(--{kind})"></span>{meaning}</li>'
        for kind, meaning in KINDS.items()
        if kind in used
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}: flows</title>\n<style>\n{_PAGE}</style>\n</head>\n<body>\n"
        f"<nav><h1>{title}</h1><p>{_counted(len(pictures), 'flow')}</p>\n<ol>{''.join(entries)}</ol>\n"
        f'<ul class="key">{legend}</ul></nav>\n'
        '<input type="checkbox" id="fit"><label for="fit">fit to the width</label>\n'
        f"<main>\n{chr(10).join(sections)}\n</main>\n</body>\n</html>\n"
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
