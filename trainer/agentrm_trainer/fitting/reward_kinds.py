"""The kinds of reward models that `fit` makes: what is trained on what, how dev judges it, and how it is saved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from agentrm_models.folder_settings import Aggregate, FolderSettings, LikelihoodWeight
from agentrm_models.trie.packing import PackedTrees, Piece
from agentrm_trainer.config import Config
from agentrm_trainer.data.judged import JudgedGroup, pair_accuracy
from agentrm_trainer.data.labelled_trees import LabelledTree
from agentrm_trainer.data.reward_data import judged_paths, judged_pieces, path_pieces, tree_pieces
from agentrm_trainer.fitting.backbone import (
    Provenance,
    load_policy_model,
    new_reward_model,
    prepare_for_training,
    save_model,
)
from agentrm_trainer.fitting.implicit_loss import Pair, implicit_loss, judge_paths
from agentrm_trainer.fitting.reward_loss import judge_pieces, regression_loss
from agentrm_trainer.reports.cards import reward_card
from agentrm_trainer.workflow.workspace import read_json

LANGUAGE_FOLDER, REFERENCE_FOLDER = "language", "reference"
"""Where further models lie inside a reward model's folder: the one that tells the likelihood of replies, and the one
that an implicit reward model is compared with."""

_LIKELIHOOD_OF = "likelihood_"
"""Before an environment's name in the figures: its own weight of the likelihood."""

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

    def figures(self, values: dict[str, list[list[float]]], environment: str = "") -> dict[str, float]:
        """Pair accuracies, and the selection score: their mean, weighted by the root of the number of pairs.

        Args:
            values: For each kind of states, one number for each item of each group.
            environment: Only its states; empty for all.
        """
        figures: dict[str, float] = {}
        total = weights = 0.0
        for name, groups in self.groups.items():
            kept = [number for number, group in enumerate(groups) if environment in ("", group.environment)]
            there, judged = [groups[number] for number in kept], [values[name][number] for number in kept]
            found = pair_accuracy(there, judged, LEAST_DIFFERENCES[name])
            if found.pairs:
                figures[f"{name}_accuracy"], figures[f"{name}_pairs"] = round(found.accuracy, 4), found.pairs
                total += found.accuracy * found.pairs**0.5
                weights += found.pairs**0.5
        figures["selection"] = round(total / weights, 4) if weights else 0.0
        return figures


class RewardKind(Protocol):
    """What differs between kinds. `choice` is what dev has chosen besides the weights, by name in the figures."""

    model: Any

    def pieces(self, trees: Sequence[LabelledTree], judged: bool = False) -> list[Piece]:
        """Encode trees; `judged` ones are contrasts, whose targets say which of siblings is best."""
        ...

    def loss(self, packed: PackedTrees, device: str, total: float) -> Any:
        """The loss of a batch; `total` as in `regression_loss`."""
        ...

    def measure(self, device: str) -> dict[str, float | str]:
        """Figures of dev, under the choice whose selection score is best."""
        ...

    def save(self, folder: Path, figures: dict[str, Any], choice: dict[str, float | str]) -> None:
        """Write the model as it is now, with what was chosen; the first of the choices where nothing was."""
        ...


class Explicit:
    """One linear value head on the last token, beside it the likelihood of the reply where that is wanted."""

    def __init__(self, config: Config, backbone: Path, tokenizer: Any, dev: DevStates, device: str) -> None:
        self._config, self._section = config, config.fit
        self._backbone, self._tokenizer = backbone, tokenizer
        self.model = prepare_for_training(new_reward_model(backbone, tokenizer, config.seed), device)
        self._context = int(self.model.config.max_position_embeddings)
        self._language = None
        if self._section.likelihood_by == "backbone":
            self._language = prepare_for_training(load_policy_model(str(backbone)), device).eval()
        self._dev = dev
        self._judged = {name: judged_pieces(tokenizer, groups, self._context) for name, groups in dev.groups.items()}

    def pieces(self, trees: Sequence[LabelledTree], judged: bool = False) -> list[Piece]:
        """See `RewardKind`."""
        return tree_pieces(self._tokenizer, trees, self._context, self._section.tree_tokens, judged)

    def loss(self, packed: PackedTrees, device: str, total: float) -> Any:
        """See `RewardKind`."""
        return regression_loss(self.model, packed, self._section, device, total)

    def measure(self, device: str) -> dict[str, float | str]:
        """See `RewardKind`; the choice is the weight of the likelihood, of all environments or of each."""
        judged = {
            name: judge_pieces(self.model, pieces, device, self._language) for name, pieces in self._judged.items()
        }

        def figures(weights: dict[str, float], other: float, environment: str = "") -> dict[str, float]:
            values = {
                name: [
                    found.rewards(weights.get(group.environment, other))
                    for group, found in zip(self._dev.groups[name], groups, strict=True)
                ]
                for name, groups in judged.items()
            }
            return self._dev.figures(values, environment)

        def chosen(environment: str = "") -> dict[str, float | str]:
            tried = self._section.likelihoods or (0.0,)
            return _best({**figures({}, weight, environment), "likelihood": weight} for weight in tried)

        if self._section.likelihood_for == "all":
            return chosen()
        other = float(chosen()["likelihood"])
        best = {environment: chosen(environment) for environment in self._dev.instructions}
        weights = {name: float(found["likelihood"]) for name, found in best.items() if found["selection"]}
        each = {_LIKELIHOOD_OF + name: weight for name, weight in weights.items()}
        return {**figures(weights, other), "likelihood": other, **each}

    def save(self, folder: Path, figures: dict[str, Any], choice: dict[str, float | str]) -> None:
        """See `RewardKind`."""
        section = self._section
        likelihood = float(choice.get("likelihood", section.likelihoods[0] if section.likelihoods else 0.0))
        likelihoods = tuple(
            LikelihoodWeight(name, instruction, float(choice[_LIKELIHOOD_OF + name]))
            for name, instruction in self._dev.instructions.items()
            if _LIKELIHOOD_OF + name in choice
        )
        wanted = any((likelihood, *(each.weight for each in likelihoods)))
        beside = wanted and section.likelihood_by == "backbone"
        settings = FolderSettings(
            section.prompt, self._config.environment_names, likelihood, likelihoods, LANGUAGE_FOLDER if beside else ""
        )
        inside = {LANGUAGE_FOLDER: self._backbone} if beside else {}
        provenance = Provenance(settings, reward_card(self._config, figures, settings), inside)
        save_model(folder, self.model, self._tokenizer, provenance)


class Implicit:
    """A language model whose log-ratio to the one it began as is the reward."""

    def __init__(self, config: Config, backbone: Path, tokenizer: Any, dev: DevStates, device: str) -> None:
        self._config, self._section = config, config.fit
        self._backbone, self._tokenizer = backbone, tokenizer
        self.model = prepare_for_training(load_policy_model(str(backbone)), device)
        reference = prepare_for_training(load_policy_model(str(backbone)), device).eval()
        self._pair = Pair(self.model, reference, self._section.beta)
        self._context = int(self.model.config.max_position_embeddings)
        self._judged: dict[str, list[Piece]] = {}
        fitting: dict[str, list[JudgedGroup]] = {}
        for name, groups in dev.groups.items():
            pairs = [(group, piece) for group in groups for piece in judged_paths(tokenizer, [group], self._context)]
            whole = [(group, piece) for group, piece in pairs if len(piece.items) == len(group.items)]
            fitting[name], self._judged[name] = [group for group, _ in whole], [piece for _, piece in whole]
        self._dev = DevStates(fitting)

    def pieces(self, trees: Sequence[LabelledTree], judged: bool = False) -> list[Piece]:
        """See `RewardKind`."""
        ends_only = self._section.targets == "ends"
        return path_pieces(self._tokenizer, trees, self._context, self._section.tree_tokens, ends_only)

    def loss(self, packed: PackedTrees, device: str, total: float) -> Any:
        """See `RewardKind`."""
        return implicit_loss(self._pair, packed, device, self._section.bf16, total)

    def measure(self, device: str) -> dict[str, float | str]:
        """See `RewardKind`; the choice is what becomes of the steps of a path."""
        judged = {name: judge_paths(self._pair, pieces, device) for name, pieces in self._judged.items()}

        def figures(aggregate: Aggregate) -> dict[str, float]:
            values = {name: [found[aggregate] for found in groups] for name, groups in judged.items()}
            return self._dev.figures(values)

        return _best({**figures(aggregate), "aggregate": aggregate} for aggregate in self._section.aggregates)

    def save(self, folder: Path, figures: dict[str, Any], choice: dict[str, float | str]) -> None:
        """See `RewardKind`."""
        aggregate = choice.get("aggregate", self._section.aggregates[0])
        settings = msgspec.convert(
            {
                "prompt": self._section.prompt,
                "environments": self._config.environment_names,
                "reference": REFERENCE_FOLDER,
                "beta": self._section.beta,
                "aggregate": aggregate,
            },
            FolderSettings,
        )
        inside = {REFERENCE_FOLDER: self._backbone}
        provenance = Provenance(settings, reward_card(self._config, figures, settings), inside)
        save_model(folder, self.model, self._tokenizer, provenance)


def _best(measured: Iterable[dict[str, float | str]]) -> dict[str, float | str]:
    return max(measured, key=lambda figures: float(figures["selection"]))
