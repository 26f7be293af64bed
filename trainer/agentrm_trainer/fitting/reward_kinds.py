"""The kinds of reward models that `fit` makes: what is trained on what, how dev judges it, and how it is saved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from agentrm_models.folder_settings import Aggregate, FolderSettings, LikelihoodWeight
from agentrm_models.rewards.aggregation import aggregated
from agentrm_models.rewards.explicit import ExplicitReward, RewardParts
from agentrm_models.rewards.implicit import ImplicitReward
from agentrm_models.rewards.reader import Reader
from agentrm_trainer.config import Config
from agentrm_trainer.data.labelled_trees import LabelledTree
from agentrm_trainer.data.packed_trees import PackedTrees
from agentrm_trainer.data.reward_data import encode_paths, encode_trees
from agentrm_trainer.fitting.backbone import (
    Provenance,
    load_policy_model,
    new_reward_model,
    prepare_for_training,
    save_model,
)
from agentrm_trainer.fitting.dev_states import DevStates
from agentrm_trainer.fitting.implicit_loss import Pair, implicit_loss
from agentrm_trainer.fitting.packed_forward import need_language_head
from agentrm_trainer.fitting.reward_loss import regression_loss
from agentrm_trainer.reports.cards import reward_card

LANGUAGE_FOLDER, REFERENCE_FOLDER = "language", "reference"
"""Where further models lie inside a reward model's folder: the one that tells the likelihood of replies, and the one
that an implicit reward model is compared with."""

_CHANGING = "fitting"
"""In place of a digest of weights that change with every step."""

_LIKELIHOOD_OF = "likelihood_"
"""Before an environment's name in the figures: its own weight of the likelihood."""


class RewardKind(Protocol):
    """What differs between kinds. `choice` is what dev has chosen besides the weights, by name in the figures."""

    model: Any

    def pack(self, trees: Sequence[LabelledTree], judged: bool = False) -> list[PackedTrees]:
        """Encode trees; `judged` ones are contrasts, whose targets say which of siblings is best."""
        ...

    def loss(self, packed: PackedTrees, device: str, total: float) -> Any:
        """The loss of a batch; `total` as in `regression_loss`."""
        ...

    def measure(self) -> dict[str, float | str]:
        """Figures of dev, as the model would score when it plays, under the choice whose selection score is best."""
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
            self._language = load_policy_model(str(backbone)).to(device).eval()
        if self._section.language or (self._language is None and any(self._section.likelihoods)):
            need_language_head(self.model, "Leave fit.language and fit.likelihoods out.")
        self._dev = dev

    def pack(self, trees: Sequence[LabelledTree], judged: bool = False) -> list[PackedTrees]:
        """See `RewardKind`."""
        return encode_trees(self._tokenizer, trees, self._context, self._section.tree_tokens, judged)

    def loss(self, packed: PackedTrees, device: str, total: float) -> Any:
        """See `RewardKind`."""
        return regression_loss(self.model, packed, self._section, device, total)

    def measure(self) -> dict[str, float | str]:
        """See `RewardKind`; the choice is the weight of the likelihood, of all environments or of each."""
        with _evaluated(self.model):
            judged = self._dev.judged(self._reward().parts)

        def figures(weights: dict[str, float], other: float, environment: str = "") -> dict[str, float]:
            def reward(name: str, parts: RewardParts) -> float:
                return parts.reward(weights.get(name, other))

            return self._dev.figures(judged, reward, environment)

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

    def _reward(self) -> ExplicitReward:
        """The model as it is now, as it plays; every likelihood is told."""
        wanted = any(self._section.likelihoods)
        language = Reader(self._language, self._tokenizer, 0, True) if wanted and self._language is not None else None
        return ExplicitReward(
            self.model,
            self._tokenizer,
            name="the fitted model",
            digest=_CHANGING,
            likelihood=1.0 if wanted else 0.0,
            language=language,
        )

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
        self._dev = dev

    def pack(self, trees: Sequence[LabelledTree], judged: bool = False) -> list[PackedTrees]:
        """See `RewardKind`."""
        ends_only = self._section.targets == "ends"
        return encode_paths(self._tokenizer, trees, self._context, self._section.tree_tokens, ends_only)

    def loss(self, packed: PackedTrees, device: str, total: float) -> Any:
        """See `RewardKind`."""
        return implicit_loss(self._pair, packed, device, self._section.bf16, total)

    def measure(self) -> dict[str, float | str]:
        """See `RewardKind`; the choice is what becomes of the steps of a path."""
        with _evaluated(self.model):
            judged = self._dev.judged(self._reward().step_rewards)

        def figures(aggregate: Aggregate) -> dict[str, float]:
            return self._dev.figures(judged, lambda _, rewards: aggregated(rewards, aggregate))

        return _best({**figures(aggregate), "aggregate": aggregate} for aggregate in self._section.aggregates)

    def _reward(self) -> ImplicitReward:
        """The model as it is now, as it plays."""
        readers = [Reader(model, self._tokenizer, 0, True) for model in (self.model, self._pair.reference)]
        return ImplicitReward(*readers, name="the fitted model", beta=self._section.beta, digest=_CHANGING)

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


@contextmanager
def _evaluated(model: Any) -> Iterator[None]:
    """In evaluation mode. A reward model made inside is gone afterwards: its caches belong to these weights."""
    model.eval()
    try:
        yield
    finally:
        model.train()
