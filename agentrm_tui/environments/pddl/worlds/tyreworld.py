"""Tyreworld: change a wheel with wrench, jack and pump."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar

from agentrm_tui.environments.base import Picture
from agentrm_tui.environments.pddl.grounding import Operator
from agentrm_tui.environments.pddl.language import Atom, Literal, Problem
from agentrm_tui.environments.pddl.world import Level, Scene, Span, World, listed, make_problem, paint

_BOXES = ("boot", "chest", "crate", "trunk")
_HUBS = tuple(f"hub{number}" for number in range(1, 10))
_WHEELS = tuple(f"wheel{number}" for number in range(1, 10))
_TOOLS = ("jack", "pump", "wrench")

_STAGES = {"late": (4, 7), "midway": (1, 3), "start": (0, 0)}
"""How far the change of a wheel has come: see `_half_done`."""


class Tyreworld(World):
    """Hubs, wheels and tools."""

    name = "tyreworld"
    actions: ClassVar = {
        "open": "open {b}",
        "close": "close {b}",
        "fetch": "fetch {x} from {b}",
        "put-away": "put {x} in {b}",
        "loosen": "loosen {h}",
        "tighten": "tighten {h}",
        "jack-up": "jack up {h}",
        "jack-down": "jack down {h}",
        "undo": "undo {h}",
        "do-up": "do up {h}",
        "remove": "remove {w} from {h}",
        "put-on": "put {w} on {h}",
        "inflate": "inflate {w}",
    }
    facts: ClassVar = {
        "open": ("{0} is open", "{0} is closed"),
        "in": ("{0} is in {1}", "{0} is not in {1}"),
        "have": ("you have {0}", "you do not have {0}"),
        "tight": ("{0} is tight", "{0} is not tight"),
        "loose": ("{0} is loose", "{0} is not loose"),
        "raised": ("{0} is raised", "{0} is not raised"),
        "bare": ("{0} has no wheel", "{0} has a wheel"),
        "on": ("{0} is on {1}", "{0} is not on {1}"),
        "inflated": ("{0} is inflated", "{0} is flat"),
    }
    levels = (
        Level("tyreworld-1", 22, 1, "late"),
        Level("tyreworld-2", 28, 1, "midway"),
        Level("tyreworld-3", 30, 1, "start"),
        Level("tyreworld-4", 30, 2, "late"),
    )
    action_list = (
        "open BOX, close BOX, fetch X from BOX, put X in BOX, loosen HUB, jack up HUB, undo HUB, remove WHEEL from "
        "HUB, put WHEEL on HUB, do up HUB, jack down HUB, tighten HUB, inflate WHEEL"
    )
    short_list = (
        "open/close BOX, fetch X from BOX, put X in BOX, loosen/tighten/undo/do up/jack up/"
        "jack down HUB, remove X from HUB, put X on HUB, inflate X"
    )
    rules = (
        "Loosen and tighten on the ground with the wrench; undo and do up the nuts on a raised hub with the wrench; "
        "raise with the jack; inflate with the pump."
    )

    def problem(self, level: Level, random: Random) -> Problem:
        """A wheel change, begun or not; at least two goal literals are missing at first."""
        hubs = sorted(random.sample(_HUBS, level.size))
        wheels = random.sample(_WHEELS, 2 * level.size)
        box = random.choice(_BOXES)
        objects = {"box": [box], "hub": hubs, "wheel": wheels, "nuts": [_nuts_of(hub) for hub in hubs]}
        while True:
            initial: list[Atom] = [("open", box)] if random.random() < 0.5 else []
            goal: list[Literal] = []
            jack_used = False
            for hub, old, new in zip(hubs, wheels[::2], wheels[1::2], strict=True):
                low, high = _STAGES[level.variant]
                # There is one jack: only one hub can be up.
                stage = random.randint(7 if jack_used else low, high)
                jack_used |= 2 <= stage <= 6
                initial += [("fits", _nuts_of(hub), hub), ("intact", new), *_half_done(hub, old, new, stage)]
                initial += [("inflated", new)] if random.random() < 0.5 else []
                initial += [_mine_or_in(new, box, random)] if stage < 5 else []
                initial += [_mine_or_in(old, box, random)] if stage >= 4 else []
                goal += [Literal(("on", new, hub)), Literal(("tight", hub)), Literal(("inflated", new))]
                goal += [Literal(("in", old, box))] if random.random() < 0.3 else []
            initial += [_mine_or_in(tool, box, random) for tool in _TOOLS if tool != "jack" or not jack_used]
            goal += [Literal(("open", box), False)] if random.random() < 0.3 else []
            held = set(initial)
            if sum((literal.atom in held) != literal.positive for literal in goal) >= 2:
                return make_problem(self, level, objects, initial, goal)

    def describe(self, scene: Scene) -> str:
        """Box, hands, hubs and wheels."""
        parts = []
        for box in scene.objects("box"):
            is_open = scene.holds("open", box)
            parts.append(f"{box} is {'open' if is_open else 'closed'}. In {box}: {listed(scene.firsts('in', box))}.")
        parts.append(f"You have: {listed(scene.firsts('have'))}.")
        for hub in scene.objects("hub"):
            wheel = listed(scene.firsts("on", hub), "no wheel")
            parts.append(f"{hub} is {_height(scene, hub)} and {_nuts(scene, hub)}, with {wheel}.")
        parts.append(f"Inflated: {listed(scene.firsts('inflated'))}.")
        return " ".join(parts)

    def thought(self, plan: Sequence[Operator], scene: Scene) -> str:
        """Name what comes next in changing the wheel, and what for."""
        step = plan[0]
        thing = step.arguments[0]
        match step.name:
            case "open" | "fetch":
                return _why_fetch(step, plan)
            case "close":
                return f"{thing} must be closed at the end."
            case "put-away":
                return f"{thing} belongs in {step.arguments[1]}."
            case "loosen" | "jack-up":
                return _why_raise(thing, plan)
            case "undo":
                return f"{step.arguments[1]} is raised, the nuts come off."
            case "remove":
                return f"The nuts are off, {thing} can go."
            case "put-on":
                return f"{step.arguments[1]} is bare and needs {thing}."
            case "do-up":
                return f"The wheel is on, {step.arguments[1]} needs nuts."
            case "jack-down":
                return f"{thing} is loose, lower it to tighten."
            case "tighten":
                return f"{thing} is down and must be tight."
            case _:
                return f"{thing} is flat and I have the pump."

    def picture(self, scene: Scene) -> Picture:
        """One line for each hub with its wheel, then hands and box."""
        lines = []
        for hub in scene.objects("hub"):
            wheel = listed(scene.firsts("on", hub), "")
            shape = "  " if not wheel else "O " if scene.holds("inflated", wheel) else "_ "
            lines.append([Span(f"{hub:<6}", "label"), Span("^ " if scene.holds("raised", hub) else ". ", "wall")])
            lines[-1] += [Span(shape, "object", "accent"), Span(f"{wheel:<8}", "object")]
            lines[-1].append(Span(_nuts(scene, hub), "goal" if scene.holds("tight", hub) else "floor"))
        lines.append([Span("hands ", "label"), Span(listed(scene.firsts("have"), "-"), "agent")])
        for box in scene.objects("box"):
            inside = listed(scene.firsts("in", box), "-")
            lines.append([Span(f"{box:<6}", "door" if scene.holds("open", box) else "hidden"), Span(inside, "object")])
        lines.append([Span("pumped ", "label"), Span(listed(scene.firsts("inflated"), "-"), "floor")])
        return paint(lines, "roadside")


def _half_done(hub: str, old: str, new: str, stage: int) -> list[Atom]:
    """A hub at a stage of its wheel change.

    0 untouched, 1 loosened, 2 raised, 3 nuts off, 4 old wheel off, 5 new wheel on, 6 nuts done up, 7 lowered.
    """
    atoms: list[Atom] = [("tight", hub)] if stage == 0 else [("loose", hub)] if stage in (1, 2, 6, 7) else []
    if 2 <= stage <= 6:
        atoms.append(("raised", hub))
    if 3 <= stage <= 5:
        atoms.append(("have", _nuts_of(hub)))
    atoms.append(("bare", hub) if stage == 4 else ("on", old if stage < 4 else new, hub))
    return atoms


def _mine_or_in(thing: str, box: str, random: Random) -> Atom:
    return ("have", thing) if random.random() < 0.5 else ("in", thing, box)


def _nuts_of(hub: str) -> str:
    return hub.replace("hub", "nuts")


def _height(scene: Scene, hub: str) -> str:
    return "raised" if scene.holds("raised", hub) else "down"


def _nuts(scene: Scene, hub: str) -> str:
    return "tight" if scene.holds("tight", hub) else "loose" if scene.holds("loose", hub) else "without nuts"


def _why_raise(hub: str, plan: Sequence[Operator]) -> str:
    for later in plan:
        if later.name == "remove" and later.arguments[1] == hub:
            return f"{later.arguments[0]} must come off {hub}."
    return f"{hub} must be raised for its nuts."


def _why_fetch(step: Operator, plan: Sequence[Operator]) -> str:
    """What the plan fetches next is needed for its first later use."""
    fetched = next((later for later in plan if later.name in ("fetch", "put-away")), step)
    thing, box = fetched.arguments[0], fetched.arguments[-1]
    if fetched.name == "put-away":
        return f"{thing} belongs in {box}."
    for later in plan:
        match later.name:
            case "loosen" | "tighten" if thing == "wrench":
                return f"I must {later.name} {later.arguments[-1]} with the wrench in {box}."
            case "undo" | "do-up" if thing == "wrench":
                return f"The nuts of {later.arguments[-1]} need the wrench in {box}."
            case "jack-up" if thing == "jack":
                return f"I must raise {later.arguments[0]} with the jack in {box}."
            case "inflate" if thing == "pump":
                return f"{later.arguments[0]} needs the pump in {box}."
            case "put-on" if thing == later.arguments[0]:
                return f"{later.arguments[1]} needs {thing}, it is in {box}."
    return f"I need {thing}, it is in {box}."
