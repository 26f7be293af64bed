"""What a model is told about Colossal Cave."""

from __future__ import annotations

FULL = """\
You explore Colossal Cave. You have a task in one part of it, or play the whole game for points.

Actions are one or two words:
- directions: north, south, east, west, ne, nw, se, sw, up, down, in, out, and names of places nearby such as enter, \
cross, climb, slab, or magic words
- take THING, drop THING, throw THING, light lamp, extinguish lamp, unlock THING, open THING, wave THING, fill bottle, \
pour water, pour oil, feed ANIMAL, attack ANIMAL, eat food, read THING
- look, inventory; yes or no when you are asked

You can carry seven things. Walking on in the dark, you fall into a pit. In a task (all levels but whole-game) an \
episode ends with failure when you die, when you leave the part of the cave that the task needs, when a thing that it \
needs is lost or broken, and at the fourth action that is not possible. Dwarves and hints are left out there; in the \
whole game only death, the twentieth impossible action or the end of the game ends it.

Reply with one thought and one action:
Thought: I need the keys, they are in the building.
Action: enter
"""

SHORT = """\
Colossal Cave. Actions: directions (north, ne, up, in, ...), place names, magic words, take X, drop X, throw X, light \
lamp, unlock X, open X, wave X, fill bottle, pour X, feed X, attack X, look, inventory, yes. Tasks fail by death, \
walking in the dark, leaving their part of the cave, losing what they need, or four impossible actions.
"""
