"""The stages of a pipeline as data: order, sub-commands, help, identity and processes all follow from this table."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any

import msgspec

from agentrm_models.errors import UsageError
from agentrm_trainer.config import Config
from agentrm_trainer.config_view import values_of


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One stage.

    Attributes:
        name: Of its sub-command and its folder.
        help: One line for the command line.
        run: Where its function is, `module:name`; imported when it runs, since it may import torch.
        after: The stages whose results it reads; they must be finished.
        reads: Dotted keys of the configuration that it reads. It sees no others, and they are its identity.
        processes: The key that says in how many processes it trains one model; empty where it does not train.
        verdict: A function `module:name` that judges the finished stage, in every sitting; empty for none.
    """

    name: str
    help: str
    run: str
    after: tuple[str, ...] = ()
    reads: tuple[str, ...]
    processes: str = ""
    verdict: str = ""

    @property
    def function(self) -> Callable[..., None]:
        """What runs it, given a workspace and a folder that is open."""
        found: Callable[..., None] = resolve_name(self.run)
        return found

    def judge(self, workspace: Any) -> None:
        """Say what there is to say of the finished stage.

        Raises:
            AgentRMError: It is not what the settings ask for.
        """
        if self.verdict:
            resolve_name(self.verdict)(workspace)


_MACHINE = ("threads", "device")
_CARD = ("name", "seed", "environments.name")

STAGES: tuple[Stage, ...] = (
    Stage(
        name="collect",
        help="Play training tasks with the expert and keep the solved ones.",
        run="agentrm_trainer.stages.collect:collect",
        reads=(
            "seed", "collect", "sft.prompt", "environments.name", "environments.levels", "environments.train_tasks",
        ),
    ),
    Stage(
        name="sft",
        help="Clone the expert: tokenizer and policy.",
        run="agentrm_trainer.stages.sft:sft",
        after=("collect",),
        reads=(
            *_MACHINE, *_CARD, "tokenizer", "model", "sft", "evaluate.max_tokens",
            "environments.levels", "environments.dev_tasks", "environments.weight",
        ),
        processes="sft.processes",
    ),
    Stage(
        name="explore",
        help="Grow search trees with the policy on other training tasks.",
        run="agentrm_trainer.stages.explore:explore",
        after=("sft",),
        reads=(
            *_MACHINE, "seed", "explore", "evaluate.sibling_samples", "fit.prompt",
            "environments.name", "environments.levels", "environments.dev_tasks", "environments.tree_weight",
        ),
    ),
    Stage(
        name="label",
        help="Read reward targets from the trees.",
        run="agentrm_trainer.stages.label:label",
        after=("collect", "sft", "explore"),
        reads=(*_MACHINE, "seed", "label", "sft.prompt", "fit.prompt"),
    ),
    Stage(
        name="fit",
        help="Fit the reward model, explicit or implicit.",
        run="agentrm_trainer.stages.fit:fit",
        after=("sft", "explore", "label"),
        reads=(*_MACHINE, *_CARD, "fit", "label.variant", "label.min_visits"),
        processes="fit.processes",
        verdict="agentrm_trainer.reports.chance:judge_reward_model",
    ),
    Stage(
        name="evaluate",
        help="Play unseen test tasks with every method.",
        run="agentrm_trainer.stages.evaluate:evaluate",
        after=("collect", "sft", "explore", "fit"),
        reads=(
            *_MACHINE, "seed", "evaluate", "fit.prompt",
            "environments.name", "environments.levels", "environments.test_levels", "environments.test_tasks",
        ),
    ),
    Stage(
        name="report",
        help="Write tables and model cards.",
        run="agentrm_trainer.stages.report:report",
        after=("collect", "sft", "explore", "label", "fit", "evaluate"),
        reads=(*_CARD, "sft", "fit", "label.variant", "label.min_visits"),
    ),
    Stage(
        name="export",
        help="Gather the models, and write the policy as GGUF.",
        run="agentrm_trainer.stages.export:export",
        after=("sft", "fit", "report"),
        reads=("export",),
    ),
)  # fmt: skip


def stage_named(name: str) -> Stage:
    """The stage of a name.

    Raises:
        UsageError: There is none.
    """
    for stage in STAGES:
        if stage.name == name:
            return stage
    raise UsageError(f"there is no stage {name!r}", f"Known: {', '.join(stage.name for stage in STAGES)}.")


class StageSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage is made from: `settings.json` in its folder.

    Attributes:
        digest: 16 hex digits, equal for equal values and equal stages before it.
        seed: The pipeline's seed.
        read: The values of the keys that it reads.
        upstream: Digests of the stages that it reads.
    """

    stage: str
    digest: str
    seed: int
    read: dict[str, Any]
    upstream: dict[str, str]


def settings_of(config: Config, stage: Stage) -> StageSettings:
    """What a stage would be made from under a configuration, the stages before it included."""
    read = values_of(config, stage.reads)
    upstream = {name: settings_of(config, stage_named(name)).digest for name in stage.after}
    content = msgspec.json.encode([stage.name, read, upstream], order="sorted")
    digest = hashlib.sha256(content).hexdigest()[:16]
    return StageSettings(stage=stage.name, digest=digest, seed=config.seed, read=read, upstream=upstream)


def changes(before: StageSettings, now: StageSettings) -> str:
    """What differs between two sets of settings of a stage, in words: at most three keys with both values."""
    keys = sorted(before.read.keys() | now.read.keys())
    found = [
        f"{key} {_was(before.read, key)}, {_is(now.read, key)}"
        for key in keys
        if before.read.get(key, _MISSING) != now.read.get(key, _MISSING)
    ]
    if not found:
        found = [f"{name} was made anew" for name in now.upstream if before.upstream.get(name) != now.upstream[name]]
    more = f"; {len(found) - 3} more" if len(found) > 3 else ""
    return "; ".join(found[:3]) + more


_MISSING = object()


def _was(values: dict[str, Any], key: str) -> str:
    return f"was {_short(values[key])}" if key in values else "was not there"


def _is(values: dict[str, Any], key: str) -> str:
    return f"is {_short(values[key])}" if key in values else "is no more"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) and value else msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."
