"""TextWorld's games as files: generated and compiled once, then kept in the cache folder of this program."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from platformdirs import user_cache_path

from agentrm_models.errors import DataError
from agentrm_tui.environments.base import SPLIT_SEEDS
from agentrm_tui.environments.jericho.machine import Machine, require

GAMES = 8
"""Games of a level in each split; compiling one takes some seconds, so seeds share them."""


WON = "*** The End ***"
"""What a game of TextWorld prints when it is won."""
_ATTEMPTS = 50


class Level(NamedTuple):
    """How large a game is.

    Attributes:
        rooms: Rooms of the house.
        objects: Things in it, at least.
        quest: Commands of the shortest solution.
        step_limit: Steps after which an episode ends.
    """

    rooms: int
    objects: int
    quest: int
    step_limit: int


LEVELS = {
    "quest-3": Level(2, 5, 3, 10),
    "quest-5": Level(4, 7, 5, 16),
    "quest-7": Level(5, 9, 7, 20),
}


class GameFiles(NamedTuple):
    """A story file, and what TextWorld knows about it."""

    story: Path
    facts: Path


def game_number(seed: int) -> int:
    """The number of the game that a task seed plays: splits share none."""
    first = max(start for start in SPLIT_SEEDS.values() if start <= seed)
    return first + seed % GAMES


def game_files(level: str, seed: int) -> GameFiles:
    """The game of a level and seed; made if it is not there yet.

    Raises:
        DataError: TextWorld is missing or cannot compile here.
    """
    textworld = require("textworld")
    folder = user_cache_path("agentrm-tui") / f"textworld-{textworld.__version__}"
    name = f"{level}-{game_number(seed)}"
    files = GameFiles(folder / f"{name}.z8", folder / f"{name}.json")
    if not (files.story.is_file() and files.facts.is_file()):
        _make(level, game_number(seed), files)
    return files


def _make(level: str, number: int, files: GameFiles) -> None:
    """Generate and compile in a folder aside, until a game can be told apart by its words and won by its solution.

    The story file is moved last, so that what is there is complete.
    """
    spec = LEVELS[level]
    files.story.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(_ATTEMPTS):
        options = require("textworld").GameOptions()
        options.nb_rooms, options.nb_objects, options.quest_length = spec.rooms, spec.objects, spec.quest
        options.grammar.only_last_action = True
        # TextWorld's seeds have 32 bits.
        options.seeds = ((number * len(LEVELS) + list(LEVELS).index(level)) * _ATTEMPTS + attempt) % 2**32
        game = require("textworld.generator").make_game(options)
        if not _distinct([entity.name for entity in game.infos.values() if entity.name]):
            continue
        with TemporaryDirectory(dir=files.story.parent) as aside:
            options.path = str(Path(aside) / files.story.name)
            made = _compile(game, options)
            if _winnable(made, game.metadata["walkthrough"]):
                made.with_suffix(".json").replace(files.facts)
                made.replace(files.story)
                return
    raise AssertionError(f"no game of {level} can be won")


def _compile(game: Any, options: Any) -> Path:
    generator = require("textworld.generator")
    try:
        return Path(generator.compile_game(game, options))
    except (OSError, generator.CouldNotCompileGameError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"TextWorld cannot compile a game: {reason}", "See agentrm-tui doctor.") from error


def _distinct(names: list[str]) -> bool:
    """No name consists of words of another: the game would ask which one is meant."""
    words = [frozenset(name.lower().split()) for name in names]
    return not any(one <= other for index, one in enumerate(words) for other in words[:index] + words[index + 1 :])


def _winnable(story: Path, commands: list[str]) -> bool:
    """The solution plays on the machine as TextWorld thinks it does."""
    machine = Machine()
    machine.load(story, 1)
    answers = [machine.say(command) for command in commands]
    machine.close()
    return WON in answers[-1]


@lru_cache(maxsize=64)
def load_facts(path: Path) -> Any:
    """TextWorld's description of a game; it never changes."""
    return require("textworld.generator.game").Game.load(str(path))
