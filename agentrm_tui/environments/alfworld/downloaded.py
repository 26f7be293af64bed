"""A person's own copy of ALFWorld's games, in the folder that `ALFWORLD_DATA` names: which there are, what is in one.

The layout is that of `alfworld-download`: `json_2.1.1/SPLIT/TYPE-THING-INNER-PLACE-SCENE/TRIAL/game.tw-pddl`.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from agentrm_models.errors import DataError
from agentrm_tui.environments.alfworld.games import TASK_TYPES, Aim, Game

VARIABLE = "ALFWORLD_DATA"
LEVELS = ("train", "valid_seen", "valid_unseen")
"""The splits, each of them a level."""
STEP_LIMIT = 50
"""ALFWorld's own limit."""
GAME_FILE = "game.tw-pddl"
_VERSION = "json_2.1.1"
_DOWNLOAD = "alfworld-download fetches the games; the folder must hold json_2.1.1/valid_seen and the like."
_GOAL = re.compile(r'Your task is to: (.*?)(?:\\n|")')
_SLICED = "Sliced"


class Skipped(NamedTuple):
    """A game file that is not played, and why."""

    path: Path
    reason: str


class Listing(NamedTuple):
    """The games of a split, in the order of their paths.

    Attributes:
        games: Those that can be played as far as their files tell.
        unproven: Those of them that nobody has found a solution for.
        skipped: Those that cannot.
    """

    games: tuple[Path, ...]
    unproven: frozenset[Path]
    skipped: tuple[Skipped, ...]


class _Marks(msgspec.Struct):
    """What a listing needs of a game file."""

    pddl_problem: str
    walkthrough: tuple[str, ...] | None = None
    solvable: bool | None = None


class _File(_Marks, kw_only=True):
    """What is in a game file."""

    pddl_domain: str
    grammar: str


def data_levels() -> tuple[str, ...]:
    """The splits as levels where `ALFWORLD_DATA` is set, whatever it names; else none."""
    return LEVELS if os.environ.get(VARIABLE) else ()


def present_levels() -> tuple[str, ...]:
    """The splits that are there, where `ALFWORLD_DATA` is set.

    Raises:
        DataError: It is set, and there is no folder with games.
    """
    return tuple(level for level in data_levels() if (_folder() / level).is_dir())


def need_variable(level: str) -> None:
    """Tell a person who names a split without naming the games what is missing.

    Raises:
        DataError: The level is a split, and the variable is not set.
    """
    if level in LEVELS and not os.environ.get(VARIABLE):
        raise DataError(f"{level} is of your own games, and {VARIABLE} is not set", _DOWNLOAD)


def _folder() -> Path:
    """The folder of the splits."""
    named = os.environ.get(VARIABLE, "")
    given = Path(named).expanduser()
    folder = given if given.name == _VERSION else given / _VERSION
    if not folder.is_dir():
        raise DataError(f"{VARIABLE} is {named}, and there is no folder {folder}", _DOWNLOAD)
    return folder


def list_games(level: str) -> Listing:
    """The games of a split. Files are looked into once for each folder.

    Raises:
        DataError: The variable is not set, or there is no such folder or no game in it.
    """
    need_variable(level)
    folder = _folder() / level
    if not folder.is_dir():
        raise DataError(f"{VARIABLE} is set, and there is no folder {folder}", _DOWNLOAD)
    found = _list_folder(folder)
    if not found.games:
        why = f": {_names(found.skipped)}" if found.skipped else ""
        raise DataError(f"{VARIABLE} is set, and {folder} holds no game that can be played{why}", _DOWNLOAD)
    return found


def _names(skipped: tuple[Skipped, ...], most: int = 3) -> str:
    named = [f"{one.path.parent.name} ({one.reason})" for one in skipped[:most]]
    return ", ".join(named) + (f" and {len(skipped) - most} more" if len(skipped) > most else "")


def describe_skipped(skipped: tuple[Skipped, ...]) -> str:
    """How many games are left out, the first of them by name; empty where there are none."""
    return f"left out {len(skipped)}: {_names(skipped)}" if skipped else ""


# Some thousand files are looked into; they do not change while the program runs.
@lru_cache(maxsize=16)
def _list_folder(folder: Path) -> Listing:
    games, unproven, skipped = list[Path](), set[Path](), list[Skipped]()
    for path in sorted(folder.glob(f"*/*/{GAME_FILE}")):
        kind = path.parent.parent.name.partition("-")[0]
        if kind not in TASK_TYPES.values():
            skipped.append(Skipped(path, f"its type {kind} is none of the six"))
        elif _SLICED in path.parent.parent.name:
            skipped.append(Skipped(path, "it asks for a slice, which ALFWorld's own list leaves out too"))
        else:
            try:
                marks = msgspec.json.decode(path.read_bytes(), type=_Marks)
            except (OSError, msgspec.MsgspecError) as error:
                skipped.append(Skipped(path, f"it cannot be read: {error}"))
                continue
            if marks.solvable is False:
                skipped.append(Skipped(path, "it is marked as not solvable"))
                continue
            games.append(path)
            if not (marks.solvable and marks.walkthrough):
                unproven.add(path)
    return Listing(tuple(games), frozenset(unproven), tuple(skipped))


def read_game(path: Path) -> Game:
    """The game in a file, with its aim from the name of the folder.

    Raises:
        DataError: The file cannot be read, or is no game.
    """
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_File)
    except OSError as error:
        raise DataError(f"the game {path} cannot be read ({error.strerror})") from error
    except msgspec.MsgspecError as error:
        raise DataError(f"{path} is not a game of ALFWorld ({error})") from error
    walkthrough = content.walkthrough or ()
    return Game(
        pddl_domain=content.pddl_domain,
        grammar=content.grammar,
        pddl_problem=content.pddl_problem,
        walkthrough=walkthrough,
        solvable=content.solvable,
        aim=_aim(path.parent.parent.name),
    )


def _aim(folder: str) -> Aim | None:
    """What a folder's name says is asked for: TYPE-THING-INNER-PLACE-SCENE; for lamps the lamp stands for the place."""
    parts = folder.split("-")
    if len(parts) != 5 or parts[0] not in TASK_TYPES.values():
        return None
    return Aim(parts[0], parts[1].lower(), parts[3].lower())


def goal_of(game: Game) -> str:
    """What a game tells the player to do, from its grammar."""
    match = _GOAL.search(game.grammar)
    return " ".join(match[1].split()) if match and match[1].strip() else "Do what the first text of the game asks for."
