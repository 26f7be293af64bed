from __future__ import annotations

import pytest

from agentrm_models.folder_settings import read_settings
from agentrm_models.load_options import LoadOptions
from agentrm_models.rewards.scripted import RandomReward
from agentrm_models.specs import load_reward
from agentrm_trainer.data.thresholds import Drawn, choose_threshold, drawn_trajectories, stopped_at
from agentrm_trainer.data.trajectories import read_trajectories
from agentrm_trainer.workflow.pipeline import run_stage
from agentrm_trainer.workflow.plays import Sampling, make_plan, play
from agentrm_tui.search.best_of_n import BestOfN


def test_drawing_stops_at_the_first_that_is_good_enough() -> None:
    """By hand: with one of four at 1.0, the expected place of it among four in random order is 2.5."""
    task = [Drawn(1.0, 1.0, 10), *[Drawn(0.1, 0.0, 10)] * 3]
    found = stopped_at([task] * 50, 0.9)
    assert found.outcome == 1.0
    assert found.tokens == pytest.approx(25, abs=1)
    assert stopped_at([task], 0.0).tokens == 10
    assert stopped_at([task], 5.0)[1:] == (1.0, 40)


def test_the_cheapest_threshold_that_loses_nothing_is_chosen() -> None:
    """Rewards of 0.8 are right, those of 0.6 are wrong: the threshold lies above 0.6, where 0.4 is right too."""
    tasks = [[Drawn(0.8, 1.0, 5), Drawn(0.6, 0.0, 5), Drawn(0.4, 1.0, 5)]] * 20
    found = choose_threshold(tasks)
    assert found is not None
    assert (found.threshold, found.outcome) == (0.8, 1.0)
    assert found.tokens < 15


def test_where_no_reward_tells_good_from_bad_the_cheapest_is_taken_and_without_trajectories_none() -> None:
    tasks = [[Drawn(value / 10, 1.0, 5) for value in range(6)]] * 4
    found = choose_threshold(tasks)
    assert found is not None and found.tokens == 5
    assert choose_threshold([]) is None


def test_merged_samples_count_as_often_as_they_were_drawn(tmp_path) -> None:
    sampling = Sampling(0.9, 8, 1, 4, LoadOptions())
    plan = make_plan("ladder", [f"low:{seed}" for seed in range(4)], BestOfN(n=6), sampling, "scripted", "random:0")
    state = play(plan, tmp_path / "run.jsonl")
    tasks = drawn_trajectories(state, RandomReward(0))
    assert [len(drawn) for drawn in tasks] == [6] * 4
    assert all(row.tokens > 0 for drawn in tasks for row in drawn)


def test_fit_leaves_a_threshold_in_the_folder_that_playing_takes_up(make_workspace, tmp_path) -> None:
    workspace = make_workspace()
    for stage in ("collect", "sft", "explore", "label", "fit"):
        run_stage(workspace, stage)
    folder = workspace.folder("fit") / "reward"
    stop_at = read_settings(folder).stop_at
    assert stop_at is not None
    assert load_reward(str(folder)).traits.threshold == stop_at
    assert workspace.done("fit").figures["stopping"]["threshold"] == stop_at
    from agentrm_tui.search.adaptive import Adaptive

    task = read_trajectories(workspace.folder("collect") / "train.jsonl")[0].task
    policy = str(workspace.folder("sft") / "policy")
    plan = make_plan("ladder", [task], Adaptive(n=3), Sampling(0.9, 24, 1, 1, LoadOptions()), policy, str(folder))
    state = play(plan, tmp_path / "adaptive.jsonl")
    assert state.run is not None and state.run.plan.search == Adaptive(n=3, stop_at=stop_at)
