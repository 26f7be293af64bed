"""Blockworld: build towers with one hand. Blocks are named by letters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import ClassVar

from agentrm_tui.environments.base import Picture
from agentrm_tui.environments.pddl.grounding import Operator
from agentrm_tui.environments.pddl.language import Atom, Literal, Problem
from agentrm_tui.environments.pddl.world import Level, Scene, Span, World, make_problem, paint

# No `a` and no `i`, which are English words, and no `l` and `o`, which look like digits.
_NAMES = "bcdefghjkmnpqrstuvwxyz"


class Blockworld(World):
    """Towers of lettered blocks."""

    name = "blockworld"
    actions: ClassVar = {
        "pick-up": "pick up {x}",
        "unstack": "unstack {x} from {y}",
        "put-down": "put down {x}",
        "stack": "stack {x} on {y}",
    }
    facts: ClassVar = {
        "on": ("{0} is on {1}", "{0} is not on {1}"),
        "on-table": ("{0} is on the table", "{0} is not on the table"),
        "clear": ("{0} is free", "{0} is not free"),
        "holding": ("you hold {0}", "you do not hold {0}"),
        "hand-empty": ("your hand is empty", "your hand is not empty"),
    }
    levels = (
        Level("blockworld-3", 18, 3),
        Level("blockworld-4", 24, 4),
        Level("blockworld-5", 28, 5),
        Level("blockworld-6", 30, 6),
    )
    action_list = "pick up X, put down X, stack X on Y, unstack X from Y"
    short_list = "pick up X, put down X, stack X on Y, unstack X from Y"
    rules = (
        "Your hand holds one block. Only a free block, with nothing on it, can be taken: pick up from the table, "
        "unstack from a block."
    )

    def problem(self, level: Level, random: Random) -> Problem:
        """Random towers (perhaps a block in the hand) to random towers; two or more wanted relations are missing."""
        names = sorted(random.sample(_NAMES, level.size))
        while True:
            before, after = _towers(names, random), _towers(names, random)
            # Some episodes begin with a block in the hand: more initial states for few blocks.
            lifted = [random.choice(before).pop()] if random.random() < 0.4 else []
            before = [tower for tower in before if tower]
            below = {(x, y) for tower in before for y, x in pairwise(tower)}
            wanted = [(x, y) for tower in after for y, x in pairwise(tower)]
            if len(set(wanted) - below) >= 2:
                break
        initial: list[Atom] = [("holding", name) for name in lifted] or [("hand-empty",)]
        initial += [("on", x, y) for x, y in below]
        for tower in before:
            initial += [("on-table", tower[0]), ("clear", tower[-1])]
        return make_problem(self, level, {"block": names}, initial, [Literal(("on", x, y)) for x, y in wanted])

    def describe(self, scene: Scene) -> str:
        """The hand, and on what each block stands; free ones have nothing on them."""
        hand = scene.firsts("holding")
        parts = [f"You hold {hand[0]}." if hand else "Your hand is empty."]
        below = scene.mapping("on") | dict.fromkeys(scene.firsts("on-table"), "table")
        free = set(scene.firsts("clear"))
        standing = [f"{'free ' * (name in free)}{name} at {below[name]}" for name in sorted(below)]
        parts.append(f"Blocks: {', '.join(standing)}.")
        return " ".join(parts)

    def thought(self, plan: Sequence[Operator], scene: Scene) -> str:
        """Name the next wanted `on` relation, and what is in its way."""
        wanted = {literal.atom for literal in scene.goal}
        goals = [step.arguments for step in plan if step.name == "stack" and ("on", *step.arguments) in wanted]
        x, y = goals[0]
        moved = plan[0].arguments[0]
        match plan[0].name:
            case "pick-up" | "unstack" if moved == x:
                return f"Goal: {x} is on {y}, so take {x}."
            case "pick-up" | "unstack":
                blocked = plan[0].arguments[-1]
                return f"Goal: {x} is on {y}, but {moved} at {blocked}."
            case "stack" if (moved, plan[0].arguments[1]) == (x, y):
                return f"I hold it, goal: {x} is on {y}."
            case _:
                return f"Goal: {x} is on {y}, so park {moved}."

    def picture(self, scene: Scene) -> Picture:
        """Towers side by side in the order of their bases, the hand above them."""
        above = {y: x for x, y in scene.pairs("on")}
        towers = []
        for base in scene.firsts("on-table"):
            tower = [base]
            while tower[-1] in above:
                tower.append(above[tower[-1]])
            towers.append(tower)
        count = len(scene.objects("block"))
        hand = scene.firsts("holding")
        lines = [[Span("hand ", "label"), *_block(hand[0] if hand else "")]]
        for height in range(count - 1, -1, -1):
            lines.append([span for tower in towers for span in _block(tower[height] if height < len(tower) else "")])
        lines.append([Span("=" * 4 * count, "wall")])
        return paint(lines, "blocks")


def _block(name: str) -> list[Span]:
    if not name:
        return [Span("    ", "empty")]
    return [Span("[", "wall"), Span(name, "object", "accent"), Span("]", "wall"), Span(" ", "empty")]


def _towers(names: Sequence[str], random: Random) -> list[list[str]]:
    """Drop the blocks in random order, each on the table or on a random tower; towers by the name of their base."""
    towers: list[list[str]] = []
    for name in random.sample(names, len(names)):
        place = random.randrange(len(towers) + 1)
        if place == len(towers):
            towers.append([name])
        else:
            towers[place].append(name)
    return sorted(towers)
