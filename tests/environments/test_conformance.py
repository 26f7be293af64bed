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

SLOW = ("scienceworld",)
"""Some hundred milliseconds a reset: their own test files check the same rules on fewer tasks."""

pytestmark = pytest.mark.parametrize("name", [name for name in environment_names() if name not in SLOW])


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
        environment.close()
    return ""


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


def every_level(environment: Environment, least: int = 12) -> list[Task]:
    """At least one task of each level."""
    return conformance.sample_tasks(environment, max(least, len(environment.traits.levels)))


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
    conformance.check_no_leak(make, conformance.sample_tasks(make(), 6))


def test_instances_share_nothing(make: Make) -> None:
    conformance.check_instances_apart(make, conformance.sample_tasks(make(), 6))


def test_offered_actions_are_accepted(make: Make) -> None:
    if not make().traits.valid_actions:
        pytest.skip("declares no valid actions")
    conformance.check_valid_actions(make, every_level(make()))


def test_random_texts_as_actions(make: Make) -> None:
    rng = random.Random("texts")
    conformance.check_any_text(
        make, conformance.sample_tasks(make(), 6), [conformance.random_text(rng) for _ in range(200)]
    )


def test_hostile_texts_as_actions(make: Make) -> None:
    tasks = conformance.sample_tasks(make(), 6)
    make_one = make()
    make_one.reset(tasks[0])
    offered = make_one.valid_actions() if make_one.traits.valid_actions else ("look",)
    spoilt = [f"{action}{tail}" for action in offered[:20] for tail in ("\x00", " \x1b[0m", "]", " {", "x" * 300)]
    actions = [*conformance.HOSTILE, *spoilt][:200]
    while len(actions) < 200:
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
    assert conformance.check_expert(make, environment.tasks("train", first_seed=4_000, count=50)) >= 0.95


def test_expert_from_the_middle_of_an_episode(make: Make) -> None:
    if not make().traits.expert:
        pytest.skip("declares no expert")
    conformance.check_expert_from_anywhere(make, every_level(make()))


def test_episodes_do_not_depend_on_the_hash_seed(name: str) -> None:
    script = (
        "import conformance\n"
        "from functools import cache, partial\n"
        "from agentrm_tui.environments.registry import make_environment\n"
        f"make = partial(make_environment, {name!r})\n"
        "print(conformance.digest(make, conformance.sample_tasks(make(), 6)))\n"
    )
    seen = [_run_with_hash_seed(script, seed) for seed in ("1", "2")]
    assert seen[0] == seen[1]
    here = partial(make_environment, name)
    assert seen[0].strip() == conformance.digest(here, conformance.sample_tasks(here(), 6))


def _run_with_hash_seed(script: str, seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent)}
    ended = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
