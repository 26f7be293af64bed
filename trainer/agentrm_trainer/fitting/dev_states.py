"""States of dev tasks with known worth, on which a reward model is measured while it is fitted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, TypeVar

from agentrm_models.rewards.base import ScoreGroup
from agentrm_trainer.data.judged import JudgedGroup, pair_accuracy
from agentrm_trainer.workflow.workspace import read_json

Found = TypeVar("Found")
Judged: TypeAlias = dict[str, list[list[Found]]]

LEAST_DIFFERENCES = {"ends": 0.0, "siblings": 0.1}
"""Of the worth of two states of a kind that make a pair."""


class DevStates:
    """States of dev tasks with known worth, read once and measured often."""

    def __init__(self, groups: dict[str, list[JudgedGroup]]) -> None:
        self.groups = groups

    @classmethod
    def read(cls, folder: Path) -> DevStates:
        """What `explore` has written."""
        files = {name: folder / f"{name}.json" for name in LEAST_DIFFERENCES}
        return cls({name: read_json(file, list[JudgedGroup]) for name, file in files.items() if file.exists()})

    @property
    def empty(self) -> bool:
        """Whether there is nothing to choose by."""
        return not any(self.groups.values())

    @property
    def instructions(self) -> dict[str, str]:
        """Of each environment of these states, the text its conversations begin with."""
        every = (group for groups in self.groups.values() for group in groups)
        return {group.environment: group.items[0].conversation[0].content for group in every}

    def judged(self, judge: Callable[[list[ScoreGroup]], list[list[Found]]]) -> Judged[Found]:
        """What a reward model finds of all states, in one call, by kind of state, group and item."""
        groups = [group for groups in self.groups.values() for group in groups]
        found = iter(judge([ScoreGroup(tuple(item.conversation for item in group.items)) for group in groups]))
        return {name: [next(found) for _ in groups] for name, groups in self.groups.items()}

    def figures(
        self, judged: Judged[Found], reward: Callable[[str, Found], float], environment: str = ""
    ) -> dict[str, float]:
        """Pair accuracies, and the selection score: their mean, weighted by the root of the number of pairs.

        Args:
            reward: What an environment's name and what was found of a state make its reward.
            environment: Only its states; empty for all.
        """
        figures: dict[str, float] = {}
        total = weights = 0.0
        for name, groups in self.groups.items():
            kept = [number for number, group in enumerate(groups) if environment in ("", group.environment)]
            there = [groups[number] for number in kept]
            values = [[reward(groups[at].environment, found) for found in judged[name][at]] for at in kept]
            pairs = pair_accuracy(there, values, LEAST_DIFFERENCES[name])
            if pairs.pairs:
                figures[f"{name}_accuracy"], figures[f"{name}_pairs"] = round(pairs.accuracy, 4), pairs.pairs
                total += pairs.accuracy * pairs.pairs**0.5
                weights += pairs.pairs**0.5
        figures["selection"] = round(total / weights, 4) if weights else 0.0
        return figures
