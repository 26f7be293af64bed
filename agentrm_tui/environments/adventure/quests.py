"""The subgoals: short errands in one part of the cave, with where each starts, what must hold, and what it allows."""

from __future__ import annotations

from typing import NamedTuple

from agentrm_tui.environments.adventure import tour
from agentrm_tui.environments.adventure.rules import LIT, Fact, Rule, at, fetch, go, held, lies, light, prop, put
from agentrm_tui.environments.adventure.things import Thing


class Setup(NamedTuple):
    """Rules that lead to where an errand starts, after those of another setup."""

    before: Setup | None
    rules: tuple[Rule, ...]


class Errand(NamedTuple):
    """What is to be done: in words, as facts that must hold together, and as rules of the expert."""

    goal: str
    facts: tuple[Fact, ...]
    rules: tuple[Rule, ...]
    setup: Setup


class Loss(NamedTuple):
    """A fact that makes an errand hopeless, unless another holds."""

    fact: Fact
    unless: Fact | None = None


class Quest(NamedTuple):
    """A level: errands of one kind.

    Attributes:
        errands: A seed chooses one.
        region: Rooms that may be entered; leaving them ends the episode.
        step_limit: Steps after which an episode ends.
        loose: Things that may lie about at the start.
        losses: What ends the episode besides death.
    """

    errands: tuple[Errand, ...]
    region: frozenset[int]
    step_limit: int
    loose: tuple[Thing, ...] = ()
    losses: tuple[Loss, ...] = ()


_OUTSIDE = frozenset(range(1, 9))
_CRAWL = frozenset(range(9, 15))
_MISTS = frozenset((14, 15, 17, 18, 19))
_HALLS = _MISTS | {27, 28, 29, 30, 33}
_PIT = frozenset((23, 24, 25, 67, 68))
_LAKE = frozenset((69, 109, 113))
_GIANT = frozenset((88, 92, 94, 95))
_BEYOND = frozenset(range(122, 131))
_MIDDLE = frozenset((28, 33, 36, 37, 38, 39, 64, 65, 66, 67, 68, 69, 72, 73, 96, 97, 98, 103, 104, 105, 106, 109, 113))

_PLACES = (
    (3, "the building"), (2, "the hill in the road"), (4, "the valley"), (7, "the slit in the streambed"),
    (8, "the depression"),
)  # fmt: skip
"""Rooms outside that an errand can name."""

_START = Setup(None, ())
_BELOW = Setup(None, (*tour.ENTER, go(9, "Down")))
_BELOW_WITH_ROD = Setup(_BELOW, (fetch(Thing.ROD), fetch(Thing.CAGE)))
_HALL = Setup(_BELOW, (go(15, "Down"),))
_HALL_WITH_ROD = Setup(_BELOW, (fetch(Thing.ROD), go(15, "Down")))
_HALL_WITH_BIRD = Setup(_BELOW, (*tour.BIRD, go(15, "Down")))
_SNAKE_GONE = Setup(_HALL_WITH_BIRD, tour.SNAKE)
_Y2 = Setup(_SNAKE_GONE, (go(33, "To Y2"),))
_WITH_WATER = Setup(_Y2, (fetch(Thing.BOTTLE), go(67, "To the pits")))
_SPROUTED = Setup(_WITH_WATER, tour.SPROUT)
_GROWN = Setup(_SPROUTED, (*tour.GROW, go(67, "To the pits")))
_DOOR_OPEN = Setup(_GROWN, (*tour.FILL_OIL, *tour.OIL_DOOR))
_WITH_TRIDENT = Setup(_DOOR_OPEN, (fetch(Thing.EGGS), fetch(Thing.TRIDENT), go(64, "On")))
_AT_TROLL = Setup(_WITH_TRIDENT, (fetch(Thing.FOOD), fetch(Thing.KEYS), go(118, "On")))
_BEYOND_TROLL = Setup(_AT_TROLL, (*tour.PAY, go(123, "On")))
_WITH_BEAR = Setup(_BEYOND_TROLL, (*tour.FREE_CHAIN, fetch(Thing.CHAIN), fetch(Thing.BEAR), go(124, "On")))


def _bird_lost(unless: Fact) -> Loss:
    return Loss(Fact("gone", Thing.BIRD), unless)


def _left(thing: Thing, room: int) -> Setup:
    """A thing lies somewhere else than at first."""
    return Setup(None, (fetch(thing, lies(thing, room)), put(thing, room), go(1, "Away")))


def _supplies() -> tuple[Errand, ...]:
    things = (Thing.KEYS, Thing.LAMP, Thing.FOOD, Thing.BOTTLE)
    return tuple(
        Errand(
            f"Carry the {one.title} and the {other.title} to {name}.",
            (held(one), held(other), at(room)),
            (fetch(one), fetch(other), go(room, "Now to the goal")),
            _START,
        )
        for index, one in enumerate(things)
        for other in things[index + 1 :]
        for room, name in _PLACES[1:]
    )


def _carry(
    things: tuple[Thing, ...],
    room: int,
    where: str,
    setup: Setup,
    before: tuple[Rule, ...] = (),
    also: tuple[Fact, ...] = (),
) -> Errand:
    names = " and the ".join(thing.title for thing in things)
    return Errand(
        f"Carry the {names} to {where}.",
        (*also, *(held(thing) for thing in things), at(room)),
        (*before, *(fetch(thing) for thing in things), go(room, "Now to the goal")),
        setup,
    )


def _walk(room: int, where: str) -> Errand:
    return Errand(f"Go to {where}.", (at(room),), (*light(), go(room, "That is the way")), _Y2)


_LIT = light()
_ROD_DONE = (tour.BRIDGE_THERE,)
_VASE_SAFE = (prop(Thing.VASE, 0), lies(Thing.VASE, 66))

QUESTS: dict[str, Quest] = {
    "lamp": Quest(
        tuple(
            Errand(f"Fetch the lamp from {where} and light it.", (held(Thing.LAMP), LIT), _LIT, _left(Thing.LAMP, room))
            for room, where in _PLACES
        ),
        _OUTSIDE,
        14,
        (Thing.KEYS, Thing.FOOD),
    ),
    "supplies": Quest(_supplies(), _OUTSIDE, 18),
    "grate": Quest(
        tuple(
            Errand(
                f"Unlock the grate with the keys from {where} and go down below it with the lamp lit.",
                (tour.GRATE_OPEN, held(Thing.LAMP), LIT, at(9)),
                (*tour.ENTER, go(9, "Now down")),
                _left(Thing.KEYS, room),
            )
            for room, where in _PLACES
        ),
        _OUTSIDE | {9},
        20,
    ),
    "xyzzy": Quest(
        tuple(
            _carry(things, 3, "the well house, by the magic word on the wall of the debris room", _BELOW, _LIT)
            for things in ((Thing.CAGE,), (Thing.ROD,), (Thing.CAGE, Thing.ROD))
        ),
        _CRAWL | {3},
        16,
        (Thing.KEYS,),
    ),
    "bird": Quest(
        tuple(
            Errand("Catch the little bird.", (held(Thing.BIRD),), (*_LIT, *tour.BIRD), setup)
            for setup in (_BELOW, _BELOW_WITH_ROD)
        ),
        _CRAWL,
        16,
        (Thing.KEYS, Thing.CAGE),
        (_bird_lost(held(Thing.BIRD)),),
    ),
    "rod": Quest(
        (_carry((Thing.ROD,), 15, "the Hall of Mists", _BELOW, _LIT),), _CRAWL | {15}, 16, (Thing.KEYS, Thing.ROD)
    ),
    "gold": Quest(
        tuple(
            _carry((Thing.GOLD,), room, where, _HALL, _LIT)
            for room, where in ((19, "the Hall of the Mountain King"), (17, "the east bank of the fissure"))
        ),
        _MISTS,
        14,
        (Thing.KEYS, Thing.GOLD),
    ),
    "fissure": Quest(
        (
            Errand(
                "Make a bridge over the fissure and cross to its west side.",
                (tour.BRIDGE_THERE, at(27)),
                (
                    *_LIT, fetch(Thing.ROD, *_ROD_DONE),
                    Rule(_ROD_DONE, "wave rod", "The rod makes a bridge", 17), go(27, "Across"),
                ),
                _HALL_WITH_ROD,
            ),
        ),
        _MISTS | {27},
        16,
        (Thing.KEYS, Thing.ROD),
    ),
    "diamonds": Quest(
        tuple(
            _carry((Thing.DIAMONDS,), room, where, _HALL_WITH_ROD, (*_LIT, *tour.ROD, *tour.BRIDGE))
            for room, where in ((15, "the Hall of Mists"), (19, "the Hall of the Mountain King"))
        ),
        _MISTS | {27},
        20,
        (Thing.KEYS, Thing.ROD, Thing.DIAMONDS),
    ),
    "snake": Quest(
        tuple(
            Errand(
                f"Drive the snake away and go to {where}.",
                (tour.SNAKE_GONE, at(room)),
                (*_LIT, *tour.BIRD, *tour.SNAKE, go(room, "The way is free")),
                _HALL_WITH_BIRD,
            )
            for room, where in (
                (28, "the low passage north of it"), (29, "the south side chamber"), (30, "the west side chamber"),
            )
        ),
        _HALLS - {33},
        16,
        (Thing.KEYS, Thing.BIRD),
        (_bird_lost(tour.SNAKE_GONE),),
    ),
    "treasures": Quest(
        tuple(
            _carry(things, room, where, _SNAKE_GONE, _LIT)
            for things in (
                (Thing.JEWELRY, Thing.COINS), (Thing.COINS, Thing.SILVER), (Thing.JEWELRY, Thing.SILVER),
                (Thing.GOLD, Thing.JEWELRY), (Thing.GOLD, Thing.SILVER),
            )
            for room, where in ((33, "the room marked Y2"), (15, "the Hall of Mists"))
        ),
        _HALLS - {27},
        20,
        (Thing.JEWELRY, Thing.COINS, Thing.SILVER),
    ),
    "plugh": Quest(
        tuple(
            Errand(
                f"Lay the {thing.title} down in the well house, by the magic word PLUGH from Y2.",
                (lies(thing, 3),),
                (*_LIT, fetch(thing, lies(thing, 3)), put(thing, 3)),
                Setup(_SNAKE_GONE, (fetch(thing), go(28, "On"))),
            )
            for thing in (Thing.SILVER, Thing.JEWELRY, Thing.COINS)
        ),
        frozenset((3, 19, 28, 29, 30, 33, 34, 35)),
        14,
        (Thing.SILVER, Thing.JEWELRY, Thing.COINS),
    ),
    "pyramid": Quest(
        (_carry((Thing.PLATINUM,), 33, "Y2, by the magic word PLOVER", _Y2, _LIT),),
        frozenset((28, 33, 34, 35, 100, 101)),
        14,
        (Thing.KEYS, Thing.PLATINUM),
    ),
    "plant": Quest(
        (
            Errand(
                "Water the plant in the west pit and go to the slab room.",
                (tour.SPROUTED, at(68)),
                (*_LIT, *tour.SPROUT, go(68, "The plant has grown")),
                _WITH_WATER,
            ),
        ),
        _PIT | _LAKE | {66},
        16,
        (Thing.KEYS, Thing.BOTTLE),
    ),
    "beanstalk": Quest(
        (
            Errand(
                "Water the plant again with water from the reservoir, and climb up to the giant room.",
                (tour.GROWN, at(92)),
                (*_LIT, fetch(Thing.BOTTLE, tour.GROWN), *tour.GROW, go(92, "Up the plant")),
                _SPROUTED,
            ),
        ),
        _PIT | _LAKE | {88, 92},
        20,
    ),
    "door": Quest(
        (
            Errand(
                "Oil the rusty door beyond the giant room with oil from the east pit.",
                (tour.DOOR_OILED,),
                (*_LIT, *tour.FILL_OIL, *tour.OIL_DOOR),
                _GROWN,
            ),
        ),
        _PIT | _GIANT,
        18,
        (Thing.KEYS,),
        (),
    ),
    "trident": Quest(
        tuple(
            _carry(things, room, where, _DOOR_OPEN, _LIT)
            for things, room, where in (
                ((Thing.EGGS, Thing.TRIDENT), 91, "the steep incline west of the waterfall"),
                ((Thing.EGGS, Thing.TRIDENT), 88, "the narrow corridor"),
                ((Thing.TRIDENT,), 92, "the giant room"),
            )
        ),
        _GIANT | {91, 93},
        16,
        (Thing.EGGS, Thing.TRIDENT, Thing.BOTTLE),
    ),
    "pearl": Quest(
        (
            Errand(
                "Open the clam in the shell room with the trident and take the pearl.",
                (tour.CLAM_OPEN, held(Thing.PEARL)),
                (*_LIT, *tour.OPEN_CLAM, fetch(Thing.PEARL)),
                _WITH_TRIDENT,
            ),
        ),
        frozenset((39, 64, 102, 103, 104, 105, 106)),
        18,
        (Thing.TRIDENT, Thing.EGGS),
    ),
    "dragon": Quest(
        tuple(
            Errand(
                "Kill the dragon and take the Persian rug.",
                (tour.DRAGON_DEAD, held(Thing.RUG)),
                (*_LIT, *tour.SLAY, fetch(Thing.RUG)),
                Setup(_Y2, (go(room, "On"),)),
            )
            for room in (69, 74)
        ),
        frozenset((19, 68, 69, 74, 109, 113, 119, 120, 121)),
        14,
        (Thing.KEYS,),
    ),
    "vase": Quest(
        (
            Errand(
                "Lay the Ming vase down unbroken in the Swiss cheese room, on the pillow from the soft room.",
                (lies(Thing.PILLOW, 66), *_VASE_SAFE),
                (
                    *_LIT, fetch(Thing.PILLOW, lies(Thing.PILLOW, 66)), put(Thing.PILLOW, 66),
                    fetch(Thing.VASE, lies(Thing.VASE, 66)), put(Thing.VASE, 66),
                ),
                Setup(_Y2, (go(66, "On"),)),
            ),
        ),
        frozenset((65, 66, 67, 72, 96, 97, 98)),
        18,
        (Thing.KEYS, Thing.PILLOW),
        (Loss(prop(Thing.VASE, 2)),),
    ),
    "emerald": Quest(
        (
            _carry(
                (Thing.EMERALD, Thing.LAMP), 98, "the misty cavern. Only the emerald fits through the tunnel",
                Setup(_Y2, (go(97, "On"),)), tour.EMERALD,
            ),
        ),
        frozenset((66, 72, 96, 97, 98, 99, 100, 101)),
        20,
        (Thing.KEYS, Thing.PILLOW),
    ),
    "troll": Quest(
        (
            Errand(
                "Pay the troll with the golden eggs and go to the corridor beyond the chasm.",
                (tour.TROLL_PAID, at(123)),
                (*_LIT, fetch(Thing.EGGS, tour.TROLL_PAID), *tour.PAY, go(123, "Across the bridge")),
                _AT_TROLL,
            ),
        ),
        frozenset((72, 117, 118, 122, 123)),
        14,
        (Thing.EGGS, Thing.KEYS),
        (Loss(Fact("gone", Thing.EGGS), tour.TROLL_PAID),),
    ),
    "spices": Quest(
        tuple(
            _carry((Thing.SPICES,), room, where, _BEYOND_TROLL, _LIT)
            for room, where in (
                (122, "the far side of the chasm"), (128, "the limestone passage"),
                (129, "the entrance of the barren room"),
                (126, "the breath-taking view"),
            )
        ),
        _BEYOND,
        16,
        (Thing.SPICES, Thing.KEYS),
    ),
    "bear": Quest(
        (
            Errand(
                "Tame the bear with food, unlock its golden chain and take the chain.",
                (tour.BEAR_TAME, tour.CHAIN_FREE, held(Thing.CHAIN)),
                (*_LIT, *tour.FREE_CHAIN, fetch(Thing.CHAIN)),
                _BEYOND_TROLL,
            ),
        ),
        _BEYOND,
        20,
        (Thing.FOOD, Thing.KEYS),
        (Loss(Fact("gone", Thing.FOOD), tour.BEAR_TAME),),
    ),
    "bridge": Quest(
        (
            Errand(
                "Drive the troll away with the bear and cross the bridge to its southwest side.",
                (tour.TROLL_FLED, at(117)),
                (*_LIT, *tour.BEAR_BACK, go(117, "The troll has fled")),
                _WITH_BEAR,
            ),
        ),
        _BEYOND | {117},
        16,
        (Thing.BEAR, Thing.KEYS),
    ),
    "ways": Quest(
        tuple(
            _walk(room, where)
            for room, where in (
                (65, "Bedquilt"), (66, "the Swiss cheese room"), (96, "the soft room"), (97, "the oriental room"),
                (98, "the misty cavern"), (68, "the slab room"), (113, "the reservoir"), (103, "the shell room"),
                (105, "the cul-de-sac below the shell room"), (39, "the dusty rock room"),
                (38, "the pit with the stream"),
                (72, "the large low room"), (33, "the room marked Y2"), (106, "the anteroom"), (67, "the twopit room"),
            )
        ),
        _MIDDLE,
        16,
    ),
}  # fmt: skip
"""All subgoal levels by name, in the order in which a whole game meets them."""
