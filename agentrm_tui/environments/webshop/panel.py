"""The shop as a small panel: where the agent is, what lies on the shelf, which options are chosen."""

from __future__ import annotations

from typing import Literal, TypeAlias

from agentrm_tui.environments.base import Cell, Picture
from agentrm_tui.environments.webshop.pages import Moment
from agentrm_tui.environments.webshop.reward import best_options, reward

WIDTH = 34
HEIGHT = 6

_Role: TypeAlias = Literal["empty", "agent", "goal", "object", "label"]
_Line: TypeAlias = tuple[str, _Role]


def draw(moment: Moment) -> Picture:
    """The panel; products that can score fully are drawn as goals, what was chosen rightly too."""
    lines = _lines(moment)[:HEIGHT]
    lines += [("", "empty")] * (HEIGHT - len(lines))
    return Picture(tuple(_row(line) for line in lines), f"step {moment.steps}/{moment.task.step_limit}")


def _row(line: _Line) -> tuple[Cell, ...]:
    text, role = line
    return tuple(Cell(glyph, role if glyph != " " else "empty") for glyph in text[:WIDTH].ljust(WIDTH))


def _lines(moment: Moment) -> list[_Line]:
    match moment.place:
        case "search":
            return [("search", "agent")]
        case "results":
            return [(f"results {moment.number}/{moment.pages}", "agent"), *_shelf(moment)]
    return [(f"{moment.product.asin} {moment.place}", "agent"), *_item(moment)]


def _shelf(moment: Moment) -> list[_Line]:
    lines: list[_Line] = []
    for index in moment.on_page(moment.number):
        product = moment.shop.products[index]
        full = reward(product, best_options(product, moment.goal), moment.goal) == 1.0
        lines.append((f"{product.price:>7} {product.title}", "goal" if full else "object"))
    return lines


def _item(moment: Moment) -> list[_Line]:
    product = moment.product
    wanted, chosen = dict(best_options(product, moment.goal)), dict(moment.chosen)
    lines: list[_Line] = [(product.title, "label"), (product.price, "label")]
    for name, _ in product.options:
        value = chosen.get(name, "-")
        right = name in wanted and wanted[name] == value
        lines.append((f"{name}: {value}", "goal" if right else "object"))
    return lines
