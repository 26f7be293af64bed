"""Barman: fill glasses, and mix cocktails in a shaker."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from random import Random
from typing import ClassVar

from agentrm_tui.environments.base import Picture
from agentrm_tui.environments.pddl.grounding import Operator
from agentrm_tui.environments.pddl.language import Atom, Literal, Problem
from agentrm_tui.environments.pddl.world import Level, Scene, Span, World, listed, make_problem, paint

_SHOTS = ("beaker", "bowl", "cup", "flask", "flute", "glass", "jar", "mug")
_INGREDIENTS = ("cocoa", "cola", "cream", "gin", "honey", "lemon", "lime", "mango", "milk", "mint", "rum", "soda")
_COCKTAILS = ("breeze", "comet", "ember", "lagoon", "sunset", "thunder", "tiger", "velvet")
_HANDS = ("left", "right")


class Barman(World):
    """Glasses, dispensers and a shaker."""

    name = "barman"
    actions: ClassVar = {
        "grasp": "grasp {c} with {h}",
        "leave": "leave {c}",
        "fill": "fill {s} with {i}",
        "refill": "fill {s} with {i}",
        "empty-shot": "empty {s}",
        "clean-shot": "clean {s}",
        "pour-in": "pour {s} into {k}",
        "shake": "shake {k}",
        "pour-out": "pour {k} into {s}",
        "pour-last": "pour {k} into {s}",
        "discard-one": "empty {k}",
        "discard-two": "empty {k}",
        "discard-drink": "empty {k}",
        "clean-shaker": "clean {k}",
    }
    facts: ClassVar = {
        "on-shelf": ("{0} is on the shelf", "{0} is not on the shelf"),
        "hand-empty": ("your {0} hand is empty", "your {0} hand is not empty"),
        "holding": ("you hold {1}", "you do not hold {1}"),
        "empty": ("{0} is empty", "{0} is not empty"),
        "contains": ("{0} contains {1}", "{0} does not contain {1}"),
        "clean": ("{0} is clean", "{0} is not clean"),
        "used": ("{0} was used for {1}", "{0} was not used for {1}"),
        "ready": ("{0} is clean", "{0} is not clean"),
        "shaken": ("{0} is shaken", "{0} is not shaken"),
        "filled": ("{0} is filled to level {1}", "{0} is not filled to level {1}"),
    }
    levels = (
        Level("barman-1", 24, 2, "drinks"),
        Level("barman-2", 24, 2, "half-mixed"),
        Level("barman-3", 30, 2, "cocktail"),
        Level("barman-4", 30, 3, "cocktail"),
    )
    action_list = "grasp X with HAND, leave X, fill X with DRINK, empty X, clean X, pour X into Y, shake X"
    short_list = "grasp X with HAND, leave/empty/clean/shake X, fill X with DRINK, pour X into Y"
    rules = (
        "Filling, cleaning and shaking need one hand for the thing and the other hand empty. A used glass is cleaned "
        "before another drink. A cocktail is its two ingredients, poured into the shaker and shaken; it serves two."
    )

    def problem(self, level: Level, random: Random) -> Problem:
        """Drinks in glasses, some of them dirty or wrongly filled; from level 2 on at least one is a cocktail."""
        shots = sorted(random.sample(_SHOTS, level.size))
        ingredients = sorted(random.sample(_INGREDIENTS, 3))
        objects = {"shot": shots, "ingredient": ingredients}
        initial: list[Atom] = [("hand-empty", hand) for hand in _HANDS]
        if level.variant == "drinks":
            wanted = {shot: random.choice(ingredients) for shot in shots}
        else:
            cocktail = random.choice(_COCKTAILS)
            parts = sorted(random.sample(ingredients, 2))
            objects |= {"shaker": ["shaker"], "cocktail": [cocktail]}
            initial += [("recipe", cocktail, *parts), ("next", "zero", "one"), ("next", "one", "two")]
            initial += [("before", *pair) for pair in combinations(ingredients, 2)]
            initial += _shaker(cocktail, parts, random.randint(1, 3) if level.variant == "half-mixed" else 0, random)
            wanted = dict.fromkeys(random.sample(shots, random.randint(1, 2)), cocktail)
            for shot in shots:
                wanted.setdefault(shot, random.choice(ingredients))
        dirty = random.choice(shots) if level.variant == "drinks" or random.random() < 0.3 else ""
        held = random.choice(["", "", *shots])
        for shot in shots:
            initial += [("holding", random.choice(_HANDS), shot)] if shot == held else [("on-shelf", shot)]
            others = [drink for drink in ingredients if drink != wanted[shot]]
            initial += _glass(shot, random.choice(others) if shot == dirty else "", random.random() < 0.5)
        hands = {atom[1] for atom in initial if atom[0] == "holding"}
        initial = [atom for atom in initial if atom[0] != "hand-empty" or atom[1] not in hands]
        return make_problem(
            self, level, objects, initial, [Literal(("contains", shot, wanted[shot])) for shot in sorted(wanted)]
        )

    def introduce(self, scene: Scene) -> str:
        """Dispensers and recipes."""
        recipes = [f"{cocktail} is made of {i} and {j}." for cocktail, i, j in scene.pairs("recipe")]
        return " ".join([f"Dispensers: {listed(scene.objects('ingredient'))}.", *recipes])

    def describe(self, scene: Scene) -> str:
        """Hands, shelf, and what is in each glass and in the shaker."""
        held = scene.mapping("holding")
        parts = [f"{hand.capitalize()} hand: {held.get(hand, 'empty')}." for hand in _HANDS]
        parts.append(f"On the shelf: {listed(scene.firsts('on-shelf'))}.")
        parts += [f"{shot} {_content(scene, shot)}." for shot in scene.objects("shot")]
        parts += [f"{shaker} {_mixture(scene, shaker)}." for shaker in scene.objects("shaker")]
        return " ".join(parts)

    def thought(self, plan: Sequence[Operator], scene: Scene) -> str:
        """Name the drink that is worked on and what it lacks."""
        step = plan[0]
        thing = step.arguments[0]
        match step.name:
            case "grasp":
                return _why_grasp(thing, plan[1:])
            case "leave":
                return "I need a free hand."
            case "fill" | "refill":
                return _why_ingredient(scene, thing, step.arguments[1])
            case "pour-in":
                return f"{_cocktail(scene)} needs {step.arguments[1]} in {step.arguments[2]}."
            case "shake":
                return f"{step.arguments[2]} and {step.arguments[3]} are in, so shake."
            case "pour-out" | "pour-last":
                return f"Goal: {step.arguments[2]} contains {step.arguments[1]}."
            case "clean-shot" | "clean-shaker":
                return f"{thing} is dirty and needed."
            case _:
                return f"{thing} has the wrong drink."

    def picture(self, scene: Scene) -> Picture:
        """Hands and shelf, then one line for each vessel."""
        held = scene.mapping("holding")
        lines = [[Span(f"{hand:<6}", "label"), Span(held.get(hand, "-"), "agent")] for hand in _HANDS]
        lines.append([Span("shelf ", "label"), Span(listed(scene.firsts("on-shelf"), "-"), "wall")])
        for shot in scene.objects("shot"):
            lines.append([Span(f"{shot:<7}", "object"), Span("U ", "wall"), Span(_content(scene, shot), "floor")])
        for shaker in scene.objects("shaker"):
            lines.append([Span(f"{shaker:<7}", "object", "accent"), Span("Y ", "wall")])
            lines[-1].append(Span(_mixture(scene, shaker), "floor"))
        return paint(lines, listed((f"{c}: {i} + {j}" for c, i, j in scene.pairs("recipe")), "bar"))


def _glass(shot: str, drink: str, full: bool) -> list[Atom]:
    """A clean glass without a drink, else one that holds it or held it."""
    if not drink:
        return [("empty", shot), ("clean", shot)]
    return [("used", shot, drink), ("contains", shot, drink) if full else ("empty", shot)]


def _shaker(cocktail: str, parts: Sequence[str], stage: int, random: Random) -> list[Atom]:
    """A shaker that is clean (0), has one ingredient (1), has both (2) or is shaken (3)."""
    place: Atom = ("on-shelf", "shaker")
    match stage:
        case 0:
            return [place, ("empty", "shaker"), ("ready", "shaker"), ("filled", "shaker", "zero")]
        case 1:
            inside: list[Atom] = [("contains", "shaker", random.choice(parts)), ("filled", "shaker", "one")]
            return [place, ("ready", "shaker"), *inside]
        case 2:
            inside = [("contains", "shaker", part) for part in parts]
            return [place, ("ready", "shaker"), ("filled", "shaker", "two"), *inside]
        case _:
            return [place, ("shaken", "shaker"), ("filled", "shaker", "two"), ("contains", "shaker", cocktail)]


def _content(scene: Scene, shot: str) -> str:
    for found, drink in scene.pairs("contains"):
        if found == shot:
            return f"has {drink}"
    if scene.holds("clean", shot):
        return "is clean"
    return f"is dirty with {listed(drink for found, drink in scene.pairs('used') if found == shot)}"


def _mixture(scene: Scene, shaker: str) -> str:
    inside = [drink for found, drink in scene.pairs("contains") if found == shaker]
    if not inside:
        return "is clean" if scene.holds("ready", shaker) else "is dirty"
    if scene.holds("shaken", shaker):
        return f"has {inside[0]} for {'two' if scene.holds('filled', shaker, 'two') else 'one'}"
    return f"has {' and '.join(inside)}, not shaken"


def _cocktail(scene: Scene) -> str:
    return scene.pairs("recipe")[0][0]


def _why_ingredient(scene: Scene, shot: str, ingredient: str) -> str:
    if any(literal.atom == ("contains", shot, ingredient) for literal in scene.goal):
        return f"Goal: {shot} contains {ingredient}."
    return f"{_cocktail(scene)} needs {ingredient}."


def _why_grasp(thing: str, rest: Sequence[Operator]) -> str:
    for later in rest:
        if thing not in later.arguments:
            continue
        match later.name:
            case "fill" | "refill":
                return f"I need {thing} for {later.arguments[1]}."
            case "shake":
                return f"I need {thing} to shake {later.arguments[1]}."
            case "pour-out" | "pour-last" if later.arguments[0] == thing:
                return f"I need {thing} to pour {later.arguments[1]}."
            case "clean-shot" | "clean-shaker":
                return f"{thing} is dirty and needed."
            case "pour-in":
                return f"{later.arguments[1]} in {thing} goes into {later.arguments[2]}."
            case "empty-shot" | "discard-one" | "discard-two" | "discard-drink":
                return f"{thing} has the wrong drink."
    return f"I need {thing}."
