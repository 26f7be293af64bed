"""Commands worth trying in a state: moves of the room, and verbs for what is here or carried."""

from __future__ import annotations

from agentrm_tui.environments.adventure.cave import CaveState
from agentrm_tui.environments.adventure.routes import places
from agentrm_tui.environments.adventure.things import Thing

_VERBS: dict[Thing, tuple[str, ...]] = {
    Thing.GRATE: ("unlock grate", "lock grate"),
    Thing.LAMP: ("light lamp", "extinguish lamp"),
    Thing.ROD: ("wave rod",),
    Thing.BIRD: ("attack bird", "feed bird"),
    Thing.CLAM: ("open clam",),
    Thing.OYSTER: ("open oyster",),
    Thing.MAGAZINE: ("read magazine",),
    Thing.FOOD: ("eat food",),
    Thing.BOTTLE: ("fill bottle", "pour water", "pour oil", "drink water"),
    Thing.SNAKE: ("feed snake", "attack snake"),
    Thing.DRAGON: ("attack dragon",),
    Thing.BEAR: ("feed bear", "attack bear"),
    Thing.CHAIN: ("unlock chain", "lock chain"),
    Thing.VASE: ("break vase",),
    Thing.AXE: ("throw axe",),
}
_FIRST_TREASURE = Thing.GOLD
_ALWAYS = ("look", "inventory")


def candidates(state: CaveState) -> tuple[str, ...]:
    """Commands in a fixed order; whether they are possible only the game can tell."""
    if state.question is not None:
        return ("yes", "no")
    found = [word for word, _ in places()[state.room].words]
    troll_here = state.room in state.thing(Thing.TROLL).rooms
    for thing in Thing:
        lying = state.thing(thing)
        if thing in (Thing.WATER, Thing.OIL):
            continue
        if lying.held:
            found.append(f"drop {thing.word}")
            if troll_here and thing >= _FIRST_TREASURE:
                found.append(f"throw {thing.word}")
        elif state.room in lying.rooms:
            found.append(f"take {thing.word}")
        if lying.held or state.room in lying.rooms:
            found += _VERBS.get(thing, ())
    if state.luck:
        found += ["fee", "fie", "foe", "foo"]
    if state.scalar("is_closed"):
        found.append("blast")
    return (*dict.fromkeys(found), *_ALWAYS)
