"""The catalogue: every product is a function of its kind and its number there, so any part of it is made on demand."""

from __future__ import annotations

import random
from typing import NamedTuple, TypeAlias

from agentrm_tui.environments.webshop.departments import (
    BRAND_HEADS,
    BRAND_TAILS,
    DEPARTMENTS,
    DOUBTS,
    PRAISE,
    Department,
    Kind,
)

Choices: TypeAlias = tuple[tuple[str, str], ...]
"""Options as (name, value) pairs, in a fixed order."""

ATTRIBUTES = 4
"""Attributes of a product; the first two are in its title, the others only on its sub-pages."""
SHOWN_ATTRIBUTES = 2
_ENDINGS = (99, 49, 95, 0)
_UNSAID = frozenset({"with", "for", "in"})


class Product(NamedTuple):
    """One product. Prices are in cents, ratings in tenths of a star.

    Attributes:
        number: Its number among the products of its kind.
        asin: The identifier that is clicked, unique in its shop.
        options: Names of options and the values that it comes in.
    """

    number: int
    asin: str
    title: str
    department: str
    shelf: str
    kind: str
    brand: str
    detail: str
    attributes: tuple[str, ...]
    options: tuple[tuple[str, tuple[str, ...]], ...]
    cents: int
    rating: int

    @property
    def price(self) -> str:
        """The price as shown."""
        return f"${self.cents // 100}.{self.cents % 100:02d}"

    @property
    def shown(self) -> tuple[str, ...]:
        """The attributes that the title tells."""
        return self.attributes[:SHOWN_ATTRIBUTES]

    @property
    def categories(self) -> tuple[str, ...]:
        """From the department down to the kind."""
        return self.department, self.shelf, self.kind

    @property
    def nouns(self) -> tuple[str, ...]:
        """The nouns of the title: brand, kind and detail, without the attributes."""
        words = f"{self.brand} {self.kind} {self.detail}".lower().split()
        return tuple(dict.fromkeys(word for word in words if word not in _UNSAID))

    @property
    def description(self) -> str:
        """The text of the sub-page Description; it tells one attribute that the title does not."""
        return f"The {self.kind} by {self.brand}, made {self.detail}. It is {self.attributes[SHOWN_ATTRIBUTES]}."

    @property
    def features(self) -> tuple[str, ...]:
        """The bullets of the sub-page Features: all attributes and where the product belongs."""
        bullets = (attribute.capitalize() for attribute in self.attributes)
        return (*bullets, f"Part of our {self.shelf} range")

    @property
    def reviews(self) -> tuple[str, ...]:
        """Two reviews, the better sort for better ratings."""
        rng = random.Random(f"webshop/reviews/{self.kind}/{self.number}")
        good = sum(rng.randrange(30, 50) < self.rating for _ in range(2))
        return (*rng.sample(PRAISE, good), *rng.sample(DOUBTS, 2 - good))


def make_products(departments: int, each: int, long_identifiers: bool) -> tuple[Product, ...]:
    """The first `each` products of every kind in the first `departments` departments, kind by kind."""
    products: list[Product] = []
    for department in DEPARTMENTS[:departments]:
        for kind in department.kinds:
            for number in range(each):
                asin = _long_identifier(len(products)) if long_identifiers else _short_identifier(len(products))
                products.append(_make_product(department, kind, number, asin))
    return tuple(products)


def _make_product(department: Department, kind: Kind, number: int, asin: str) -> Product:
    rng = random.Random(f"webshop/{department.name}/{kind.name}/{number}")
    # One attribute of the kind at least, so that kinds differ by more than their name.
    own = rng.choice(kind.attributes)
    others = [attribute for attribute in (*department.attributes, *kind.attributes) if attribute != own]
    attributes = [own, *rng.sample(others, ATTRIBUTES - 1)]
    rng.shuffle(attributes)
    brand = rng.choice(BRAND_HEADS) + rng.choice(BRAND_TAILS)
    detail = rng.choice(kind.details)
    words = [brand, *(word.title() for word in (*attributes[:SHOWN_ATTRIBUTES], kind.name)), *_headline(detail)]
    low, high = kind.dollars
    # Squaring makes cheap products commoner than dear ones.
    dollars = low + int((high - low) * rng.random() ** 2)
    return Product(
        number=number,
        asin=asin,
        title=" ".join(words),
        department=department.name,
        shelf=kind.shelf,
        kind=kind.name,
        brand=brand,
        detail=detail,
        attributes=tuple(attributes),
        options=tuple((name, _some(values, rng)) for name, values in department.options.items()),
        cents=dollars * 100 + rng.choice(_ENDINGS),
        rating=rng.randrange(30, 50),
    )


def _some(values: tuple[str, ...], rng: random.Random) -> tuple[str, ...]:
    """Three to five of the values, in their own order."""
    kept = sorted(rng.sample(range(len(values)), min(rng.randrange(3, 6), len(values))))
    return tuple(values[index] for index in kept)


def _headline(detail: str) -> list[str]:
    return [word if word in _UNSAID else word.title() for word in detail.split()]


_LETTERS = "0123456789ABCDEFGHJKLMNPQRSTVWXYZ"[:32]


def _long_identifier(index: int) -> str:
    """Ten characters in the form of the original; a bijection modulo 32^8, so that neighbours look unlike."""
    scrambled = (index * 0x9E3779B97F + 0x5DEECE66D) % 32**8
    return "B0" + "".join(_LETTERS[scrambled >> shift & 31] for shift in range(35, -1, -5))


def _short_identifier(index: int) -> str:
    """`B` and four digits, for small models; a bijection for up to 9,000 products."""
    return f"B{index * 3_779 % 9_000 + 1_000}"
