"""Contrasts: the policy's steps with other actions beside them, and a reward model that starts from them."""

from __future__ import annotations

import shutil

import pytest
from fake_ladder import FakeLadder

from agentrm_models.errors import InterruptedRun
from agentrm_models.load_options import LoadOptions
from agentrm_models.policies.base import Candidate, PolicyTraits
from agentrm_models.policies.coached import CoachedPolicy
from agentrm_models.replies import parse_reply
from agentrm_models.usage import Usage, ignore_progress
from agentrm_trainer.data.contrasts import contrast_tree
from agentrm_trainer.data.expert_worth import played, with_expert_worth
from agentrm_trainer.data.labelled_trees import LabelledTree, read_labelled_trees
from agentrm_trainer.data.trajectories import read_trajectories
from agentrm_trainer.fitting.optimisation import Budget
from agentrm_trainer.stages.fit import FitRun, FitState
from agentrm_trainer.workflow.pipeline import run_stage
from agentrm_trainer.workflow.plays import HeldPolicy, Sampling, make_plan, play
from agentrm_trainer.workflow.workspace import read_json
from agentrm_tui.runs.store import load_state
from agentrm_tui.search.walk import Walk

CONTRASTED = {
    "label": {"contrasts": 20, "contrast_samples": 3, "contrast_tokens": 24, "expert_discount": 0.9, "chunk": 8},
    "fit": {"contrast_share": 0.5, "max_minutes": 5.0, "epochs": 2.0, "language": 0.3},
}


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    """Stages up to `explore`, to be copied."""
    return tmp_path_factory.mktemp("explored")


@pytest.fixture
def workspace(explored, make_workspace):
    made = make_workspace(**CONTRASTED)
    if not (explored / "out").exists():
        for stage in ("collect", "sft", "explore"):
            run_stage(made, stage)
        shutil.copytree(made.out, explored / "out")
    else:
        shutil.copytree(explored / "out", made.out)
    return made


def worth_of(task: str, actions: list[str]) -> float:
    """What the expert makes of a state, by hand: it needs one step for each rung."""
    environment = FakeLadder()
    environment.reset(environment.task(task))
    results = [played(environment, action) for action in actions]
    if results[-1].done:
        return results[-1].outcome
    state = environment.snapshot()
    needed = abs(state.goal - state.rung)
    return 0.9**needed if len(actions) + needed <= 6 else 0.0


def actions_to(tree: LabelledTree, index: int) -> list[str]:
    """The actions on the way to a node, its own included."""
    return [parse_reply(message.content).action for message in tree.conversation(index) if message.role == "assistant"]


def test_beside_what_the_policy_does_stands_what_else_it_would_have_done_and_what_the_expert_does(workspace):
    run_stage(workspace, "label")
    files = sorted((workspace.folder("label") / "contrasts").glob("*.jsonl"))
    assert len(files) == 3
    trees = [tree for path in files for tree in read_labelled_trees(path)]
    collected = {found.task for found in read_trajectories(workspace.folder("collect") / "train.jsonl")}
    judged = 0
    for tree in trees:
        assert tree.task in collected
        environment = FakeLadder()
        environment.reset(environment.task(tree.task))
        trunk = -1
        while here := [index for index, node in enumerate(tree.nodes) if node.parent == trunk]:
            actions = [actions_to(tree, index)[-1] for index in here]
            assert len(set(actions)) == len(actions)
            assert environment.expert()[1] in actions
            for index in here:
                worth = worth_of(tree.task, actions_to(tree, index)) if len(here) > 1 else None
                assert tree.nodes[index].target == (worth if worth is None else pytest.approx(worth))
                judged += worth is not None
            result = played(environment, actions[0])
            trunk = here[0]
        assert result.done or tree.nodes[trunk].depth == environment.task(tree.task).step_limit
    figures = workspace.done("label").figures["contrasts"]
    assert figures == {"trees": len(trees), "labels": judged}
    assert judged


def test_where_the_expert_leads_its_replies_are_taken(explored, make_workspace, workspace):
    led = make_workspace("led", label={**CONTRASTED["label"], "contrast_expert": 1.0}, fit=CONTRASTED["fit"])
    shutil.copytree(workspace.out, led.out)
    run_stage(led, "label")
    runs = sorted((led.folder("label") / "contrast_runs").glob("*.jsonl"))
    assert runs
    for path in runs:
        for episode in load_state(path).episodes.values():
            taken = [node for node in episode.tree if node.acted and node.parent is not None]
            assert {node.source for node in taken} == {"expert"}
            assert episode.outcome == 1


def test_chunks_that_are_there_are_not_made_again(workspace, monkeypatch):
    run_stage(workspace, "label")
    folder = workspace.folder("label")
    first, *_, last = sorted((folder / "contrasts").glob("*.jsonl"))
    before = first.stat().st_mtime_ns, last.read_bytes()
    (folder / "done.json").unlink()
    last.unlink()
    workspace.resume = True
    run_stage(workspace, "label")
    assert (first.stat().st_mtime_ns, last.read_bytes()) == before


class FakeSpeaker:
    """A policy that always says the same."""

    notice = ""
    traits = PolicyTraits(name="speaker", prompt="short")
    usage = Usage()

    def __init__(self, reply: str) -> None:
        self.reply = reply

    def propose(self, requests, progress=ignore_progress):
        return [[Candidate(self.reply, -1.0, 3)] * request.n for request in requests]

    def new_episode(self):
        return

    def close(self):
        return


@pytest.mark.parametrize(
    "reply", ["Action: jump", "I cannot decide.", "Action: " + "up " * 2_000], ids=["unknown", "missing", "too long"]
)
def test_an_unusable_reply_is_judged_beside_the_experts_and_the_walk_goes_on(tmp_path, reply):
    sampling = Sampling(0.7, 8, 0, 4, LoadOptions())
    plan = make_plan("ladder", ["low:3"], Walk(candidates=3), sampling, "coached")
    state = play(plan, tmp_path / "run.jsonl", models=HeldPolicy(CoachedPolicy(FakeSpeaker(reply), 0.0)))
    (episode,) = state.episodes.values()
    tree = contrast_tree("ladder", episode, "short")
    steps = episode.steps
    assert [node.depth for node in tree.nodes] == [depth for depth in range(1, steps + 1) for _ in range(2)]
    assert all(node.reply.startswith("Thought: ") for node in tree.nodes[1::2])
    assert {node.parent for node in tree.nodes} == {-1, *range(0, len(tree.nodes) - 2, 2)}
    judged = with_expert_worth(FakeLadder(), tree, 1.0, 0.9)
    for index, node in enumerate(judged.nodes):
        assert node.target == pytest.approx(worth_of("low:3", actions_to(tree, index)))


def test_a_share_of_the_targets_is_what_the_expert_makes_of_a_state(workspace, make_workspace):
    plain = make_workspace(label={"contrasts": 0}, fit={"contrast_share": 0.0})
    run_stage(plain, "label")
    returns = read_labelled_trees(plain.folder("label") / "trees.jsonl")
    (plain.folder("label") / "done.json").unlink()
    shutil.rmtree(plain.folder("label"))
    run_stage(make_workspace(label={"contrasts": 0, "expert_share": 0.25, "expert_discount": 0.9}), "label")
    mixed = read_labelled_trees(plain.folder("label") / "trees.jsonl")
    compared = 0
    for one, other in zip(returns, mixed, strict=True):
        for index, (before, after) in enumerate(zip(one.nodes, other.nodes, strict=True)):
            if before.target is None:
                assert after.target is None
            else:
                worth = worth_of(one.task, actions_to(one, index))
                assert after.target == pytest.approx(0.75 * before.target + 0.25 * worth)
                compared += before.target != worth
    assert compared


def test_the_reward_model_learns_contrasts_and_labels_in_turn(workspace, monkeypatch):
    run_stage(workspace, "label")
    learnt: list[bool] = []
    # Each step is a twentieth of the budget, whatever the clock says.
    monkeypatch.setattr(Budget, "share", lambda *used: len(learnt) / 20)
    plain, best = FitRun._step, []

    def spy(run, pieces, share):
        learnt.append(any(piece is contrast for piece in pieces for contrast in run._contrasts.trees))
        best.append(any(bool(packed.labels.best.any()) for packed in pieces))
        if len(learnt) == 4:
            workspace.stop()
        plain(run, pieces, share)

    monkeypatch.setattr(FitRun, "_step", spy)
    with pytest.raises(InterruptedRun):
        run_stage(workspace, "fit")
    workspace._wish.stop = False
    workspace.resume = True
    run_stage(workspace, "fit")
    assert learnt == [True, False] * (len(learnt) // 2) + [True] * (len(learnt) % 2)
    assert len(learnt) > 4
    assert any(best)
    assert not any(flag for flag, contrast in zip(best, learnt, strict=True) if not contrast)
    state = read_json(workspace.folder("fit") / "checkpoint" / "state.json", FitState)
    assert state.contrast_steps == sum(learnt)
    assert state.step == len(learnt)
