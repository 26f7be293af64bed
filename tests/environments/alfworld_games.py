"""What the tests of ALFWorld share: whether it is installed, games in files as its download has them, its own rules."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentrm_tui.environments.alfworld import ALFWorldEnvironment
from agentrm_tui.environments.alfworld.downloaded import goal_of
from agentrm_tui.environments.alfworld.games import Game
from agentrm_tui.environments.alfworld.levels import make_game

PACKAGES = ("alfworld", "fast_downward", "textworld")
MISSING = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
needs_extra = pytest.mark.skipif(
    bool(MISSING), reason=f"the extra [alfworld] is not installed: no {', '.join(MISSING)}"
)


def hold_engine() -> Iterator[None]:
    """Keep one process of the engine, which takes a second to start, for all instances until this goes on."""
    environment = ALFWorldEnvironment()
    if not MISSING:
        environment.reset(environment.task("pick_and_place_simple-small:0"))
    yield
    environment.close()


def keep_game(data: Path, game: Game | dict[str, Any], split: str, kind: str, trial: str = "trial_T1") -> Path:
    """Write a game where ALFWorld's download would have it."""
    folder = data / "json_2.1.1" / split / kind / trial
    folder.mkdir(parents=True)
    path = folder / "game.tw-pddl"
    path.write_bytes(msgspec.json.encode(game))
    return path


def their_rules(game: Game, goal: str) -> Game:
    """The same home, played by ALFWorld's own rules in ALFWorld's own sentences, as its package brings them."""
    spec = importlib.util.find_spec("alfworld")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent / "data"
    return msgspec.structs.replace(
        game,
        pddl_domain=(folder / "alfred.pddl").read_text(),
        grammar=(folder / "alfred.twl2").read_text().replace("UNKNOWN GOAL", goal.removesuffix(".")),
        pddl_problem=game.pddl_problem.replace("(:domain household)", "(:domain alfred)"),
    )


def keep_theirs(data: Path, level: str, seed: int) -> Path:
    """A home under ALFWorld's own rules, as a game of a person's own."""
    game = make_game(level, seed)
    assert game.aim is not None
    kind = f"{game.aim.type}-{game.aim.thing.capitalize()}-None-{game.aim.place.capitalize()}-1"
    return keep_game(data, their_rules(game, goal_of(game)), "valid_seen", kind)
