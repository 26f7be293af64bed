"""The world behind BabyAI equals the original: what is seen, what actions do, what a saved state restores."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from minigrid.minigrid_env import MiniGridEnv

from agentrm_tui.environments.babyai.levels import LEVELS, generate
from agentrm_tui.environments.babyai.world import HELD, World

SAMPLE = (
    "GoToLocal",
    "MiniBossLevel",
    "KeyCorridorS3R2",
    "UnblockPickup",
    "PutNextS5N2",
    "GoToObjMazeOpen",
    "SynthSeq",
)


def original_view(env: Any) -> int:
    """The cells that minigrid itself shows the agent, as bits; walls beyond the grid are left out."""
    _, mask = MiniGridEnv.gen_obs_grid(env)
    seen = 0
    for y in range(env.height):
        for x in range(env.width):
            view = env.relative_coords(x, y)
            if view is not None and mask[int(view[0]), int(view[1])]:
                seen |= 1 << (y * env.width + x)
    return seen


def face(env: Any) -> tuple[Any, ...]:
    """Everything of an original environment that can be told from outside."""
    carrying = env.carrying.encode() if env.carrying else None
    return (tuple(map(int, env.agent_pos)), int(env.agent_dir), carrying, env.grid.encode().tolist())


@pytest.mark.parametrize("level", SAMPLE)
def test_the_view_equals_the_originals(level: str) -> None:
    rng = random.Random(level)
    for seed in range(4):
        world = World(generate(LEVELS[level], seed))
        for _ in range(60):
            assert world.visible == original_view(world.env)
            assert world.visible & ~world.seen == 0
            world.act(rng.choice((0, 1, 2, 2, 2, 3, 4, 5)))


@pytest.mark.parametrize("level", SAMPLE)
def test_a_saved_state_plays_on_like_a_deep_copy_of_the_original(level: str) -> None:
    rng = random.Random(level)
    tried = 0
    for seed in range(8):
        world = World(generate(LEVELS[level], seed))
        for _ in range(rng.randrange(40)):
            world.act(rng.choice((0, 1, 2, 2, 2, 3, 4, 5)))
        if world.verdict or tried == 4:
            continue
        tried += 1
        saved, reference = world.save(), copy.deepcopy(world.env)
        for _ in range(40):
            world.act(rng.choice((0, 1, 2, 2, 2, 3, 4, 5)))
        elsewhere = World(generate(LEVELS[level], seed))
        for restored in (world, elsewhere):
            restored.load(saved)
            assert restored.save() == saved
            trial = copy.deepcopy(reference)
            moves = random.Random(seed)
            for _ in range(80):
                move = moves.choice((0, 1, 2, 2, 2, 3, 4, 5))
                _, reward, terminated, _, _ = trial.step(move)
                restored.act(move)
                assert face(restored.env) == face(trial)
                if terminated:
                    assert restored.verdict == ("success" if reward > 0 else "failure")
                    break
                assert not restored.verdict
    assert tried == 4


def test_places_of_things_follow_the_grid() -> None:
    rng = random.Random(7)
    for seed in range(6):
        world = World(generate(LEVELS["SynthS5R2"], seed))
        for _ in range(150):
            world.act(rng.choice((0, 1, 2, 2, 3, 4, 5)))
            for k, place in enumerate(world.where):
                if place >= 0:
                    assert world.env.grid.grid[place] is world.things[k]
                elif place == HELD:
                    assert world.env.carrying is world.things[k]
                else:
                    assert world.things[k].type == "box"
