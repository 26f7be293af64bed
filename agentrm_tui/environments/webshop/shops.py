"""Shops: a level's part of the catalogue, its search engine and its tasks; made once a process and never changed."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from agentrm_tui.environments.webshop.catalogue import Product, make_products
from agentrm_tui.environments.webshop.goals import make_goal
from agentrm_tui.environments.webshop.reward import Goal

if TYPE_CHECKING:
    from bm25s import BM25

MOST_RESULTS = 50
"""Results of a search, as in the original."""

QUERY_WORDS = 40
"""Words of a query that are looked at."""

_WORD = re.compile(r"[a-z0-9]+")
_STOP_WORDS = frozenset(
    re.findall(
        r"\w+", "a an and are as at be by for from i in is it looking me my need of on or our that the this to with"
    )
)


class Level(NamedTuple):
    """How large a shop is and what is asked for.

    Attributes:
        page: Results a page.
        departments: Departments of the shop, counted from the first.
        each: Products of each kind.
        attributes: Fewest and most attributes that are asked for.
        options: Most options that are asked for.
        hidden: Attributes that are asked for may be missing from titles.
        long_identifiers: Ten characters instead of five.
        step_limit: Steps of an episode.
        invalid_limit: The invalid action with this number ends the episode; 0 for never, as in the original.
    """

    page: int
    departments: int
    each: int
    attributes: tuple[int, int]
    options: int
    hidden: bool
    long_identifiers: bool
    step_limit: int
    invalid_limit: int


LEVELS: Mapping[str, Level] = {
    "shop-3": Level(3, 4, 30, (1, 2), 1, False, False, 8, 3),
    "shop-5": Level(5, 8, 50, (1, 2), 2, False, False, 10, 3),
    "shop-10": Level(10, 12, 50, (1, 2), 2, True, False, 12, 3),
    "full": Level(10, 12, 50, (2, 3), 3, True, True, 10, 0),
}
"""`full` has the original's page length and step limit; the others are for small models."""


class Shop:
    """The products of a level, found by number, by identifier or by words."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self.products: tuple[Product, ...] = make_products(level.departments, level.each, level.long_identifiers)
        self.by_asin = {product.asin: index for index, product in enumerate(self.products)}

    def find(self, words: tuple[str, ...]) -> tuple[int, ...]:
        """Products (by index) for a query's words, best first (BM25); equal scores in the order of the catalogue."""
        known = [word for word in words[:QUERY_WORDS] if word in self._engine.vocab_dict]
        if not known:
            return ()
        scores = self._engine.get_scores(known)
        order = (-scores).argsort(kind="stable")[:MOST_RESULTS]
        return tuple(int(index) for index in order if scores[index] > 0)

    @cached_property
    def _engine(self) -> BM25:
        # Loaded on the first search: it brings scipy, and listing tasks needs none of it.
        from bm25s import BM25

        vocabulary: dict[str, int] = {}
        corpus = [
            [vocabulary.setdefault(word, len(vocabulary)) for word in query_words(_document(product))]
            for product in self.products
        ]
        engine = BM25()
        engine.index((corpus, vocabulary), show_progress=False)
        return engine


def query_words(text: str) -> tuple[str, ...]:
    """The words of a text that are searched for: lower case, no stop words, plurals like singulars."""
    return tuple(_stem(word) for word in _WORD.findall(text.lower()) if word not in _STOP_WORDS)


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _document(product: Product) -> str:
    values = (value for _, values in product.options for value in values)
    return " ".join((product.title, *product.categories, product.description, *product.features, *values))


@cache
def shop(level: str) -> Shop:
    """The shop of a level."""
    return Shop(LEVELS[level])


@lru_cache(maxsize=1_024)
def search(level: str, words: tuple[str, ...]) -> tuple[int, ...]:
    """`Shop.find`, remembered: searches of the same words recur in every branch of a tree."""
    return shop(level).find(words)


@lru_cache(maxsize=1_024)
def goal_of(level: str, seed: int) -> Goal:
    """The goal of a task."""
    spec = LEVELS[level]
    rng = random.Random(f"webshop/{level}/{seed}")
    return make_goal(shop(level).products, rng, seed, spec.attributes, spec.options, spec.hidden)
