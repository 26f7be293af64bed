"""Ladders that each lack something a stage needs."""

from __future__ import annotations

from typing import Any

from fake_ladder import FakeLadder

from agentrm_tui.environments.base import EnvironmentTraits, Task


class Hermit(FakeLadder):
    """Nobody shows how to play it."""

    @property
    def traits(self) -> EnvironmentTraits:
        return super().traits._replace(name="hermit", expert=False)


class Blurred(FakeLadder):
    """Its states cannot be kept."""

    @property
    def traits(self) -> EnvironmentTraits:
        return super().traits._replace(name="blurred", snapshots=False)


class Listed(FakeLadder):
    """Seven tasks, and no more."""

    @property
    def traits(self) -> EnvironmentTraits:
        return super().traits._replace(name="listed", procedural=False)

    def tasks(self, split, first_seed=None, count=None):
        seeds = range(first_seed or 0, 7)
        return [self.make_task("low", seed) for seed in list(seeds)[:count]]


class Narrow(FakeLadder):
    """Few states to begin in: the colour, which tells them apart, is gone."""

    @property
    def traits(self) -> EnvironmentTraits:
        return super().traits._replace(name="narrow", pictures=False, state_keys=False)

    def reset(self, task: Task) -> str:
        return super().reset(task).partition(" Colour")[0]


class Wordy(FakeLadder):
    """It explains itself at length."""

    @property
    def traits(self) -> EnvironmentTraits:
        return super().traits._replace(name="wordy")

    def instruction(self, style: Any) -> str:
        return "Climb the ladder. " * 2_000


class Broken(FakeLadder):
    """A plugin that raises when made."""

    def __init__(self) -> None:
        raise RuntimeError("no licence\nfound")


class Stuck(FakeLadder):
    """A plugin that raises when an episode begins."""

    @property
    def traits(self) -> EnvironmentTraits:
        return super().traits._replace(name="stuck")

    def reset(self, task: Task) -> str:
        raise ImportError("No module named 'engine'")


MISFITS = (Hermit, Blurred, Listed, Narrow, Wordy, Broken, Stuck)
