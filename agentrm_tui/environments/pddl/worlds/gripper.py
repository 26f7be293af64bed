"""Gripper: carry coloured balls to their rooms with two hands."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar

from agentrm_tui.environments.base import Picture
from agentrm_tui.environments.pddl.grounding import Operator
from agentrm_tui.environments.pddl.language import Atom, Literal, Problem
from agentrm_tui.environments.pddl.world import Level, Scene, Span, World, listed, make_problem, paint, tint_of

_ROOMS = ("attic", "cellar", "garage", "hall", "kitchen", "library", "office", "porch", "studio", "tower")
_BALLS = ("black", "blue", "brown", "green", "grey", "orange", "pink", "purple", "red", "white", "yellow")
_HANDS = ("left", "right")


class Gripper(World):
    """Rooms, balls and a robot."""

    name = "gripper"
    actions: ClassVar = {"go": "go to {to}", "pick": "pick {b} with {h}", "drop": "drop {b}"}
    facts: ClassVar = {
        "robot-in": ("you are in {0}", "you are not in {0}"),
        "in": ("{0} is in {1}", "{0} is not in {1}"),
        "empty": ("your {0} hand is empty", "your {0} hand is not empty"),
        "carries": ("you carry {1}", "you do not carry {1}"),
    }
    levels = (
        Level("gripper-2", 20, 2),
        Level("gripper-3", 26, 3),
        Level("gripper-4", 30, 4),
        Level("gripper-5", 30, 5),
    )
    action_list = "go to ROOM, pick BALL with HAND, drop BALL"
    short_list = "go to ROOM, pick X with HAND, drop X"
    rules = "Each of your two hands carries one ball. Balls are picked and dropped in the room where you are."

    def problem(self, level: Level, random: Random) -> Problem:
        """Three rooms; each ball is wanted somewhere, at least two of them elsewhere."""
        rooms = sorted(random.sample(_ROOMS, 3))
        balls = sorted(random.sample(_BALLS, level.size))
        while True:
            places = [(random.choice(rooms), random.choice(rooms)) for _ in balls]
            if sum(before != after for before, after in places) >= min(level.size, 3) - (level.size > 2):
                break
        initial: list[Atom] = [("robot-in", random.choice(rooms)), *(("empty", hand) for hand in _HANDS)]
        initial += [("in", ball, before) for ball, (before, _) in zip(balls, places, strict=True)]
        goal = [Literal(("in", ball, after)) for ball, (_, after) in zip(balls, places, strict=True)]
        return make_problem(self, level, {"room": rooms, "ball": balls}, initial, goal)

    def introduce(self, scene: Scene) -> str:
        """The rooms."""
        return f"Rooms: {listed(scene.objects('room'))}."

    def describe(self, scene: Scene) -> str:
        """Where you are, what each hand carries, and where each ball lies."""
        held = scene.mapping("carries")
        parts = [f"You are in {scene.firsts('robot-in')[0]}."]
        parts += [f"{hand.capitalize()} hand: {held.get(hand, 'empty')}." for hand in _HANDS]
        lying = [f"{ball} at {room}" for ball, room in scene.pairs("in")]
        return " ".join([*parts, f"Balls: {', '.join(lying)}."] if lying else parts)

    def thought(self, plan: Sequence[Operator], scene: Scene) -> str:
        """Name the ball that is dealt with next and where it belongs."""
        target = {literal.atom[1]: literal.atom[2] for literal in scene.goal}
        step = plan[0]
        match step.name:
            case "go":
                following = next(later for later in plan if later.name != "go")
                ball = following.arguments[0]
                if following.name == "pick":
                    return f"I fetch {ball} at {following.arguments[1]}."
                return f"I bring it, goal: {ball} is in {target[ball]}."
            case "pick":
                ball = step.arguments[0]
                return f"It is here, goal: {ball} is in {target[ball]}."
            case _:
                ball = step.arguments[0]
                return f"I am there, goal: {ball} is in {target[ball]}."

    def picture(self, scene: Scene) -> Picture:
        """One line for each room, and one for the hands."""
        here = scene.firsts("robot-in")[0]
        width = max(len(room) for room in scene.objects("room"))
        lines = []
        for room in scene.objects("room"):
            line = [Span("@ " if room == here else "  ", "agent"), Span(room.ljust(width), "label"), Span(" |", "wall")]
            lines.append(line + [span for ball in scene.firsts("in", room) for span in _ball(ball)])
        held = scene.mapping("carries")
        for hand in _HANDS:
            label = Span(f"  {hand.ljust(width)}", "label")
            lines.append([label, Span(" :", "agent"), *(_ball(held[hand]) if hand in held else ())])
        return paint(lines, f"in {here}")


def _ball(name: str) -> list[Span]:
    return [Span(" ", "floor"), Span(f"o {name}", "object", tint_of(name))]
