"""Instructions written from hidden target products."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from zlib import crc32

from agentrm_tui.environments.base import SPLIT_SEEDS, Split
from agentrm_tui.environments.webshop.catalogue import Choices, Product
from agentrm_tui.environments.webshop.reward import Goal

_OPENINGS = ("I am looking for", "I need", "Find me", "I want to buy", "I would like", "Please get me")
_TENTHS: Mapping[int, Split] = {8: "dev", 9: "test"}


def make_goal(
    products: Sequence[Product], rng: random.Random, seed: int, attributes: tuple[int, int], options: int, hidden: bool
) -> Goal:
    """Choose a target, some of its attributes and options and a price limit, and write the instruction.

    Args:
        products: The shop.
        rng: Source of all choices.
        seed: The task's seed; it tells the split. Splits share neither target products nor wishes (kind, attributes and
            options), so that no test task was ever asked for in training.
        attributes: Fewest and most attributes that are asked for.
        options: Most options that are asked for; one at least is.
        hidden: Also ask for attributes that are not in the title.
    """
    split = split_of_seed(seed)
    while True:
        target = rng.choice(products)
        if split_of_product(target) != split:
            continue
        pool = target.attributes if hidden else target.shown
        wanted = tuple(rng.sample(pool, rng.randint(*attributes)))
        named = rng.sample(target.options, min(rng.randint(1, options), len(target.options)))
        chosen = tuple((name, rng.choice(values)) for name, values in named)
        if split_of_wish(target.kind, wanted, chosen) == split:
            break
    # The next full ten above the price, or one of the two after it.
    limit = (target.cents // 1_000 + rng.randint(1, 3)) * 1_000
    return Goal(target, _write(target, wanted, chosen, limit, rng), wanted, chosen, limit)


def split_of_product(product: Product) -> Split:
    """Which split's tasks have this product as their target: one in ten for test and for dev each, else train."""
    return _TENTHS.get(product.number % 10, "train")


def split_of_wish(kind: str, attributes: tuple[str, ...], options: Choices) -> Split:
    """Which split's tasks ask for this kind with these attributes and options, in any order and wording."""
    wish = "/".join((kind, *sorted(attributes), *sorted(f"{name}={value}" for name, value in options)))
    return _TENTHS.get(crc32(wish.encode()) % 10, "train")


def split_of_seed(seed: int) -> Split:
    """The split that a task's seed belongs to."""
    if seed >= SPLIT_SEEDS["test"]:
        return "test"
    return "dev" if seed >= SPLIT_SEEDS["dev"] else "train"


def _write(target: Product, attributes: tuple[str, ...], options: Choices, limit: int, rng: random.Random) -> str:
    plural = target.kind.endswith("s")
    opening = rng.choice(_OPENINGS)
    if rng.random() < 0.5:
        thing = f"{', '.join(attributes)} {target.kind}"
    else:
        thing = f"{target.kind} that {'are' if plural else 'is'} {' and '.join(attributes)}"
    if not plural:
        thing = f"{'an' if thing[0] in 'aeiou' and not thing.startswith('uv') else 'a'} {thing}"
    asked = (
        " and ".join(f"{name} {value}" for name, value in options)
        if rng.random() < 0.5
        else ", and ".join(f"{name}: {value}" for name, value in options)
    )
    return f"{opening} {thing}, with {asked}, and price lower than {limit // 100}.00 dollars"
