"""Mazes: LMRL-Gym's map, generated mazes, pits, and an expert with known answers."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrm_models.errors import UsageError
from agentrm_tui.environments.maze import BUMP_LIMIT, MOVES, MazeEnvironment, Position, make_board

LEVELS = MazeEnvironment().traits.levels
GENERATED = LEVELS[1:]


def test_the_lmrl_map_has_the_published_cells_and_directions() -> None:
    env = MazeEnvironment()
    seed = next(seed for seed in range(200) if make_board("lmrl", seed).start == (1, 1))
    observation = env.reset(env.task(f"lmrl:{seed}"))
    assert observation == (
        "The goal is at position 8, 6. Your current position is at position 1, 1. "
        "There are walls above you, below you, to your left."
    )
    actions = []
    while True:
        _, action = env.expert()
        actions.append(action)
        if (result := env.step(action)).done:
            break
    right, down = "move right", "move down"
    assert actions == [right, right, down, down, down, down, right, right, right, down, down, down]
    assert result.outcome == 1.0


def test_three_refused_moves_end_the_episode_and_each_counts_as_a_step() -> None:
    env = MazeEnvironment()
    env.reset(env.task("maze-5:1"))
    blocked = next(action for action in MOVES if action not in env.valid_actions())
    results = [env.step(blocked), env.step("dance"), env.step(blocked)]
    assert [result.done for result in results] == [False, False, True]
    assert not any(result.valid for result in results)
    assert "third time" in results[-1].text
    assert BUMP_LIMIT == 3


def test_a_pit_ends_the_episode_with_nothing_and_is_announced_by_a_draught() -> None:
    env = MazeEnvironment()
    for seed in range(200):
        observation = env.reset(env.task(f"pits-5:{seed}"))
        board, here = make_board("pits-5", seed), make_board("pits-5", seed).start
        into = [action for action in MOVES if board.neighbour(here, action) in board.pits]
        assert ("draught" in observation) == bool(into)
        if into:
            result = env.step(into[0])
            assert result.done and result.outcome == 0.0 and result.valid
            return
    pytest.fail("no maze of 200 starts beside a pit")


@given(level=st.sampled_from(GENERATED), seed=st.integers(0, 10**7))
@settings(max_examples=40, deadline=None)
def test_generated_mazes_are_connected_symmetric_and_reach_the_goal_without_a_pit(level: str, seed: int) -> None:
    board = make_board(level, seed)
    assert all((b, a) in board.passages for a, b in board.passages)
    reached, queue = {board.start}, deque([board.start])
    while queue:
        here = queue.popleft()
        for action in MOVES:
            there = board.neighbour(here, action)
            if there is not None and there not in reached:
                reached.add(there)
                queue.append(there)
    assert len(reached) == board.height * board.width
    assert board.start in board.distances()
    assert board.start != board.goal and not {board.start, board.goal} & board.pits


@given(
    level=st.sampled_from(LEVELS),
    seed=st.integers(0, 10**7),
    moves=st.lists(st.sampled_from(sorted(MOVES)), max_size=25),
)
@settings(max_examples=40, deadline=None)
def test_outcome_is_the_progress_towards_the_goal(level: str, seed: int, moves: list[str]) -> None:
    env = MazeEnvironment()
    task = env.task(f"{level}:{seed}")
    env.reset(task)
    board = make_board(level, seed)
    distance = board.distances()
    here: Position = board.start
    for steps, move in enumerate(moves, 1):
        there = board.neighbour(here, move)
        result = env.step(move)
        here = there or here
        expected = max(0.0, 1 - distance[here] / distance[board.start]) if here in distance else 0.0
        assert result.outcome == pytest.approx(expected)
        assert result.valid == (there is not None)
        if result.done:
            assert here == board.goal or here in board.pits or steps == task.step_limit or "third time" in result.text
            break


@pytest.mark.parametrize("level", ["named-8", "named-9"])
def test_named_mazes_never_change_but_for_start_and_goal(level: str) -> None:
    boards = [make_board(level, seed) for seed in range(300)]
    maps = {(board.name, board.passages, board.pits) for board in boards}
    assert len(maps) == len({board.name for board in boards}) == len({board.passages for board in boards}) >= 4
    assert len({(board.name, board.start, board.goal) for board in boards}) > 250
    task = MazeEnvironment().task(f"{level}:0")
    assert task.goal.startswith(f"In the {boards[0].name} maze, reach the goal at position")


def test_an_unknown_level_offers_the_nearest_and_a_bad_seed_is_named() -> None:
    env = MazeEnvironment()
    with pytest.raises(UsageError, match="maze-5"):
        env.task("mase-5:3")
    with pytest.raises(UsageError, match="'x'"):
        env.task("maze-5:x")
    with pytest.raises(UsageError, match="at most 18 digits"):
        env.task("maze-5:" + "1" * 5_000)
