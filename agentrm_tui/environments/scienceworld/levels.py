"""ScienceWorld's 30 tasks: goals in own words, variations, published step limits, and which variation a seed plays."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from agentrm_tui.environments.base import SPLIT_SEEDS, Split

_DEFAULT_STEPS = 100
"""The simulator's own step limit, for tasks without a published one of their own."""
_SHIFT = 13
"""Added after every thirty seeds; 13 + 30 is a prime that divides no split's number of variations."""

LEAST_REACHED = 0.95
"""What the expert must reach within the step limit; variations in which it does not are left out."""
LEFT_OUT_FILE = Path(__file__).parent / "left_out.json"
"""The variations that are left out, by level; written by benchmarks/scienceworld_paths.py."""


class Level(NamedTuple):
    """One of the 30 tasks.

    Attributes:
        variations: How many the simulator has.
        step_limit: Steps after which an episode ends: those that ETO (arXiv:2403.02502) published with its easy
            preset for 24 of the tasks, and the simulator's own default for the others.
        goal: What is asked for, in own words; the first observation says it exactly.
    """

    variations: int
    step_limit: int
    goal: str


LEVELS = {
    "boil": Level(30, 100, "Boil the named substance."),
    "melt": Level(30, 80, "Melt the named substance."),
    "freeze": Level(30, 80, "Freeze the named substance."),
    "change-the-state-of-matter-of": Level(30, 80, "Change the named substance's state of matter."),
    "use-thermometer": Level(540, 30, "Measure a temperature, then choose a box by it."),
    "measure-melting-point-known-substance": Level(436, 120, "Measure a melting point, then choose a box by it."),
    "measure-melting-point-unknown-substance": Level(
        300, _DEFAULT_STEPS, "Measure an unknown substance's melting point, then choose a box by it."
    ),
    "power-component": Level(20, 20, "Power the named electrical component."),
    "power-component-renewable-vs-nonrenewable-energy": Level(
        20, 30, "Power the named component from the named kind of energy."
    ),
    "test-conductivity": Level(900, 30, "Find out whether the named thing conducts, then choose a box by it."),
    "test-conductivity-of-unknown-substances": Level(
        600, 30, "Find out whether an unknown substance conducts, then choose a box by it."
    ),
    "find-living-thing": Level(300, 15, "Find a living thing and bring it to the named box."),
    "find-non-living-thing": Level(300, 15, "Find a thing that does not live and bring it to the named box."),
    "find-plant": Level(300, 15, "Find a plant and bring it to the named box."),
    "find-animal": Level(300, 15, "Find an animal and bring it to the named box."),
    "grow-plant": Level(126, 30, "Grow the named plant from seed."),
    "grow-fruit": Level(126, 60, "Grow the named fruit; its plants need cross-pollination."),
    "chemistry-mix": Level(32, 60, "Mix chemicals to make the named substance."),
    "chemistry-mix-paint-secondary-color": Level(36, 15, "Mix paints to make the named secondary colour."),
    "chemistry-mix-paint-tertiary-color": Level(36, 30, "Mix paints, in two stages, to make the named colour."),
    "lifespan-longest-lived": Level(125, 10, "Find the animal that lives longest."),
    "lifespan-shortest-lived": Level(125, 10, "Find the animal that lives shortest."),
    "lifespan-longest-lived-then-shortest-lived": Level(
        125, 12, "Find the animal that lives longest, then the one that lives shortest."
    ),
    "identify-life-stages-1": Level(14, 30, "Focus on the named plant's or animal's life stages in their order."),
    "identify-life-stages-2": Level(10, 30, "Focus on the named creature's life stages in their order."),
    "inclined-plane-determine-angle": Level(168, _DEFAULT_STEPS, "Find the steepest or the flattest inclined plane."),
    "inclined-plane-friction-named-surfaces": Level(
        1386, _DEFAULT_STEPS, "Find the named surface with the most or the least friction."
    ),
    "inclined-plane-friction-unnamed-surfaces": Level(
        162, _DEFAULT_STEPS, "Find the unknown surface with the most or the least friction."
    ),
    "mendelian-genetics-known-plant": Level(
        120, _DEFAULT_STEPS, "Find out by growing plants which trait is dominant, then choose a box by it."
    ),
    "mendelian-genetics-unknown-plant": Level(
        480, _DEFAULT_STEPS, "Find out by growing unknown plants which trait is dominant, then choose a box by it."
    ),
}
"""The 30 tasks by the simulator's names and in its order. Numbers of variations are those of version 1.2."""


def split_variations(level: str, split: Split) -> range:
    """The simulator's own split: two quarters of the variations to train, one for development, the rest to test."""
    variations = LEVELS[level].variations
    quarter = variations // 4
    match split:
        case "train":
            return range(2 * quarter)
        case "dev":
            return range(2 * quarter, 3 * quarter)
        case "test":
            return range(3 * quarter, variations)


@cache
def left_out() -> dict[str, tuple[int, ...]]:
    """The variations of each level in which the expert is known to reach less than `LEAST_REACHED`."""
    return msgspec.json.decode(LEFT_OUT_FILE.read_bytes(), type=dict[str, tuple[int, ...]])


@cache
def played_variations(level: str, split: Split) -> tuple[int, ...]:
    """The variations of a split without those that are left out."""
    aside = frozenset(left_out().get(level, ()))
    return tuple(variation for variation in split_variations(level, split) if variation not in aside)


def variation_of(level: str, seed: int) -> int:
    """The variation that a task's seed plays; seeds of different splits share none.

    Consecutive seeds, and also seeds thirty apart, go through all of a split's variations but those left out.
    """
    split: Split = "train"
    for name, first in SPLIT_SEEDS.items():
        if seed >= first:
            split = name
    number = seed - SPLIT_SEEDS[split]
    variations = played_variations(level, split)
    return variations[(number + _SHIFT * (number // len(LEVELS))) % len(variations)]
