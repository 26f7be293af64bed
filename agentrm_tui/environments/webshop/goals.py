"""Instructions written from hidden target products."""

from __future__ import annotations

import random
from collections.abc import Sequence

from agentrm_tui.environments.base import SPLIT_SEEDS
from agentrm_tui.environments.webshop.catalogue import SHOWN_ATTRIBUTES, Choices, Product
from agentrm_tui.environments.webshop.reward import Goal

_OPENINGS = ("I am looking for", "I need", "Find me", "I want to buy", "I would like", "Please get me")
_HELD_OUT_EVERY = 10


def make_goal(
    products: Sequence[Product], rng: random.Random, seed: int, attributes: tuple[int, int], options: int, hidden: bool
) -> Goal:
    """Choose a target, some of its attributes and options and a price limit, and write the instruction.

    Args:
        products: The shop.
        rng: Source of all choices.
        seed: The task's seed; it tells the split, and the splits have different target products.
        attributes: Fewest and most attributes that are asked for.
        options: Most options that are asked for; one at least is.
        hidden: Also ask for attributes that are not in the title.
    """
    target = rng.choice(products)
    while split_of(target) != _split_of_seed(seed):
        target = rng.choice(products)
    pool = target.attributes if hidden else target.attributes[:SHOWN_ATTRIBUTES]
    wanted = tuple(rng.sample(pool, rng.randint(*attributes)))
    named = rng.sample(target.options, min(rng.randint(1, options), len(target.options)))
    chosen = tuple((name, rng.choice(values)) for name, values in named)
    # The next full ten above the price, or one of the two after it.
    limit = (target.cents // 1_000 + rng.randint(1, 3)) * 1_000
    return Goal(target, _write(target, wanted, chosen, limit, rng), wanted, chosen, limit)


def split_of(product: Product) -> str:
    """Which split's tasks have this product as their target: one in ten for test and for dev each, else train."""
    return {8: "dev", 9: "test"}.get(product.number % _HELD_OUT_EVERY, "train")


def _split_of_seed(seed: int) -> str:
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
