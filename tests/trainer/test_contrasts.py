"""Contrasts: the expert's steps with other valid actions beside them, and a reward model that starts from them."""

from __future__ import annotations

import shutil

import pytest
from fake_ladder import FakeLadder

from agentrm_models.errors import InterruptedRun, UsageError
from agentrm_trainer.collect import collect, read_trajectories
from agentrm_trainer.config_check import check_config
from agentrm_trainer.contrasts import contrast_tree, swapped
from agentrm_trainer.explore import explore
from agentrm_trainer.fit import FitRun, FitState, fit
from agentrm_trainer.label import label
from agentrm_trainer.labelled_trees import read_labelled_trees
from agentrm_trainer.optimisation import Budget
from agentrm_trainer.processes import Processes
from agentrm_trainer.sft import sft
from agentrm_trainer.workspace import read_json
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.replies import parse_reply

CONTRASTED = {
    "label": {"contrasts": 20, "contrast_actions": 2},
    "fit": {"contrast_share": 0.5, "max_minutes": 5.0, "epochs": 2.0},
}


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    """Stages up to `explore`, to be copied."""
    return tmp_path_factory.mktemp("explored")


@pytest.fixture
def workspace(explored, make_workspace):
    made = make_workspace(**CONTRASTED)
    if not (explored / "out").exists():
        for stage in (collect, sft, explore):
            stage(made)
        shutil.copytree(made.out, explored / "out")
    else:
        shutil.copytree(explored / "out", made.out)
    return made


@pytest.mark.parametrize(
    ("thought", "action", "other", "expected"),
    [
        ("The blue key is in view.", "pick up blue key", "pick up red key", "The red key is in view."),
        ("I must reach the ball, first.", "go to ball", "go to box", "I must reach the box, first."),
        ("Goal: b is on u, but u at t.", "unstack u from t", "unstack b from t", "Goal: b is on b, but b at t."),
        ("See the red door.", "go through red door", "go through the far blue door", "See the the far blue door."),
        ("The goal is 2 up.", "move up", "wait", "The goal is 2 up."),
        ("", "a b", "a c", ""),
    ],
)  # fmt: skip
def test_a_thought_follows_its_action(thought, action, other, expected):
    assert swapped(thought, action, other) == expected


def test_beside_the_experts_steps_stand_other_valid_actions(workspace):
    label(workspace)
    trees = read_labelled_trees(workspace.folder("label") / "contrasts.jsonl")
    trajectories = {found.task: found for found in read_trajectories(workspace.folder("collect") / "train.jsonl")}
    assert len(trees) == 20
    beside = 0
    for tree in trees:
        trajectory, environment = trajectories[tree.task], FakeLadder()
        environment.reset(environment.task(tree.task))
        turns = [turn for turn in trajectory.messages if turn.role == "assistant"]
        played = [node for node in tree.nodes if node.target != 0]
        assert [node.reply for node in played] == [turn.content for turn in turns]
        assert [node.target for node in played] == [1.0 if turn.train else None for turn in turns]
        for depth, turn in enumerate(turns, start=1):
            others = [node for node in tree.nodes if node.depth == depth and node.target == 0]
            actions = {parse_reply(node.reply).action for node in others}
            mine = parse_reply(turn.content).action
            assert len(others) == len(actions) == (min(2, len(environment.valid_actions()) - 1) if turn.train else 0)
            assert actions <= set(environment.valid_actions()) - {mine}
            environment.step(mine)
            beside += len(others)
    assert workspace.done("label").figures["contrasts"] == beside > 0


def test_a_contrast_is_the_conversation_that_was_learnt(workspace):
    trajectory = read_trajectories(workspace.folder("collect") / "train.jsonl")[0]
    tree = contrast_tree(make_environment("ladder"), trajectory, 2, "short", 0)
    last = max(index for index, node in enumerate(tree.nodes) if node.target != 0)
    assert [(message.role, message.content) for message in tree.conversation(last)] == [
        (turn.role, turn.content) for turn in trajectory.messages
    ]


def test_the_reward_model_learns_contrasts_before_labels(workspace, monkeypatch):
    label(workspace)
    learnt: list[bool] = []
    # Each step is a twentieth of the budget, whatever the clock says.
    monkeypatch.setattr(Budget, "share", lambda *used: len(learnt) / 20)
    plain = FitRun._step

    def spy(run, pieces, share):
        learnt.append(any(piece is contrast for piece in pieces for contrast in run._contrasts))
        if len(learnt) == 4:
            workspace.stop()
        plain(run, pieces, share)

    monkeypatch.setattr(FitRun, "_step", spy)
    with pytest.raises(InterruptedRun):
        fit(workspace)
    workspace._stop = False
    workspace.resume = True
    fit(workspace)
    assert learnt[:10] == [True] * 10
    assert len(learnt) > 11
    assert not any(learnt[10:])
    state = read_json(workspace.folder("fit") / "checkpoint" / "state.json", FitState)
    assert state.labels
    # A later sitting does not read the contrasts again.
    assert not FitRun(workspace, workspace.stage("fit", "x"), Processes("cpu"))._contrasts


def test_a_share_without_contrasts_is_refused(make_workspace):
    with pytest.raises(UsageError, match=r"contrast_share needs label.contrasts and fit.max_minutes"):
        check_config(make_workspace(fit={"contrast_share": 0.5}).config)
    check_config(make_workspace(**CONTRASTED).config)
