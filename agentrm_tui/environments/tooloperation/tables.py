"""Made-up tables for workbooks: things with an owner or place, and two columns of numbers."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from agentrm_tui.environments.tooloperation.grid import Sheet
from agentrm_tui.environments.tooloperation.sheet import Workbook
from agentrm_tui.environments.tools.words import words


class Kind(NamedTuple):
    """A kind of table: the heads of its columns (a name, two numbers, a group), and the names and groups to use."""

    heads: tuple[str, str, str, str]
    names: tuple[str, ...]
    groups: tuple[str, ...]
    price: Callable[[Random], int]


def _small(rng: Random) -> int:
    return rng.randint(2, 30)


def _large(rng: Random) -> int:
    return rng.randint(10, 90) * 10


FURNITURE = words("Lamp Chair Desk Vase Clock Rug Mirror Stool Bench Fan Bed Sofa Chest Candle Kettle")
PEOPLE = words("Ines Hugo Mira Pavel Rosa Sven Tara Wim Yara Zeno Ada Bruno Celia Dario Elin")
CITIES = words("Ostwick Pellan Tirna Lowden Vintry Castell Monrow Skarn Duneby Fairmarsh Hadleigh")
PLANTS = words("Basil Thyme Mint Sage Dill Chive Fennel Lovage Sorrel Anise Borage Cress Parsley")
BOOKS = words("Atlas Poems Guide Diary Novel Manual Songs Essays Letters Fables Plays Sagas Tales")

KINDS = (
    Kind(("Item", "Price", "Amount", "Shelf"), FURNITURE, words("north south east"), _small),
    Kind(("Name", "Pay", "Days", "Team"), PEOPLE, words("red blue green"), _large),
    Kind(("City", "Cost", "Guests", "Guide"), CITIES, words("Greta Leon Olga"), _large),
    Kind(("Plant", "Height", "Seeds", "Bed"), PLANTS, words("left right middle"), _small),
    Kind(("Book", "Pages", "Copies", "Room"), BOOKS, words("attic hall cellar"), _large),
)
SHEET_NAMES = words(
    "Sheet1 Sheet2 Plan Stock Spring Summer Autumn Winter Draft Totals Budget Orders Review List May June"
)


def make_workbook(difficulty: int, rng: Random) -> Workbook:
    """Two sheets, neither of them open; the harder, the longer."""
    names, kinds = rng.sample(SHEET_NAMES, 2), rng.sample(KINDS, 2)
    return Workbook(tuple(_make_sheet(name, kind, difficulty, rng) for name, kind in zip(names, kinds, strict=True)))


def _make_sheet(name: str, kind: Kind, difficulty: int, rng: Random) -> Sheet:
    width, height = (3, 3) if difficulty == 1 else (4, 2 + difficulty)
    prices: dict[int, None] = {}
    while len(prices) < height:
        prices[kind.price(rng)] = None
    rows = [kind.heads[:width]]
    for item, price in zip(rng.sample(kind.names, height), prices, strict=True):
        amount = rng.choice((0, rng.randint(1, 12), rng.randint(1, 12)))
        rows.append((item, str(price), str(amount), rng.choice(kind.groups))[:width])
    return Sheet(name, tuple(rows))
