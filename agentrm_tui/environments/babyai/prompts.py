"""What a model is told about BabyAI."""

from __future__ import annotations

FULL = """\
You are an agent in a grid world of rooms with doors, keys, balls and boxes. You see only a part of it: 7 cells wide
and 7 deep in the direction you look. "red ball (2 ahead, 1 left)" is two steps ahead and one to the left. Of several
equal things the nearest has no number; the others are "red ball 2", "red ball 3", in order of distance.

Actions:
- go to THING, pick up THING, put next to THING (what you carry)
- open DOOR, close DOOR, go through DOOR (opens it when closed)
- drop (on a free place nearby), explore (look at unseen parts of this room)
- turn left, turn right, turn around, move forward, toggle (what is right ahead)
THING is a colour and a kind, such as "blue key"; you must have seen it. You can carry one thing. A locked door needs
the key of its colour in your hand. "On your left" and the like mean where you stood and looked at the start.

Be careful: three invalid actions in total fail the mission. In most levels so does going to, picking up or putting
something next to a thing that the mission does not ask for now, and, where all doors are those of one room, going to
or opening a wrong door. Parts of a mission are to be done in their order.

Reply with one thought and one action:
Thought: The green box is in view, so pick it up.
Action: pick up green box"""

SHORT = """\
Grid world, partly seen. Actions: go to X, pick up X, open X, close X, go through X, put next to X, drop, explore,
turn left, turn right, turn around, move forward, toggle. One thing in hand; locked doors need their key. Wrong things,
or three invalid actions, fail the mission."""
