"""The things of the cave by their numbers in the game's data, as commands call them."""

from __future__ import annotations

from enum import IntEnum


class Thing(IntEnum):
    """Numbers of section 7 of the game's data file; the lower-case name is the word the game understands."""

    KEYS = 1
    LAMP = 2
    GRATE = 3
    CAGE = 4
    ROD = 5
    MARKED_ROD = 6
    BIRD = 8
    DOOR = 9
    PILLOW = 10
    SNAKE = 11
    FISSURE = 12
    CLAM = 14
    OYSTER = 15
    MAGAZINE = 16
    FOOD = 19
    BOTTLE = 20
    WATER = 21
    OIL = 22
    PLANT = 24
    AXE = 28
    DRAGON = 31
    CHASM = 32
    TROLL = 33
    BEAR = 35
    MACHINE = 38
    BATTERIES = 39
    GOLD = 50
    DIAMONDS = 51
    SILVER = 52
    JEWELRY = 53
    COINS = 54
    CHEST = 55
    EGGS = 56
    TRIDENT = 57
    VASE = 58
    EMERALD = 59
    PLATINUM = 60
    PEARL = 61
    RUG = 62
    SPICES = 63
    CHAIN = 64

    @property
    def word(self) -> str:
        """The noun in a command."""
        return "rod" if self is Thing.MARKED_ROD else self.name.lower()

    @property
    def title(self) -> str:
        """How an English sentence names it."""
        return _TITLES.get(self, self.word)


_TITLES = {
    Thing.CAGE: "wicker cage",
    Thing.ROD: "black rod",
    Thing.GOLD: "gold nugget",
    Thing.SILVER: "bars of silver",
    Thing.VASE: "Ming vase",
    Thing.PLATINUM: "platinum pyramid",
    Thing.RUG: "Persian rug",
    Thing.CHAIN: "golden chain",
    Thing.EGGS: "golden eggs",
}
