"""Every installed environment keeps the rules of `conformance.py`, silently and without touching global randomness."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import conformance
import numpy as np
import pytest
from conformance import Make

from agentrm_models.errors import DataError
from agentrm_tui.environments.base import Environment, Task
from agentrm_tui.environments.registry import environment_names, make_environment

FEW = {
    "alfworld": ("pick_two_obj_and_place-small:1", "look_at_obj_in_light-small:9000002"),
    "scienceworld": ("lifespan-longest-lived:9000004", "lifespan-shortest-lived:3"),
}
"""Environments in which beginning an episode or looking at a state is slow: the rules are checked on these tasks."""
FEW_ACTIONS = 20
"""Actions that are tried there; their own test files try 200."""

HELD: list[Environment] = []
"""One of each of these, open, so that what their instances share is started once."""

pytestmark = pytest.mark.parametrize("name", environment_names())


@cache
def missing(name: str) -> str:
    """Why an environment of an extra cannot be played here; empty where it can."""
    environment = make_environment(name)
    if not environment.traits.extra:
        return ""
    try:
        environment.reset(environment.tasks("test", count=1)[0])
    except DataError as error:
        return f"{name}: {error}"
    finally:
        if name in FEW:
            HELD.append(environment)
        else:
            environment.close()
    return ""


@pytest.fixture(scope="module", autouse=True)
def held() -> Iterator[None]:
    """Close, at the end, what was kept open."""
    yield
    for environment in HELD:
        environment.close()
    HELD.clear()
    missing.cache_clear()


@pytest.fixture(autouse=True)
def needs_its_extra(name: str) -> None:
    """Skip, by name, what is not installed."""
    if why := missing(name):
        pytest.skip(why)


@pytest.fixture
def made() -> Iterator[list[Environment]]:
    """All environments that a test made; they are closed after it."""
    environments: list[Environment] = []
    yield environments
    for environment in environments:
        environment.close()


@pytest.fixture
def make(name: str, made: list[Environment], capfd: pytest.CaptureFixture[str]) -> Iterator[Make]:
    """Makes fresh instances; fails the test if anything was printed or global randomness was drawn from."""

    def make_one() -> Environment:
        made.append(make_environment(name))
        return made[-1]

    make_one()
    randomness, numpy_randomness = random.getstate(), repr(np.random.get_state())
    yield make_one
    assert random.getstate() == randomness, "global randomness was used"
    assert repr(np.random.get_state()) == numpy_randomness, "numpy's global randomness was used"
    assert capfd.readouterr() == ("", ""), "something was printed"


def some_tasks(environment: Environment, count: int = 6) -> list[Task]:
    """Tasks of as many levels as possible."""
    if few := FEW.get(environment.traits.name):
        return [environment.task(task_id) for task_id in few]
    return conformance.sample_tasks(environment, count)


def every_level(environment: Environment, least: int = 12) -> list[Task]:
    """At least one task of each level."""
    return some_tasks(environment, max(least, len(environment.traits.levels)))


def how_many(environment: Environment) -> int:
    """Actions to try."""
    return FEW_ACTIONS if environment.traits.name in FEW else 200


def test_traits(make: Make, name: str) -> None:
    conformance.check_traits(make, name)


def test_tasks_are_named_and_cycle(make: Make) -> None:
    conformance.check_tasks(make)


def test_instructions(make: Make) -> None:
    conformance.check_instructions(make)


def test_same_seed_same_episode(make: Make) -> None:
    conformance.check_determinism(make, every_level(make()))


def test_snapshots_are_exact(make: Make) -> None:
    if not make().traits.snapshots:
        pytest.skip("declares no snapshots")
    conformance.check_snapshots(make, every_level(make()))


def test_nothing_leaks_into_the_next_episode(make: Make) -> None:
    conformance.check_no_leak(make, some_tasks(make()))


def test_instances_share_nothing(make: Make) -> None:
    conformance.check_instances_apart(make, some_tasks(make()))


def test_offered_actions_are_accepted(make: Make) -> None:
    if not make().traits.valid_actions:
        pytest.skip("declares no valid actions")
    conformance.check_valid_actions(make, every_level(make()))


def test_random_texts_as_actions(make: Make) -> None:
    rng = random.Random("texts")
    environment = make()
    actions = [conformance.random_text(rng) for _ in range(how_many(environment))]
    conformance.check_any_text(make, some_tasks(environment), actions)


def test_hostile_texts_as_actions(make: Make) -> None:
    tasks = some_tasks(make())
    make_one = make()
    make_one.reset(tasks[0])
    offered = make_one.valid_actions() if make_one.traits.valid_actions else ("look",)
    spoilt = [f"{action}{tail}" for action in offered[:20] for tail in ("\x00", " \x1b[0m", "]", " {", "x" * 300)]
    actions = [*conformance.HOSTILE, *spoilt][: how_many(make_one)]
    while len(actions) < how_many(make_one):
        actions.append(conformance.HOSTILE[len(actions) % (len(conformance.HOSTILE) - 4)] + offered[0])
    conformance.check_any_text(make, tasks, actions)


def test_episodes_end_within_their_limit(make: Make) -> None:
    conformance.check_step_limit(make, every_level(make()))


def test_first_observations(make: Make) -> None:
    environment = make()
    conformance.check_observations(make, every_level(environment, 40))


def test_pictures(make: Make) -> None:
    if not make().traits.pictures:
        pytest.skip("declares no pictures")
    conformance.check_pictures(make, every_level(make()))


def test_equal_keys_mean_equal_futures(make: Make) -> None:
    if not make().traits.state_keys:
        pytest.skip("declares no state keys")
    conformance.check_state_keys(make, every_level(make()))


def test_expert_solves_the_mix(make: Make) -> None:
    environment = make()
    if not environment.traits.expert:
        pytest.skip("declares no expert")
    few = environment.traits.name in FEW
    tasks = some_tasks(environment) if few else environment.tasks("train", first_seed=4_000, count=50)
    assert conformance.check_expert(make, tasks) >= 0.95


def test_expert_from_the_middle_of_an_episode(make: Make) -> None:
    if not make().traits.expert:
        pytest.skip("declares no expert")
    conformance.check_expert_from_anywhere(make, every_level(make()))


def test_episodes_do_not_depend_on_the_hash_seed(name: str) -> None:
    here = partial(make_environment, name)
    tasks = some_tasks(here())
    ids = [task.id for task in tasks]
    script = (
        "import conformance\n"
        "from functools import cache, partial\n"
        "from agentrm_tui.environments.registry import make_environment\n"
        f"make = partial(make_environment, {name!r})\n"
        f"print(conformance.digest(make, [make().task(task_id) for task_id in {ids!r}]))\n"
    )
    seen = [_run_with_hash_seed(script, seed) for seed in ("1", "2")]
    assert seen[0] == seen[1]
    assert seen[0].strip() == conformance.digest(here, tasks)


def _run_with_hash_seed(script: str, seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent)}
    ended = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
