"""What there is in a home: kinds of places and things, what can be done with them, and where things are kept.

Kinds have the names that AI2-THOR and ALFWorld use, without capitals, and the same treatments work on them; where
a thing is kept is this project's own table.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Room: TypeAlias = Literal["kitchen", "bathroom", "bedroom", "livingroom"]
Treatment: TypeAlias = Literal["clean", "heat", "cool"]

ROOMS: tuple[Room, ...] = ("kitchen", "bathroom", "bedroom", "livingroom")

OPENABLE = frozenset({"cabinet", "drawer", "fridge", "laundryhamper", "microwave", "safe"})
"""Kinds of places that are closed at first; all others are open and cannot be closed."""

APPLIANCES: dict[Treatment, str] = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}
"""The kind of place that a treatment needs; it works whether the place is open or closed."""

KNIVES = frozenset({"butterknife", "knife"})
LAMP = "desklamp"


class Thing(NamedTuple):
    """A kind of thing.

    Attributes:
        name: The kind's name.
        rooms: Where it occurs.
        kept: Kinds of places that can hold it, the likeliest first.
        treatments: What can be done to it.
        sliceable: A knife cuts it.
        vessel: It could hold things itself (nothing is ever in it here); `examine` says so.
        movable: It can be taken.
    """

    name: str
    rooms: tuple[Room, ...]
    kept: tuple[str, ...]
    treatments: tuple[Treatment, ...] = ()
    sliceable: bool = False
    vessel: bool = False
    movable: bool = True


_LETTERS: dict[str, Room] = {"k": "kitchen", "b": "bathroom", "s": "bedroom", "l": "livingroom"}
_TREATMENT_LETTERS: dict[str, Treatment] = {"c": "clean", "h": "heat", "k": "cool"}

# A line for each kind: name, rooms (Kitchen, Bathroom, bedroom = Sleep, Living room), marks (Clean, Heat, Kool, Slice,
# Vessel, Fixed), places in order of likelihood.
_TABLE = """
apple        k    chks  countertop diningtable fridge sinkbasin garbagecan microwave
bread        k    hks   countertop diningtable fridge garbagecan microwave
egg          k    chks  fridge countertop sinkbasin diningtable garbagecan microwave
lettuce      k    cks   fridge countertop diningtable sinkbasin garbagecan
potato       k    chks  countertop fridge sinkbasin diningtable garbagecan microwave
tomato       k    chks  fridge countertop diningtable sinkbasin garbagecan microwave
mug          ksl  chkv  coffeemachine countertop desk cabinet shelf sinkbasin diningtable sidetable fridge microwave
cup          k    chkv  cabinet countertop diningtable sinkbasin shelf fridge microwave
plate        kl   chkv  cabinet countertop diningtable coffeetable sinkbasin shelf fridge microwave
bowl         ksl  ckv   cabinet countertop diningtable desk coffeetable shelf sinkbasin sidetable dresser fridge
pan          k    ckv   stoveburner countertop cabinet diningtable sinkbasin fridge
pot          k    ckv   stoveburner countertop cabinet diningtable sinkbasin fridge
winebottle   k    k     fridge countertop diningtable cabinet shelf garbagecan
kettle       k    c     stoveburner countertop cabinet diningtable sinkbasin shelf
fork         k    c     drawer diningtable countertop sinkbasin
spoon        k    c     drawer diningtable countertop sinkbasin
knife        k    c     drawer countertop diningtable sinkbasin
butterknife  k    c     drawer countertop diningtable sinkbasin
spatula      k    c     drawer countertop diningtable sinkbasin
ladle        k    c     drawer countertop cabinet diningtable sinkbasin
dishsponge   k    c     sinkbasin countertop cabinet drawer diningtable garbagecan
saltshaker   k    -     cabinet countertop diningtable drawer shelf
peppershaker k    -     cabinet countertop diningtable drawer shelf
glassbottle  k    -     cabinet countertop shelf diningtable garbagecan sinkbasin
papertowelroll k  -     countertop diningtable cabinet garbagecan
soapbottle   kb   -     cabinet countertop sinkbasin toilet drawer garbagecan bathtubbasin
soapbar      b    c     bathtubbasin sinkbasin countertop toilet cabinet drawer garbagecan
cloth        b    c     cabinet countertop drawer bathtubbasin sinkbasin
toiletpaper  b    -     toiletpaperhanger toilet cabinet countertop drawer garbagecan
spraybottle  b    -     cabinet countertop toilet drawer garbagecan
candle       bl   -     countertop toilet cabinet coffeetable sidetable shelf drawer dresser
towel        b    -     towelholder bathtubbasin countertop cabinet
handtowel    b    -     handtowelholder countertop cabinet sinkbasin
tissuebox    bsl  -     toilet countertop desk coffeetable sidetable dresser cabinet drawer shelf
alarmclock   s    -     sidetable desk dresser shelf drawer bed
book         sl   -     desk bed shelf coffeetable sofa dresser sidetable drawer armchair
cd           s    -     desk shelf drawer safe dresser garbagecan
cellphone    sl   -     desk bed sidetable coffeetable sofa dresser drawer safe armchair
creditcard   sl   -     desk dresser drawer coffeetable sidetable safe sofa armchair shelf
keychain     sl   -     dresser drawer safe sidetable coffeetable desk sofa armchair shelf
laptop       sl   -     desk bed coffeetable sofa diningtable dresser armchair
pen          s    -     desk drawer dresser sidetable shelf bed garbagecan
pencil       s    -     desk drawer dresser sidetable shelf bed garbagecan
pillow       sl   -     bed sofa armchair
teddybear    s    -     bed shelf desk armchair
watch        sl   -     dresser safe drawer sidetable coffeetable shelf desk diningtable
baseballbat  s    -     bed desk sidetable
basketball   s    -     bed desk armchair
statue       l    -     coffeetable dresser shelf sidetable diningtable cabinet safe
vase         l    -     dresser shelf coffeetable diningtable cabinet sidetable safe
remotecontrol l   -     sofa coffeetable armchair sidetable dresser drawer diningtable
newspaper    l    -     coffeetable sofa armchair diningtable sidetable drawer garbagecan
box          sl   v     sofa coffeetable diningtable desk dresser bed armchair
wateringcan  l    -     diningtable sidetable coffeetable drawer dresser
desklamp     sl   f     desk sidetable dresser shelf coffeetable
"""


def _read(line: str) -> Thing:
    name, rooms, marks, *kept = line.split()
    # In the marks, `k` is for cooling; the other letters are their words' own.
    return Thing(
        name=name,
        rooms=tuple(_LETTERS[letter] for letter in rooms),
        kept=tuple(kept),
        treatments=tuple(_TREATMENT_LETTERS[letter] for letter in marks if letter in _TREATMENT_LETTERS),
        sliceable="s" in marks,
        vessel="v" in marks,
        movable="f" not in marks,
    )


THINGS: dict[str, Thing] = {thing.name: thing for thing in map(_read, _TABLE.strip().splitlines())}
"""All kinds of things by name."""


def things_of(room: Room) -> tuple[Thing, ...]:
    """The kinds of things that occur in a room, in a fixed order."""
    return tuple(thing for thing in THINGS.values() if room in thing.rooms)


class PlaceCount(NamedTuple):
    """How many places of a kind a room has, in a small home and in a full one (least and most)."""

    kind: str
    small: tuple[int, int]
    full: tuple[int, int]


PLANS: dict[Room, tuple[PlaceCount, ...]] = {
    "kitchen": (
        PlaceCount("fridge", (1, 1), (1, 1)),
        PlaceCount("microwave", (1, 1), (1, 1)),
        PlaceCount("sinkbasin", (1, 1), (1, 1)),
        PlaceCount("countertop", (1, 1), (1, 3)),
        PlaceCount("cabinet", (0, 2), (3, 6)),
        PlaceCount("drawer", (0, 1), (2, 4)),
        PlaceCount("diningtable", (0, 1), (0, 1)),
        PlaceCount("shelf", (0, 1), (0, 3)),
        PlaceCount("garbagecan", (0, 1), (1, 1)),
        PlaceCount("stoveburner", (0, 1), (2, 4)),
        PlaceCount("coffeemachine", (0, 1), (1, 1)),
        PlaceCount("toaster", (0, 0), (1, 1)),
    ),
    "bathroom": (
        PlaceCount("sinkbasin", (1, 1), (1, 2)),
        PlaceCount("toilet", (1, 1), (1, 1)),
        PlaceCount("countertop", (1, 1), (1, 2)),
        PlaceCount("cabinet", (1, 2), (4, 6)),
        PlaceCount("drawer", (0, 1), (2, 4)),
        PlaceCount("bathtubbasin", (0, 1), (1, 1)),
        PlaceCount("garbagecan", (0, 1), (1, 1)),
        PlaceCount("toiletpaperhanger", (0, 1), (1, 1)),
        PlaceCount("handtowelholder", (0, 1), (1, 2)),
        PlaceCount("towelholder", (0, 1), (1, 1)),
    ),
    "bedroom": (
        PlaceCount("bed", (1, 1), (1, 1)),
        PlaceCount("desk", (1, 1), (1, 2)),
        PlaceCount("drawer", (1, 2), (4, 8)),
        PlaceCount("sidetable", (0, 1), (1, 2)),
        PlaceCount("dresser", (0, 1), (0, 1)),
        PlaceCount("shelf", (0, 2), (3, 6)),
        PlaceCount("garbagecan", (0, 1), (1, 1)),
        PlaceCount("laundryhamper", (0, 1), (0, 1)),
        PlaceCount("safe", (0, 1), (1, 1)),
        PlaceCount("armchair", (0, 1), (0, 1)),
    ),
    "livingroom": (
        PlaceCount("sofa", (1, 1), (1, 1)),
        PlaceCount("coffeetable", (1, 1), (1, 2)),
        PlaceCount("armchair", (0, 1), (1, 2)),
        PlaceCount("sidetable", (1, 1), (1, 3)),
        PlaceCount("diningtable", (0, 1), (0, 1)),
        PlaceCount("cabinet", (0, 1), (2, 4)),
        PlaceCount("drawer", (0, 2), (3, 6)),
        PlaceCount("dresser", (0, 1), (1, 1)),
        PlaceCount("shelf", (0, 2), (2, 5)),
        PlaceCount("garbagecan", (0, 1), (1, 1)),
        PlaceCount("safe", (0, 1), (0, 1)),
    ),
}
"""The kinds of places of each room."""

SMALL_PLACES = (6, 8)
FULL_PLACES = (15, 25)
"""Least and most places of a home."""
