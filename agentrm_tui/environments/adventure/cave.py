"""Colossal Cave in a box: the original game object, with exact snapshots, fixed luck, and refusals that cost nothing.

The game is Brandon Rhodes's `adventure` package. Its snapshots here are tuples of all that changes during a game, not
pickles: they are small, hashable, and can be restored in any instance.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

import adventure
from adventure.game import Game

from agentrm_tui.environments.adventure.things import Thing
from agentrm_tui.environments.adventure.wording import command_words, readable

T = TypeVar("T")

FIXED_LUCK = 0.3
"""The value of every random number in a game without luck: who walks in the dark falls into a pit (the game's chance
is 0.35)."""

_SCALARS = (
    "full_wests", "look_complaints", "full_description_period", "dwarf_stage", "dwarves_killed", "foobar", "gave_up",
    "treasures_not_found", "impossible_treasures", "lamp_turns", "warned_about_dim_lamp", "bonus", "is_dead", "deaths",
    "turns", "clock1", "clock2", "is_closing", "panic", "is_closed", "is_done", "could_fall_in_pit",
)  # fmt: skip
"""The game's own variables, besides things, rooms and dwarves."""
_READ_SCALARS = attrgetter(*_SCALARS)
_READ_THING = attrgetter("rooms", "is_toting", "prop", "is_fixed")
_READ_DESCRIBED = attrgetter("times_described")
_PASSING = frozenset(("turns", "lamp_turns", "clock1", "clock2", "full_wests", "look_complaints"))
"""Variables that change with every turn, or that only change wording."""

_NEVER = 9999
"""Turns after which the game offers a hint; this number means never."""

_FORBIDDEN = frozenset(("suspend", "pause", "save", "quit"))
"""Verbs that write files or end the program."""

_ASKING = frozenset(("look", "examine", "describe", "inventory", "read", "peruse", "score", "find", "where", "info"))
"""Verbs that are accepted although they change nothing."""


class Lying(NamedTuple):
    """A thing: the rooms it is in (two for a grate), whether it is carried, its state, and whether it is fixed."""

    rooms: tuple[int, ...]
    held: bool
    prop: int
    fixed: int


class CaveState(NamedTuple):
    """All that changes during a game. `question` holds the state and the command that led to an open question."""

    luck: str
    draws: int
    room: int
    came_from: tuple[int, int]
    things: tuple[Lying, ...]
    contents: int
    described: bytes
    scalars: tuple[Any, ...]
    hints_used: tuple[bool, ...]
    walkers: tuple[tuple[int, int, bool], ...]
    knife: int
    question: tuple[CaveState, str] | None

    def thing(self, thing: Thing) -> Lying:
        """Where a thing is and what state it is in."""
        return self.things[_INDEX[thing]]

    def without(self, thing: Thing) -> CaveState:
        """This state with a thing laid down here."""
        index = _INDEX[thing]
        lying = self.things[index]._replace(rooms=(self.room,), held=False)
        return self._replace(things=(*self.things[:index], lying, *self.things[index + 1 :]))

    def scalar(self, name: str) -> Any:
        """One of the game's own variables."""
        return self.scalars[_SCALAR_INDEX[name]]

    def gist(self) -> tuple[Any, ...]:
        """What a command must change to count as possible."""
        lasting = tuple(value for name, value in zip(_SCALARS, self.scalars, strict=True) if name not in _PASSING)
        return (self.room, self.things, self.contents, lasting, len(self.walkers), self.question is None)


class Effect(NamedTuple):
    """The answer to a command, and whether it was accepted; a command that is not leaves the game as it was."""

    text: str
    valid: bool


class _Luck:
    """Random numbers that depend on a seed and on how many were drawn before; or one fixed number without a seed."""

    def __init__(self) -> None:
        self.seed = ""
        self.draws = 0

    def random(self) -> float:
        if not self.seed:
            return FIXED_LUCK
        self.draws += 1
        return int.from_bytes(blake2b(f"{self.seed}/{self.draws}".encode(), digest_size=6).digest(), "big") / 2**48

    def choice(self, options: Sequence[T]) -> T:
        return options[int(self.random() * len(options))]


class Cave:
    """One game. Hints are switched off, and a room is described at length only the first time."""

    def __init__(self) -> None:
        self._luck = _Luck()
        self._game: Any = Game()
        self._game.move_dwarves, self._game.write = self._move_dwarves, self._write
        self._game.random_generator = self._luck
        adventure.load_advent_dat(self._game)
        self._game.start()
        self._game.do_command(["no"])
        for number, hint in self._game.hints.items():
            if number > 3:
                hint.turns_needed = _NEVER
        self._game.full_description_period = 10**9
        self._game.look_complaints = 0
        self._game.full_wests = -(10**9)
        self._things: list[Any] = self._game.object_list
        self._rooms: list[Any] = [room for _, room in sorted(self._game.rooms.items())]
        self._hints: list[Any] = [hint for _, hint in sorted(self._game.hints.items())]
        self._puzzled = frozenset(f"{self._game.messages[number]}\n\n" for number in (13, 60, 61))
        self._asked: tuple[CaveState, str] | None = None
        self._current: CaveState | None = None
        self._lying: list[tuple[Any, Lying]] = [((), Lying((), False, 0, 0))] * len(self._things)
        self._first = self.state()

    @property
    def game(self) -> Any:
        """The original game object, to read."""
        return self._game

    def begin(self, luck: str = "") -> str:
        """A new game at the end of the road; `luck` seeds its randomness, nothing fixes it. Returns the first text."""
        self.restore(self._first._replace(luck=luck))
        return self.describe()

    def describe(self) -> str:
        """Where the player stands, at length, and what is there; the game is left as it is."""
        before, self._current = self.state(), None
        self._game.output = ""
        if self._game.is_dark:
            self._game.write_message(16)
        else:
            self._game.write(self._game.loc.long_description)
            for thing in self._game.objects_here:
                if thing is not self._game.steps:
                    self._game.write(thing.messages.get(max(thing.prop, 0), ""))
        text = readable(self._game.output)
        self.restore(before)
        return text

    def state(self) -> CaveState:
        """Freeze the game; between two commands this costs nothing."""
        if self._current is None:
            self._current = self._capture()
        return self._current

    def _capture(self) -> CaveState:
        game = self._game
        return CaveState(
            self._luck.seed,
            self._luck.draws,
            game.loc.n,
            (game.oldloc.n, game.oldloc2.n),
            self._capture_things(),
            game.bottle.contents.n if game.bottle.contents is not None else 0,
            bytes(map(bool, map(_READ_DESCRIBED, self._rooms))),
            _READ_SCALARS(game),
            tuple([hint.used for hint in self._hints]),
            tuple([(each.room.n, each.old_room.n, each.has_seen_adventurer) for each in (*game.dwarves, game.pirate)]),
            game.knife_location.n if game.knife_location else -1,
            self._asked,
        )

    def _capture_things(self) -> tuple[Lying, ...]:
        """Most commands leave most things alone: what lies as before is taken over."""
        seen = list(map(_READ_THING, self._things))
        rooms = [tuple(each[0]) for each in seen]
        lying = []
        for before, (_, held, prop, fixed), places in zip(self._lying, seen, rooms, strict=True):
            if (places, held, prop, fixed) != before[0]:
                now = Lying(tuple([room.n for room in places]), held, prop, int(fixed))
                before = ((places, held, prop, fixed), now)
            lying.append(before)
        self._lying = lying
        return tuple([now for _, now in lying])

    def restore(self, state: CaveState) -> None:
        """Go back to a state of this or another game."""
        if state.question is not None:
            before, command = state.question
            self.restore(before)
            self._game.do_command(list(command.split()))
            self._asked, self._current = state.question, state
            return
        game, rooms, now = self._game, self._game.rooms, self.state()
        self._luck.seed, self._luck.draws = state.luck, state.draws
        game.loc = rooms[state.room]
        game.oldloc, game.oldloc2 = rooms[state.came_from[0]], rooms[state.came_from[1]]
        for thing, lying, known in zip(self._things, state.things, now.things, strict=True):
            if lying is not known:
                thing.rooms[:] = [rooms[number] for number in lying.rooms]
                thing.is_toting, thing.prop, thing.is_fixed = lying.held, lying.prop, lying.fixed
        game.bottle.contents = game.objects[state.contents] if state.contents else None
        if state.described != now.described:
            for room, described in zip(self._rooms, state.described, strict=True):
                room.times_described = described
        if state.scalars != now.scalars:
            for name, value in zip(_SCALARS, state.scalars, strict=True):
                setattr(game, name, value)
        for hint, used in zip(self._hints, state.hints_used, strict=True):
            hint.used = used
        if state.walkers != now.walkers:
            self._restore_walkers(state.walkers)
        game.knife_location = rooms[state.knife] if state.knife >= 0 else None
        game.yesno_callback, game.yesno_casual = None, False
        self._asked, self._current = None, state

    def _restore_walkers(self, walkers: tuple[tuple[int, int, bool], ...]) -> None:
        game = self._game
        game.dwarves = [adventure.game.Dwarf(game.rooms[room]) for room, _, _ in walkers[:-1]]
        for walker, (room, old_room, seen) in zip([*game.dwarves, game.pirate], walkers, strict=True):
            walker.room, walker.old_room = game.rooms[room], game.rooms[old_room]
            walker.has_seen_adventurer = seen

    def do(self, action: str) -> Effect:
        """Carry out one command; one that is not understood, or changes nothing, leaves the game as it was."""
        before = self.state()
        words = command_words(action)
        if not words or not self._knows(words):
            return Effect("I don't understand that.", valid=False)
        output = ""
        self._current = None
        with suppress(AttributeError, KeyError, TypeError, ValueError, IndexError):
            # Some pairs of words have no method in the package.
            output = self._game.do_command(list(words))
        self._asked = (before._replace(question=None), " ".join(words)) if self._game.yesno_callback else None
        self._decline(words)
        if output and self._accepted(before, words, output):
            return Effect(readable(output), valid=True)
        self.restore(before)
        return Effect(readable(output) or "Nothing happens.", valid=False)

    def _knows(self, words: tuple[str, ...]) -> bool:
        if self._game.yesno_callback and words[0] in ("yes", "no", "y", "n"):
            return len(words) == 1
        vocabulary = self._game.vocabulary
        known = [vocabulary.get(word) for word in words]
        return all(word is not None for word in known) and not any(
            synonym.text in _FORBIDDEN for word in known for synonym in word.synonyms
        )

    def _decline(self, words: tuple[str, ...]) -> None:
        """The score command asks whether to give up: nobody does."""
        if self._game.yesno_callback and words[0] == "score":
            self._game.yesno_callback, self._asked = None, None

    def _accepted(self, before: CaveState, words: tuple[str, ...], output: str) -> bool:
        if self.state().gist() != before.gist():
            return True
        if words[0] in _ASKING:
            return not output.startswith("I see no") and "What?" not in output and output not in self._puzzled
        if words[0] in ("fie", "foe", "foo"):
            return bool(before.scalar("foobar") > 0 and self._game.foobar == before.scalar("foobar"))
        # Where luck decides, an attempt to move is a turn, whether or not it leads anywhere.
        return bool(before.luck) and words[-1] in self._motion_words(before.room)

    def _motion_words(self, room: int) -> frozenset[str]:
        return frozenset(
            synonym.text
            for move in self._game.rooms[room].travel_table
            for verb in move.verbs
            for synonym in verb.synonyms
        )

    def _write(self, more: Any) -> None:
        """Collect a message with a blank line after it, so that messages can be told apart."""
        if more:
            self._game.output += f"{more}\n\n"

    def _move_dwarves(self) -> None:
        """Dwarves and the pirate stay at home where luck is fixed."""
        if self._luck.seed:
            Game.move_dwarves(self._game)
        else:
            self._game.describe_location()

    def score(self) -> tuple[int, int]:
        """The game's score now and its maximum."""
        score, most = self._game.compute_score()
        return int(score), int(most)


def _index_things() -> dict[Thing, int]:
    data = adventure.data.Data()
    adventure.load_advent_dat(data)
    numbers = [thing.n for thing in data.object_list]
    return {thing: numbers.index(thing) for thing in Thing}


_INDEX: dict[Thing, int] = _index_things()
_SCALAR_INDEX = {name: index for index, name in enumerate(_SCALARS)}
