"""Finds out from a folder's own files which number is the reward; what cannot be known is asked for by its choices."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from agentrm_models.adapters import Adapter, whole_layers
from agentrm_models.errors import DataError, UsageError
from agentrm_models.hub import HubName
from agentrm_models.rewards.heads.choice import NO_CHOICE, QUESTION, HeadChoice, HeadKind
from agentrm_models.rewards.heads.files import HeadTensors, find_head, find_normaliser, stored_tensors
from agentrm_models.rewards.heads.head import HeadPlan, ModelClass, Place
from agentrm_models.spelling import did_you_mean, shown_name

_TASKS: Mapping[str, HeadKind] = {"SEQ_CLS": "classifier", "TOKEN_CLS": "token-classifier"}
AUTO_CLASSES: Mapping[ModelClass, str] = {
    "classifier": "AutoModelForSequenceClassification",
    "token-classifier": "AutoModelForTokenClassification",
    "causal": "AutoModelForCausalLM",
}
_GOOD_WORDS = ("positive", "good", "correct", "true", "yes", "+", "1", "label_1")
_STEP = "\n"
"""The step's separator of TRL's process reward models, where no other is named."""
_REMOTE_STEP = "<extra_0>"
"""The step token of Qwen's process reward models."""
_CHOICES = "#head=yes-no&question=…, #head=good-bad or #head=good-bad&step=…"


class FolderFacts(NamedTuple):
    """What the files of a reward model's folder say.

    Attributes:
        folder: The folder that was named.
        config: `config.json`, that of the base where the folder is an adapter; empty where the base is on the hub.
        adapter: The adapter, where the folder is one.
        tensors: The value head saved beside the backbone.
        outputs: How many outputs the saved head of a classifier has; 0 where there is none.
    """

    folder: Path
    config: Mapping[str, Any]
    adapter: Adapter | None
    tensors: HeadTensors | None
    outputs: int

    @property
    def architecture(self) -> str:
        """The class that the model was saved from; empty where nothing says so."""
        names = self.config.get("architectures")
        return str(names[0]) if isinstance(names, list) and names else ""

    @property
    def code(self) -> Mapping[str, Any]:
        """The classes of the folder's own code, by those of the library that they take the place of."""
        code = self.config.get("auto_map")
        return code if isinstance(code, dict) else {}

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of a classifier's outputs."""
        names = self.config.get("id2label")
        if isinstance(names, dict):
            return tuple(str(names.get(str(number), f"LABEL_{number}")) for number in range(len(names)))
        count = self.config.get("num_labels", self.outputs or 1)
        return tuple(f"LABEL_{number}" for number in range(count if isinstance(count, int) else 1))


def read_facts(folder: Path, adapter: Adapter | None) -> FolderFacts:
    """Read what a folder says; errors as `stored_tensors` and `find_head`."""
    base = adapter.base if adapter is not None else folder
    config = {} if isinstance(base, HubName) else _config(base / "config.json")
    prefix = config.get("value_head_prefix")
    if not prefix and _is_regression(config):
        prefix = "score"
    places = [folder, base] if isinstance(base, Path) and base != folder else [folder]
    stored = [stored_tensors(place) for place in places]
    heads = (find_head(*pair, str(prefix or "")) for pair in zip(places, stored, strict=True))
    outputs = [] if adapter is None else [_outputs(whole_layers(adapter))]
    outputs += [_outputs({name: tensor.shape for name, tensor in each.items()}) for each in stored[::-1]]
    return FolderFacts(folder, config, adapter, next(filter(None, heads), None), next(filter(None, outputs), 0))


def plan_head(facts: FolderFacts, choice: HeadChoice = NO_CHOICE) -> HeadPlan:
    """The head of a folder.

    Raises:
        UsageError: It cannot be known which number is the reward, or the choice does not fit the folder.
        DataError: The folder contradicts itself.
    """
    kind = choice.kind or _kind(facts, choice)
    if kind is None:
        if facts.code:
            raise UsageError(
                f"{facts.folder}: {facts.architecture or 'its model'} comes with its own code, which does not say "
                "which number is the reward",
                "Write FOLDER#head=classifier, or #head=token-classifier&step=TOKEN.",
            )
        raise UsageError(
            f"{facts.folder} holds a policy, not a reward model",
            f"To read a reward from its tokens, write behind FOLDER one of: {_CHOICES}.",
        )
    match kind:
        case "classifier":
            return _classifier(facts, choice)
        case "token-classifier":
            return _token_classifier(facts, choice)
        case "value-head":
            return _value_head(facts, choice)
        case "good-bad" | "yes-no":
            return _compared(facts, kind, choice)


def _kind(facts: FolderFacts, choice: HeadChoice) -> HeadKind | None:
    """The kind that the folder's files or the other choices tell."""
    if choice.question is not None:
        return "yes-no"
    if choice.good is not None or choice.bad is not None:
        return "good-bad"
    if facts.tensors is not None:
        return "value-head"
    if facts.adapter is not None and (task := _TASKS.get(facts.adapter.config.task_type or "")):
        return task
    name = facts.architecture
    if "TokenClassification" in name or "ProcessReward" in name or AUTO_CLASSES["token-classifier"] in facts.code:
        return "token-classifier"
    if "SequenceClassification" in name or AUTO_CLASSES["classifier"] in facts.code:
        return "classifier"
    if facts.outputs and not facts.code:
        return "classifier"
    return None if name or facts.adapter is not None else "classifier"


def _classifier(facts: FolderFacts, choice: HeadChoice) -> HeadPlan:
    labels = facts.labels
    if choice.output is None and len(labels) > 1:
        raise UsageError(
            f"{facts.folder}: the reward model has {len(labels)} outputs",
            f"Write FOLDER#output=NAME, one of: {_listed(labels)}.",
        )
    output = 0 if choice.output is None else _chosen(facts, labels, choice.output)
    words = "the only output" if len(labels) == 1 else f"output {shown_name(labels[output])!r} of {len(labels)}"
    return HeadPlan(words, "classifier", outputs=len(labels), columns=(output,), remote=_is_remote(facts, "classifier"))


def _token_classifier(facts: FolderFacts, choice: HeadChoice) -> HeadPlan:
    labels, remote = facts.labels, _is_remote(facts, "token-classifier")
    if choice.output is not None:
        output = _chosen(facts, labels, choice.output)
    elif len(labels) <= 2:
        output = next((at for at, name in enumerate(labels) if name.lower() in _GOOD_WORDS), len(labels) - 1)
    else:
        raise UsageError(
            f"{facts.folder}: its tokens have {len(labels)} labels", f"Write FOLDER#output=NAME: {_listed(labels)}."
        )
    step = choice.step or (_REMOTE_STEP if remote else _STEP)
    others = [at for at in range(len(labels)) if at != output]
    words = f"probability of {shown_name(labels[output])!r} at the step token {shown_name(repr(step))}"
    if not others:
        words = f"the only output at the step token {shown_name(repr(step))}"
    return HeadPlan(
        words,
        "token-classifier",
        Place(step=step),
        outputs=len(labels),
        columns=(output, *others),
        share=bool(others),
        remote=remote,
    )


def _value_head(facts: FolderFacts, choice: HeadChoice) -> HeadPlan:
    head = facts.tensors
    if head is None:
        raise UsageError(f"{facts.folder}: there is no value_head and no v_head in its safetensors files")
    normaliser = find_normaliser(facts.folder, head, facts.config, choice.normalise)
    words = head.name
    if normaliser is not None:
        words += f", normalised by mean {normaliser.mean:.4g} and standard deviation {normaliser.deviation:.4g}"
    return HeadPlan(words, "classifier", outputs=1, tensors=head, normaliser=normaliser)


def _compared(facts: FolderFacts, kind: HeadKind, choice: HeadChoice) -> HeadPlan:
    if "Classification" in facts.architecture:
        raise UsageError(f"{facts.folder}: {facts.architecture} has no tokens to compare, as {kind} needs them")
    asks = kind == "yes-no"
    good, bad = choice.good or ("YES" if asks else "+"), choice.bad or ("NO" if asks else "-")
    words = f"probability of {shown_name(good)!r} rather than {shown_name(bad)!r}"
    if asks:
        question = choice.question or QUESTION
        place, words = Place(question=question), f"{words} as the answer to {shown_name(question)!r}"
    elif choice.step:
        place, words = Place(step=choice.step), f"{words} at the step token {shown_name(repr(choice.step))}"
    else:
        place, words = Place(turns=good), f"{words} as the answer to each step"
    return HeadPlan(words, "causal", place, compared=(good, bad), share=True, remote=_is_remote(facts, "causal"))


def _chosen(facts: FolderFacts, labels: Sequence[str], wanted: str | int) -> int:
    """The number of an output that was named."""
    if wanted in labels:
        return labels.index(str(wanted))
    if str(wanted).isdecimal() and int(wanted) < len(labels):
        return int(wanted)
    shown = shown_name(str(wanted))
    remedy = did_you_mean(str(wanted), labels, "Outputs")
    raise UsageError(f"{facts.folder}: there is no output {shown!r} among its {len(labels)}", remedy)


def _listed(labels: Sequence[str]) -> str:
    """The names of outputs with their numbers, as many as a line can hold."""
    named = [f"{shown_name(name)} ({at})" for at, name in enumerate(labels[:40])]
    return ", ".join(named) + (f" and {len(labels) - 40} more" if len(labels) > 40 else "")


def _is_remote(facts: FolderFacts, loads: ModelClass) -> bool:
    """Whether only the folder's own code can build the model."""
    if not facts.code.keys() & {AUTO_CLASSES[loads], "AutoModel", "AutoConfig"}:
        return False
    import transformers

    return not hasattr(transformers, facts.architecture)


def _is_regression(config: Mapping[str, Any]) -> bool:
    """Whether OpenRLHF saved the model: its classes are made when it runs, so nothing else has these names."""
    names = config.get("architectures")
    return isinstance(names, list) and any(
        name in ("RewardModel", "CriticModel", "LLMForSequenceRegression") for name in names
    )


def _outputs(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How many outputs the head among these tensors has: of several layers the last one's."""
    heads = re.compile(r"(base_model\.model\.)?(score|classifier|classification_head)\.(.+\.)?weight")
    names = [name for name in sorted(shapes) if heads.fullmatch(name) and ".lora_" not in name]
    found = [shapes[name][0] for name in names if len(shapes[name]) == 2]
    return found[-1] if found else 0


def _config(file: Path) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        raise DataError(f"{file.parent}: no config.json, so this is not a Transformers model folder") from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{file}: {str(error)[:200]}") from None
