"""Told: what a page of the dashboard says, as figures: cards, bars, charts by their tables, other tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"input", "meta", "link", "br", "img", "hr"}


@dataclass
class Node:
    """An element of a page."""

    tag: str
    at: dict[str, str]
    children: list[Node | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What a person reads in it, blanks made single."""
        return " ".join("".join(one if isinstance(one, str) else f" {one.text} " for one in self.children).split())

    def all(self, tag: str = "", **at: str) -> list[Node]:
        """Elements in it with that tag and those attributes; `class_`: a class among others."""
        found = []
        for one in self.children:
            if isinstance(one, Node):
                if one._is(tag, at):
                    found.append(one)
                found += one.all(tag, **at)
        return found

    def one(self, tag: str = "", **at: str) -> Node:
        """The first of them."""
        found = self.all(tag, **at)
        assert found, f"no {tag} with {at} in {self.text[:200]}"
        return found[0]

    def _is(self, tag: str, at: dict[str, str]) -> bool:
        own = self.at | {"class_": ""}
        classes = self.at.get("class", "").split()
        return (not tag or self.tag == tag) and all(
            value in classes if name == "class_" else own.get(name.replace("_", "-")) == value
            for name, value in at.items()
        )


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(node)
        if tag not in _VOID:
            self._open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].children.append(Node(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        while len(self._open) > 1 and self._open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)


def parse(html: str) -> Node:
    """A page as a tree."""
    builder = _Builder()
    builder.feed(html)
    return builder.root


@dataclass
class Stat:
    """A card: its figure as shown and exactly, what stands beside it, and how it changed."""

    text: str
    exact: str
    beside: str
    change: str
    before: str


def stat(page: Node, name: str) -> Stat:
    """The card of that name."""
    own = page.one("section", id=f"stat-{name}")
    shown = own.one(class_="stat-figure")
    beside, change = own.all("p", class_="stat-beside"), own.all("span", class_="stat-change")
    arrow = change[0].one("span", aria_hidden="true").text if change else ""
    return Stat(
        shown.text,
        shown.at.get("title", ""),
        beside[0].text if beside else "",
        arrow,
        change[0].at["title"].rpartition(": ")[2] if change else "",
    )


def bars(page: Node, label: str) -> dict[str, str]:
    """Names with their exact values (as shown where there are none), of the list with that label."""
    lists = page.all("ol", aria_label=label)
    return {
        item.one("bdi").at["title"]: item.one("span", class_="bar-figure").at.get("title", "")
        or item.one("span", class_="bar-figure").text
        for one in lists
        for item in one.all("li")
    }


def chart(page: Node, name: str) -> tuple[list[str], list[str], list[list[int | None]]]:
    """A chart's series, its buckets in full, and its values, a list a bucket; of an empty one none."""
    found = page.all("table", id=f"table-{name}")
    if not found:
        assert page.all("p", class_="nothing")
        return [], [], []
    table = found[0]
    series = [head.text for head in table.one("thead").all("th")[1:]]
    rows = table.one("tbody").all("tr")
    values = [[int(cell.at["data-v"]) if "data-v" in cell.at else None for cell in row.all("td")] for row in rows]
    return series, [row.one("th").text.removesuffix(" so far") for row in rows], values


def card(page: Node, title: str) -> Node:
    """The card of that title."""
    for one in page.all("section", class_="card"):
        heads = one.all("h2")
        if heads and heads[0].text == title and "stat-card" not in one.at["class"]:
            return one
    raise AssertionError(f"no card {title}")


def figure(page: Node, title: str) -> str:
    """The figure in the card of that title, exactly."""
    return card(page, title).one(class_="stat-figure").at["title"]


def table(page: Node, title: str) -> list[list[tuple[str, str]]]:
    """The rows of the table in the card of that title: (text, title) of each cell."""
    found = [one for one in card(page, title).all("table") if not one.at.get("id", "").startswith("table-")]
    return [_cells(row) for row in found[0].one("tbody").all("tr")] if found else []


def _cells(row: Node) -> list[tuple[str, str]]:
    cells = [one for one in row.children if isinstance(one, Node) and one.tag in ("th", "td")]
    return [(cell.text, cell.at.get("title", "")) for cell in cells]
