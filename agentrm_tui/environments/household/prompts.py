"""What a model is told about households."""

from __future__ import annotations

FULL = """\
You act in a room of a home. At first you are told which places there are; what is at a place you see when you go \
there, and inside a closed one when you open it. You can hold one thing.

Actions:
- go to PLACE, open PLACE, close PLACE
- take THING from PLACE, move THING to PLACE (or: put THING in/on PLACE)
- clean THING with sinkbasin 1, heat THING with microwave 1, cool THING with fridge 1 (with the THING in your hand)
- use desklamp 1 (to look at the thing in your hand)
- examine PLACE or THING, slice THING with KNIFE, inventory, look
Write names with their numbers, such as mug 1. The goal names a kind: any such thing and place will do; two things \
must be in the same place.

An action that is not possible is answered with "Nothing happens." In small homes (up to eight places) five of them \
end the episode. There the task has also failed at once when you clean, heat, cool or slice what should not be, put \
into a place of the goal's kind something that does not belong there yet (but putting a thing back where it was is \
no mistake), or use the lamp without the thing.

Reply with one thought and one action:
Thought: I have mug 1, now heat it.
Action: go to microwave 1
"""

SHORT = """\
Household. Actions: go to X, open X, close X, take X from Y, move X to Y, clean/heat/cool X with Y, use desklamp, \
examine X, slice X with Y, inventory, look. One thing in hand. Small homes: five times "Nothing happens." or a \
wrong treatment, delivery or use of the lamp fails.
"""
