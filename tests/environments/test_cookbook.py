"""The cookbook's code works as it is printed: it keeps the rules, is played by the runner, and is found by name."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import conformance
import pytest
from conformance import Make

from agentrm_models.specs import load_policy, load_reward
from agentrm_tui.environments.registry import GROUP
from agentrm_tui.environments.remote import Options
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.batch import run_plan
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.search_fields import settings_of
from agentrm_tui.runs.store import load_state

PAGE = Path(__file__).parents[2] / "docs" / "environments.md"
LONGEST = 60


def block(language: str) -> str:
    """The first code block of a language in the cookbook."""
    cookbook = PAGE.read_text().partition("## Cookbook")[2]
    found, *_ = re.findall(rf"^```{language}\n(.*?)^```$", cookbook, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture
def jugs(tmp_path: Path) -> ModuleType:
    """The page's module, imported from a file."""
    path = tmp_path / "jugs.py"
    path.write_text(block("python"))
    spec = importlib.util.spec_from_file_location("jugs", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_short() -> None:
    assert len(block("python").splitlines()) <= LONGEST


def test_it_keeps_the_rules_of_environments(jugs: ModuleType) -> None:
    make: Make = jugs.JugsEnvironment
    tasks = conformance.sample_tasks(make(), 6)
    conformance.check_traits(make, "jugs")
    conformance.check_tasks(make)
    conformance.check_instructions(make)
    conformance.check_determinism(make, tasks)
    conformance.check_snapshots(make, tasks)
    conformance.check_no_leak(make, tasks)
    conformance.check_instances_apart(make, tasks)
    conformance.check_valid_actions(make, tasks)
    conformance.check_any_text(make, tasks, conformance.HOSTILE)
    conformance.check_step_limit(make, tasks)
    conformance.check_observations(make, tasks)
    conformance.check_state_keys(make, tasks)
    conformance.check_expert_from_anywhere(make, tasks)
    assert conformance.check_expert(make, make().tasks("train", count=30)) == 1.0


@pytest.mark.parametrize("algorithm", ["greedy", "beam"])
def test_the_runner_plays_it(jugs: ModuleType, algorithm: str) -> None:
    plan = RunPlan(
        environment="jugs",
        tasks=("small:3", "large:6"),
        policy="expert" if algorithm == "greedy" else "scripted",
        reward="random",
        search=settings_of(algorithm, {"beam": (2, 3)}),
    )
    seen: list[ev.AnyEvent] = []
    state = run_plan(
        plan,
        policy=load_policy(plan.policy),
        reward=load_reward("random"),
        emit=seen.append,
        environments=lambda name: jugs.JugsEnvironment(),
    )
    assert state.finished is not None and state.finished.reason == "finished"
    assert not [event for event in seen if isinstance(event, ev.Fault)]
    if algorithm == "greedy":
        assert state.finished.scores == (1.0, 1.0)


def test_it_is_found_by_name_once_installed(tmp_path: Path) -> None:
    project = tomllib.loads(block("toml"))["project"]
    (tmp_path / "jugs.py").write_text(block("python"))
    installed = tmp_path / f"{project['name']}-{project['version']}.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = [f"{name} = {where}" for name, where in project["entry-points"][GROUP].items()]
    (installed / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
    command = "run jugs --task small:3 --policy expert --search greedy --display none --out run.jsonl"
    ended = subprocess.run(
        [sys.executable, "-m", "agentrm_tui", *command.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    state = load_state(tmp_path / "run.jsonl")
    assert state.finished is not None and state.finished.scores == (1.0,)


def test_few_of_its_tasks_are_alike_so_that_test_tasks_are_left_after_training(jugs: ModuleType) -> None:
    environment = jugs.JugsEnvironment()
    states: dict[str, set[str]] = {"train": set(), "test": set()}
    for split, keys in states.items():
        for task in environment.tasks(split, count=2_000):
            environment.reset(task)
            keys.add(environment.state_key())
    assert len(states["test"] - states["train"]) > 1_000


def test_the_page_names_every_option_of_an_address() -> None:
    table = PAGE.read_text().partition("| option |")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(Options.__struct_fields__)
