"""Every stage on a fake environment with a tiny model: what it writes, and that stopping changes nothing."""

from __future__ import annotations

import json
import math
import shutil
from types import SimpleNamespace

import msgspec
import pytest
from fake_ladder import FakeLadder
from safetensors.torch import load_file

from agentrm_models.bundled import model_role
from agentrm_models.errors import DataError, DivergedError, InterruptedRun, UsageError
from agentrm_models.folder_settings import read_settings
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Message
from agentrm_models.replies import parse_reply
from agentrm_models.rewards.base import ScoreGroup
from agentrm_models.specs import load_policy, load_reward
from agentrm_trainer.config import EnvironmentSection
from agentrm_trainer.data.labelled_trees import read_labelled_trees
from agentrm_trainer.data.tasks import initial_state
from agentrm_trainer.data.trajectories import read_trajectories, trajectory_of
from agentrm_trainer.fitting import reward_kinds
from agentrm_trainer.reports.results import Results
from agentrm_trainer.stages import explore as explore_module
from agentrm_trainer.stages import sft as sft_module
from agentrm_trainer.workflow.pipeline import describe, run_pipeline, run_stage
from agentrm_trainer.workflow.plays import Sampling, make_plan, play
from agentrm_trainer.workflow.registry import STAGES
from agentrm_trainer.workflow.workspace import read_json
from agentrm_tui.search.greedy import Greedy


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A pipeline that has run to its end, to be copied."""
    return tmp_path_factory.mktemp("pipeline")


@pytest.fixture
def done_pipeline(finished, make_workspace):
    workspace = make_workspace()
    if not (finished / "out").exists():
        run_pipeline(workspace)
        shutil.copytree(workspace.out, finished / "out")
    else:
        shutil.copytree(finished / "out", workspace.out)
    return workspace


def stages_until(workspace, *stages):
    for stage in stages:
        run_stage(workspace, stage)
    return workspace


def test_a_figure_that_is_no_number_can_be_read_by_the_next_stage(make_workspace) -> None:
    folder = make_workspace().stage("collect")
    folder.open(False)
    folder.log(loss=math.nan)
    folder.finish(loss=math.nan, best=math.inf)
    assert make_workspace().done("collect").figures == {"loss": None, "best": None}
    assert json.loads((folder.path / "metrics.jsonl").read_text())["loss"] is None


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("chunks/ladder-0000020.jsonl", b'{"environment": "lad', "is damaged"),
        ("clock.json", b'{"minutes": "x"}', "cannot be read"),
        ("clock.json", b"[1]", "cannot be read"),
    ],
)
def test_a_damaged_file_of_a_stage_is_one_line(make_workspace, name: str, content: bytes, words: str) -> None:
    workspace = make_workspace(collect={"processes": 1})
    run_stage(workspace, "collect")
    folder = workspace.folder("collect")
    (folder / "done.json").unlink()
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=words) as told:
        run_stage(make_workspace(resume=True, collect={"processes": 1}), "collect")
    assert "\n" not in str(told.value)


def test_probes_where_nothing_was_held_out(make_workspace) -> None:
    workspace = make_workspace(
        collect={"held_out": 0.0}, sft={"probe_tokens": 3_000, "probe_tasks": 2, "checkpoint_minutes": 1e-9}
    )
    run_stage(workspace, "collect")
    run_stage(workspace, "sft")
    probes = workspace.done("sft").figures["probes"]
    assert probes and all(probe.keys() == {"tokens", "ladder"} for probe in probes)


def test_the_expert_is_replayable_and_noise_is_not_learnt(tmp_path):
    environment = FakeLadder()
    sampling = Sampling(0.0, 1, 0, 4, LoadOptions())
    plan = make_plan("ladder", [f"low:{seed}" for seed in range(20)], Greedy(), sampling, "expert:0.4")
    state = play(plan, tmp_path / "run.jsonl")
    found = [trajectory_of("ladder", episode, "short") for episode in state.episodes.values()]
    trajectories = [trajectory for trajectory in found if trajectory is not None]
    assert len(trajectories) > 3
    assert any(not turn.train for trajectory in trajectories for turn in trajectory.messages)
    for trajectory in trajectories:
        task = environment.task(trajectory.task)
        observation = environment.reset(task)
        assert trajectory.initial_state == initial_state(environment, task, observation)
        assistant = [turn for turn in trajectory.messages if turn.role == "assistant"]
        for turn in assistant:
            expert = environment.expert()[1]
            action = parse_reply(turn.content).action
            assert turn.train is False or action == expert
            outcome = environment.step(action).outcome
        assert outcome == 1.0
        assert trajectory.messages[-1].role == "assistant"


def test_collect_keeps_solved_tasks_once(make_workspace):
    workspace = stages_until(make_workspace(), "collect")
    rows = read_trajectories(workspace.folder("collect") / "train.jsonl")
    held_out = read_trajectories(workspace.folder("collect") / "held_out.jsonl")
    figures = workspace.done("collect").figures
    assert {row.score for row in rows} == {1.0}
    assert len(rows) + len(held_out) == figures["trajectories"]["ladder"] == 60
    assert len({row.initial_state for row in rows + held_out}) == 60
    assert any(not turn.train for row in rows for turn in row.messages)
    assert rows[0].messages[0].content == FakeLadder().instruction("short")


def test_collect_continues_from_its_chunks(make_workspace):
    whole = stages_until(make_workspace("whole"), "collect")
    workspace = stages_until(make_workspace(), "collect")
    (workspace.folder("collect") / "done.json").unlink()
    (workspace.folder("collect") / "train.jsonl").unlink()
    (workspace.folder("collect") / "chunks" / "ladder-0000020.jsonl").unlink()
    run_stage(make_workspace(resume=True), "collect")
    path = "collect/train.jsonl"
    assert (whole.out / path).read_bytes() == (workspace.out / path).read_bytes()


def test_earlier_work_needs_resume_and_the_same_settings(make_workspace):
    stages_until(make_workspace(), "collect")
    with pytest.raises(UsageError, match="Add --resume"):
        run_stage(make_workspace(), "collect")
    with pytest.raises(UsageError, match="other settings"):
        run_stage(make_workspace(resume=True, collect={"noise": 0.9}), "collect")
    run_stage(make_workspace(resume=True), "collect")


def test_a_stage_needs_the_one_before(make_workspace):
    with pytest.raises(UsageError, match="Run `agentrm-train collect` first"):
        run_stage(make_workspace(), "sft")


class FakeStop:
    """Asks a workspace to stop when a function has been called so many times."""

    def __init__(self, workspace, function, calls):
        self._workspace, self._function, self._left = workspace, function, calls

    def __call__(self, *args, **options):
        self._left -= 1
        if self._left == 0:
            self._workspace.stop()
        return self._function(*args, **options)


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_sft_gives_the_same_weights_after_an_interruption(make_workspace, monkeypatch, optimiser):
    section = {"optimiser": optimiser}
    whole = stages_until(make_workspace("whole", sft=section), "collect", "sft")
    workspace = stages_until(make_workspace(sft=section), "collect")
    monkeypatch.setattr(sft_module, "cloning_loss", FakeStop(workspace, sft_module.cloning_loss, 5))
    with pytest.raises(InterruptedRun):
        run_stage(workspace, "sft")
    assert not (workspace.folder("sft") / "done.json").exists()
    run_stage(make_workspace(resume=True, sft=section), "sft")
    one = load_file(whole.folder("sft") / "policy" / "model.safetensors")
    other = load_file(workspace.folder("sft") / "policy" / "model.safetensors")
    assert one.keys() == other.keys()
    assert all(one[name].equal(other[name]) for name in one)


def test_sft_learns(make_workspace):
    workspace = stages_until(make_workspace(sft={"max_tokens": 40_000}), "collect", "sft")
    lines = (workspace.folder("sft") / "metrics.jsonl").read_text().splitlines()
    folder = workspace.folder("sft") / "policy"
    assert {"config.json", "model.safetensors", "tokenizer.json", "agentrm.json", "README.md"} <= {
        path.name for path in folder.iterdir()
    }
    assert json.loads((folder / "agentrm.json").read_text()) == {
        "prompt": "short",
        "environments": ["ladder"],
    }
    checkpoint = read_json(workspace.folder("sft") / "checkpoint" / "state.json")
    assert checkpoint["loss"] < 3.0
    assert json.loads(lines[-1])["loss"] < 3.0


def test_an_early_policy_is_kept_and_the_reward_model_starts_from_the_end(make_workspace, monkeypatch):
    found = iter([0.2, 0.5, 0.9, 0.9])
    monkeypatch.setattr(sft_module, "probe_greedy", lambda *args: {"ladder": next(found)})
    section = {"probe_tokens": 2_000, "probe_tasks": 2, "policy_outcome": 0.4}
    workspace = stages_until(make_workspace(sft=section), "collect", "sft", "explore", "label")
    figures = workspace.done("sft").figures
    assert figures["policy_tokens"] == figures["probes"][1]["tokens"] < figures["tokens"]
    policy, backbone = (workspace.folder("sft") / name for name in ("policy", "backbone"))
    early, late = (load_file(folder / "model.safetensors") for folder in (policy, backbone))
    assert any(not early[name].equal(late[name]) for name in early)
    started = []
    plain = reward_kinds.new_reward_model
    monkeypatch.setattr(reward_kinds, "new_reward_model", lambda *args: started.append(args[0]) or plain(*args))
    run_stage(workspace, "fit")
    assert started == [backbone]


def test_a_policy_that_is_reached_at_the_end_or_never_is_the_backbone_too(make_workspace, monkeypatch):
    section = {"probe_tokens": 5_000, "probe_tasks": 2, "policy_outcome": 0.4}
    for name, outcomes in (("reached", [0.1, 0.5]), ("never", [0.1, 0.2])):
        found = iter(outcomes)
        monkeypatch.setattr(sft_module, "probe_greedy", lambda *args, found=found: {"ladder": next(found)})
        workspace = stages_until(make_workspace(name, sft=section), "collect", "sft")
        figures = workspace.done("sft").figures
        assert figures["policy_tokens"] == figures["tokens"], name
        assert (workspace.folder("sft") / "policy").exists() and not (workspace.folder("sft") / "backbone").exists()


def test_without_a_threshold_both_models_start_from_the_end(done_pipeline):
    figures = done_pipeline.done("sft").figures
    assert figures["policy_tokens"] == figures["tokens"]
    assert not (done_pipeline.folder("sft") / "backbone").exists()


def test_a_loss_that_is_not_finite_ends_training(make_workspace, monkeypatch):
    workspace = stages_until(make_workspace(), "collect")
    plain = sft_module.cloning_loss
    monkeypatch.setattr(sft_module, "cloning_loss", lambda *args: plain(*args) * float("nan"))
    with pytest.raises(DivergedError, match="Lower the learning rate"):
        run_stage(workspace, "sft")


def test_models_do_not_name_the_folders_they_were_made_in(done_pipeline):
    for stage, model in (("sft", "policy"), ("fit", "reward")):
        for file in (done_pipeline.folder(stage) / model).glob("*.json"):
            assert str(done_pipeline.out) not in file.read_text(), file.name


IMPLICIT = {
    "kind": "implicit",
    "likelihoods": [],
    "aggregates": ["mean", "sum"],
    "targets": "all",
    "learning_rate": 1e-3,
    "beta": 0.5,
}


@pytest.mark.parametrize("kind", ["explicit", "implicit"])
def test_fit_gives_the_same_weights_after_an_interruption(done_pipeline, make_workspace, monkeypatch, kind):
    section = IMPLICIT if kind == "implicit" else {}
    if section:
        shutil.rmtree(done_pipeline.folder("fit"))
        run_stage(make_workspace(resume=True, fit=section), "fit")
    before = load_file(done_pipeline.folder("fit") / "reward" / "model.safetensors")
    shutil.rmtree(done_pipeline.folder("fit"))
    workspace = make_workspace(resume=True, fit=section)
    loss = "implicit_loss" if section else "regression_loss"
    monkeypatch.setattr(reward_kinds, loss, FakeStop(workspace, getattr(reward_kinds, loss), 3))
    with pytest.raises(InterruptedRun):
        run_stage(workspace, "fit")
    run_stage(make_workspace(resume=True, fit=section), "fit")
    after = load_file(workspace.folder("fit") / "reward" / "model.safetensors")
    assert all(before[name].equal(after[name]) for name in before)


def test_explore_continues_from_its_chunks(done_pipeline, make_workspace):
    folder = done_pipeline.folder("explore")
    lost = sorted((folder / "runs").glob("*.jsonl"))[-1]
    lost.unlink()
    (folder / "done.json").unlink()
    run_stage(make_workspace(resume=True), "explore")
    assert lost.exists()
    assert done_pipeline.done("explore").figures["trees"] == {"ladder": 8}


def test_labels_are_mean_returns(done_pipeline):
    trees = read_labelled_trees(done_pipeline.folder("label") / "trees.jsonl")
    assert len(trees) == 8
    for tree in trees:
        labelled = [node for node in tree.nodes if node.target is not None]
        assert labelled
        assert all(0.0 <= node.target <= 1.0 and node.visits >= 1 for node in labelled)
        first = [node for node in tree.nodes if node.parent == -1]
        assert sum(node.visits for node in first) == 6


def test_the_papers_filter_keeps_visited_nodes_only(done_pipeline, make_workspace):
    shutil.rmtree(done_pipeline.folder("label"))
    run_stage(make_workspace(label={"variant": "visits", "min_visits": 3}), "label")
    trees = read_labelled_trees(done_pipeline.folder("label") / "trees.jsonl")
    labelled = [node for tree in trees for node in tree.nodes if node.target is not None]
    assert labelled
    assert all(node.visits >= 3 and node.weight == 1.0 for node in labelled)


def test_the_pipeline_ends_with_results_and_cards(done_pipeline):
    assert all(done_pipeline.is_finished(stage.name) for stage in STAGES)
    results = read_json(done_pipeline.folder("report") / "results.json", Results)
    expected = {"greedy", "single", "random-of-n", "shortest-of-n", "likeliest-of-n", "best-of-n", "oracle", "beam"}
    assert expected | {"beam-random", "best-of-n-at-cost"} == set(results.methods)
    assert {figures["all"].tasks for figures in results.methods.values()} == {8}
    oracle, chosen = results.methods["oracle"]["all"], results.methods["best-of-n"]["all"]
    assert oracle.score.mean >= chosen.score.mean
    assert oracle.score.mean >= results.methods["random-of-n"]["all"].score.mean
    for path in ("export/policy/README.md", "export/reward/README.md"):
        card = (done_pipeline.out / path).read_text()
        assert ("the value plus 0.3 times" in card) == ("reward" in path)
        assert "beam 2×2" in card and "| collect |" in card
    assert describe(done_pipeline).count("finished") == len(STAGES)


def test_no_test_task_starts_in_a_state_of_training(done_pipeline):
    tasks = read_json(done_pipeline.folder("evaluate") / "tasks.json")["ladder"]
    seen = set(read_json(done_pipeline.folder("collect") / "initial_states.json"))
    seen |= set(read_json(done_pipeline.folder("explore") / "initial_states.json"))
    from agentrm_trainer.data.tasks import initial_state

    environment = FakeLadder()
    keys = [
        initial_state(environment, task, environment.reset(task))
        for task in (environment.task(name) for name in tasks["tasks"])
    ]
    assert len(set(keys)) == 8
    assert not seen.intersection(keys)


def test_a_resumed_pipeline_passes_finished_stages_over(done_pipeline, make_workspace):
    times = {stage: (done_pipeline.folder(stage.name) / "done.json").stat().st_mtime_ns for stage in STAGES}
    run_pipeline(make_workspace(resume=True))
    assert times == {stage: (done_pipeline.folder(stage.name) / "done.json").stat().st_mtime_ns for stage in STAGES}


def test_the_saved_models_load_and_score(done_pipeline):

    policy = load_policy(str(done_pipeline.folder("export") / "policy"), LoadOptions(threads=1))
    reward = load_reward(str(done_pipeline.folder("export") / "reward"), LoadOptions(threads=1))
    assert policy.traits.prompt == reward.traits.prompt == "short"
    likelihood = json.loads((done_pipeline.folder("export") / "reward" / "agentrm.json").read_text())["likelihood"]
    assert likelihood == 0.3
    reply = (Message("user", "Goal: the top."), Message("assistant", "Thought: up\nAction: up"))
    assert len(reward.score([ScoreGroup((reply,))])[0]) == 1


def test_the_backbone_may_tell_the_likelihood_and_is_stored_beside(done_pipeline, make_workspace):

    shutil.rmtree(done_pipeline.folder("fit"))
    workspace = make_workspace(resume=True, fit={"likelihoods": [0.2], "likelihood_by": "backbone"})
    run_stage(workspace, "fit")
    folder = workspace.folder("fit") / "reward"
    settings = json.loads((folder / "agentrm.json").read_text())
    assert (settings["likelihood"], settings["likelihood_model"]) == (0.2, "language")
    stored = load_file(folder / "language" / "model.safetensors")
    cloned = load_file(workspace.folder("sft") / "policy" / "model.safetensors")
    assert all(stored[name].equal(cloned[name]) for name in cloned)
    assert "the language model it began as" in (folder / "README.md").read_text()


def test_an_implicit_model_is_fitted_stored_with_its_reference_and_plays_as_it_was_judged(
    done_pipeline, make_workspace
):
    shutil.rmtree(done_pipeline.folder("fit"))
    for stage in ("evaluate", "report", "export"):
        shutil.rmtree(done_pipeline.folder(stage))
    workspace = make_workspace(resume=True, fit=IMPLICIT)
    run_pipeline(workspace)
    folder = workspace.folder("export") / "reward"
    settings = read_settings(folder)
    assert (settings.reference, settings.beta, settings.prompt) == ("reference", 0.5, "short")
    assert settings.aggregate in ("mean", "sum")
    card = (folder / "README.md").read_text()
    assert f"β = 0.5, the {settings.aggregate} of a path's steps" in card
    assert "beam 2×2" in card
    reference = load_file(folder / "reference" / "model.safetensors")
    cloned = load_file(workspace.folder("sft") / "policy" / "model.safetensors")
    assert all(reference[name].equal(cloned[name]) for name in cloned)
    assert model_role(folder) == "reward"
    conversation = (Message("user", "Goal: the top."), Message("assistant", "Thought: up\nAction: up"))
    [[value]] = load_reward(str(folder), LoadOptions(threads=1)).score([ScoreGroup((conversation,))])
    assert abs(value) > 1e-4


def test_an_implicit_model_learns_outcomes(done_pipeline, make_workspace):
    section = {**IMPLICIT, "epochs": 12.0, "learning_rate": 3e-3}
    shutil.rmtree(done_pipeline.folder("fit"))
    workspace = make_workspace(resume=True, fit=section)
    run_stage(workspace, "fit")
    losses = [
        line["loss"]
        for line in map(json.loads, (workspace.folder("fit") / "metrics.jsonl").read_text().splitlines())
        if "loss" in line
    ]
    assert losses[-1] < 0.5 * losses[0]


def test_trajectories_that_do_not_fit_the_context_are_no_labels(done_pipeline, make_workspace):
    shutil.rmtree(done_pipeline.folder("fit"))
    with pytest.raises(DataError, match="no labelled state fits"):
        run_stage(make_workspace(resume=True, fit={**IMPLICIT, "targets": "ends"}), "fit")


def test_two_processes_cannot_work_in_one_folder(make_workspace):
    with (
        make_workspace().locked(),
        pytest.raises(UsageError, match="another agentrm-train is working"),
        make_workspace().locked(),
    ):
        pass
    with make_workspace().locked():
        pass


def test_explored_trees_are_shared_out_by_their_own_weight(make_workspace, tmp_path) -> None:
    workspace = make_workspace(explore={"trees": 32})
    sections = (EnvironmentSection(name="a", weight=9.0), EnvironmentSection(name="b", tree_weight=3.0))
    workspace.config = msgspec.structs.replace(workspace.config, environments=sections)
    jobs = list(explore_module._jobs(workspace, SimpleNamespace(path=tmp_path, minutes=0.0), "policy"))
    names = [job.section.name for job in jobs]
    assert (names.count("a"), names.count("b")) == (2, 6)
