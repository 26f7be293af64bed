"""Settings that contradict each other, or have no meaning beside the others. Nothing is opened to find them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from agentrm_models.errors import UsageError
from agentrm_models.spelling import did_you_mean
from agentrm_trainer.config_view import value_at
from agentrm_trainer.data.methods import search_of
from agentrm_trainer.preflight.mistakes import Given, Mistake, Rule, shown
from agentrm_tui.search.registry import ALGORITHMS

BYTES_AND_MARKS = 256 + 5
"""Entries that every tokenizer made here has: an entry for each byte, three roles, the end of a turn and padding."""


def environments(given: Given) -> Iterator[Mistake]:
    """Each environment once."""
    config = given.file.config
    first: dict[str, int] = {}
    for number, section in enumerate(config.environments):
        key = f"environments.{number}"
        if section.name in first:
            earlier = first[section.name]
            yield Mistake(
                f"{key}.name",
                f"{section.name} is there already as environments.{earlier}",
                "Give all its levels to one entry.",
            )
        first.setdefault(section.name, number)


def collection(given: Given) -> Iterator[Mistake]:
    """Something must be left to learn from."""
    section = given.file.config.collect
    if section.held_out == 1:
        yield Mistake("collect.held_out", "1 leaves no trajectory to learn from", "Take a small share, such as 0.02.")
    if section.noise == 1:
        yield Mistake("collect.noise", "1 leaves no turn of the expert to learn", "Take a small share, such as 0.1.")


def model(given: Given) -> Iterator[Mistake]:
    """Sizes that fit together; another model brings its own."""
    config = given.file.config
    if config.sft.init_from:
        return
    sizes = config.model
    if sizes.width % sizes.heads:
        yield Mistake(
            "model.heads", f"{sizes.heads} heads do not divide width {sizes.width}", "Make width a multiple of heads."
        )
    elif sizes.width // sizes.heads % 2:
        yield Mistake(
            "model.width",
            f"{sizes.width} gives each of {sizes.heads} heads an odd size",
            "Make width an even multiple of heads.",
        )
    if sizes.heads % sizes.key_value_heads:
        yield Mistake(
            "model.key_value_heads",
            f"{sizes.key_value_heads} does not divide heads {sizes.heads}",
            "Make heads a multiple of key_value_heads.",
        )
    if config.tokenizer.vocabulary < BYTES_AND_MARKS:
        yield Mistake(
            "tokenizer.vocabulary",
            f"{config.tokenizer.vocabulary} does not hold all bytes and marks",
            f"Take at least {BYTES_AND_MARKS}.",
        )


def replies(given: Given) -> Iterator[Mistake]:
    """A reply must leave room for what it answers."""
    config = given.file.config
    keys = ["explore.max_tokens", "evaluate.max_tokens", *(["label.contrast_tokens"] if config.label.contrasts else [])]
    for key in keys:
        tokens = int(value_at(config, key))
        if tokens >= config.model.context:
            yield Mistake(
                key,
                f"a reply of {tokens} tokens fills model.context {config.model.context}",
                "Take shorter replies, or a longer context.",
            )


def cloning(given: Given) -> Iterator[Mistake]:
    """Budgets and probes of behaviour cloning."""
    section = given.file.config.sft
    if not (section.max_tokens or section.max_minutes or section.max_epochs):
        yield Mistake("sft", "no budget", "Set sft.max_tokens, sft.max_minutes or sft.max_epochs.")
    if 0 < section.max_tokens < section.tokens_per_step:
        yield Mistake(
            "sft.max_tokens",
            f"{section.max_tokens} is less than one step of {section.tokens_per_step} tokens",
            "Raise it, or lower sft.tokens_per_step.",
        )
    if section.policy_outcome and not section.probe_tokens:
        yield Mistake(
            "sft.policy_outcome", f"{shown(section.policy_outcome)} needs dev probes", "Set sft.probe_tokens."
        )
    for number, environment in enumerate(given.file.config.environments):
        few = section.probe_tokens and given.file.gives("sft.probe_tasks")
        if few and section.probe_tasks > environment.dev_tasks:
            yield Mistake(
                "sft.probe_tasks",
                f"{section.probe_tasks} is more than environments.{number}.dev_tasks {environment.dev_tasks}",
                f"Take at most {environment.dev_tasks}, or raise dev_tasks.",
            )
    if section.reading and not section.reading_until:
        yield Mistake(
            "sft.reading",
            f"{shown(section.reading)} has no effect, since reading_until is 0",
            "Set sft.reading_until, or leave sft.reading out.",
        )
    if section.warmup == 1:
        yield Mistake("sft.warmup", "1 ends training before the peak rate", "Take a small share, such as 0.03.")


def exploration(given: Given) -> Iterator[Mistake]:
    """Budgets of the search, and dev states that can make pairs."""
    config = given.file.config
    section = config.explore
    if not (section.trees or section.max_minutes):
        yield Mistake("explore", "no budget", "Set explore.trees or explore.max_minutes.")
    if 0 < section.trees < len(config.environments):
        yield Mistake(
            "explore.trees",
            f"{section.trees} leaves some of {len(config.environments)} environments without a tree",
            f"Take at least {len(config.environments)}.",
        )
    if section.dev_samples == 1:
        yield Mistake(
            "explore.dev_samples", "1 makes no pair to choose a reward model by", "Take 2 or more, or 0 for none."
        )
    rolled_out = (section.dev_sibling_states and section.dev_samples) or config.evaluate.sibling_states
    if rolled_out and config.evaluate.sibling_samples < 2:
        yield Mistake(
            "evaluate.sibling_samples",
            "1 makes no siblings to compare",
            "Take 2 or more, or set explore.dev_sibling_states and evaluate.sibling_states to 0.",
        )


def labels(given: Given) -> Iterator[Mistake]:
    """Labels that no tree can give, and keys that mean nothing beside the others."""
    config = given.file.config
    section, most = config.label, config.explore.iterations * config.explore.simulations
    if section.variant == "visits" and section.min_visits > most:
        yield Mistake(
            "label.min_visits",
            f"{section.min_visits} is more than the {most} visits that explore.iterations give a node",
            f"Take at most {most}, or raise explore.iterations.",
        )
    yield from _without(given, section.variant == "visits", "label.variant: visits", "label.min_visits")
    yield from _without(given, section.variant == "all", "label.variant: all", "label.max_weight_visits")
    inner = [key for key in CONTRAST_KEYS if value_at(config, key) or given.file.gives(key)]
    yield from _without(given, section.contrasts > 0, "label.contrasts", *inner)
    yield from _without(
        given,
        section.contrasts > 0 or section.expert_share > 0,
        "label.contrasts or label.expert_share",
        "label.expert_discount",
    )
    collected = sum(environment.train_tasks for environment in config.environments)
    if section.contrasts > collected:
        yield Mistake(
            "label.contrasts",
            f"{section.contrasts} is more than the {collected} tasks that are collected",
            f"Take at most {collected}, or raise train_tasks.",
        )


CONTRAST_KEYS = tuple(f"label.contrast_{name}" for name in ("expert", "samples", "temperature", "tokens"))


def fitting(given: Given) -> Iterator[Mistake]:
    """What a reward model is fitted to and chosen by."""
    config = given.file.config
    section = config.fit
    if section.contrast_share and not (config.label.contrasts and section.max_minutes):
        needed = "label.contrasts and fit.max_minutes"
        yield Mistake(
            "fit.contrast_share", f"{shown(section.contrast_share)} needs {needed}", "Set both, or leave it out."
        )
    if config.label.contrasts and not section.contrast_share and "fit" in given.stages:
        yield Mistake(
            "label.contrasts",
            f"{config.label.contrasts} are made, and fit.contrast_share 0 learns none of them",
            "Set fit.contrast_share, or leave label.contrasts out.",
        )
    if section.ranking and config.explore.branching == 1 and not section.contrast_share:
        yield Mistake(
            "fit.ranking",
            f"{shown(section.ranking)} ranks siblings, and explore.branching 1 grows none",
            "Raise explore.branching, or leave fit.ranking out.",
        )
    if section.language and not section.contrast_share:
        yield Mistake(
            "fit.language",
            f"{shown(section.language)} needs fit.contrast_share, from which it learns",
            "Set it, or leave fit.language out.",
        )
    for key, usual in (("likelihood_by", "reward"), ("likelihood_for", "all")):
        if getattr(section, key) != usual and not section.likelihoods:
            yield Mistake(
                f"fit.{key}",
                f"{getattr(section, key)} needs fit.likelihoods",
                "Give weights that dev may choose from, or leave it out.",
            )
    if section.require_better_than_chance and config.explore.dev_samples < 2:
        yield Mistake(
            "fit.require_better_than_chance",
            "true needs dev states, and explore.dev_samples makes none",
            "Set explore.dev_samples to 2 or more.",
        )
    if section.warmup == 1:
        yield Mistake("fit.warmup", "1 ends training before the peak rate", "Take a small share, such as 0.05.")
    yield from _repeated("fit.likelihoods", section.likelihoods)
    yield from _repeated("fit.aggregates", section.aggregates)


def kinds(given: Given) -> Iterator[Mistake]:
    """Keys of one kind of reward model beside the other kind."""
    config = given.file.config
    section = config.fit
    if section.kind == "explicit":
        yield from _without(given, False, "fit.kind: implicit", "fit.beta", "fit.targets", "fit.aggregates")
        return
    for name in ("contrast_share", "ranking", "every_token", "language", "likelihoods"):
        if getattr(section, name):
            yield Mistake(
                f"fit.{name}",
                f"{shown(getattr(section, name))} is of explicit reward models",
                "Leave it out, or set fit.kind: explicit.",
            )
    if section.targets == "ends" and (config.label.variant != "all" or config.label.expert_share):
        yield Mistake(
            "fit.targets",
            "ends needs outcomes: label.variant all, and no label.expert_share",
            "Other labels are of inner states, or no outcomes; fit.targets: all takes any.",
        )


def evaluation(given: Given) -> Iterator[Mistake]:
    """Methods that need each other."""
    section = given.file.config.evaluate
    if not section.methods:
        yield Mistake("evaluate.methods", "[] evaluates nothing", "Name at least one method, such as greedy.")
    yield from _repeated("evaluate.methods", section.methods)
    if "best-of-n-at-cost" in section.methods:
        missing = [method for method in ("best-of-n", "beam") if method not in section.methods]
        if missing:
            yield Mistake(
                "evaluate.methods",
                f"best-of-n-at-cost needs {' and '.join(missing)}",
                "Add it, or leave best-of-n-at-cost out.",
            )
        if section.max_n_at_cost < section.n:
            yield Mistake(
                "evaluate.max_n_at_cost",
                f"{section.max_n_at_cost} is less than evaluate.n {section.n}",
                f"Take at least {section.n}.",
            )
    for name in section.methods:
        try:
            search_of(name, section)
        except UsageError as error:
            yield Mistake("evaluate.methods", error.cause, error.remedy)
    for name in section.searches:
        if name not in ALGORITHMS:
            yield Mistake("evaluate.searches", f"there is no search {shown(name)}", did_you_mean(name, ALGORITHMS))


def _repeated(key: str, values: tuple[object, ...]) -> Iterator[Mistake]:
    for value, count in Counter(values).items():
        if count > 1:
            yield Mistake(key, f"{shown(value)} is there {count} times", "Name it once.")


def _without(given: Given, there: bool, needed: str, *keys: str) -> Iterator[Mistake]:
    """Keys that somebody has written though they mean nothing without something else."""
    for key in keys:
        if not there and given.file.gives(key):
            yield Mistake(
                key,
                f"{shown(value_at(given.file.config, key))} has no meaning without {needed}",
                f"Leave {key} out, or ask for that.",
            )


RULES: tuple[Rule, ...] = (
    environments,
    collection,
    model,
    replies,
    cloning,
    exploration,
    labels,
    fitting,
    kinds,
    evaluation,
)
