"""What only the rest of the program knows about a configuration: names, levels and sizes that fit together."""

from __future__ import annotations

from difflib import get_close_matches

from agentrm_models.errors import UsageError
from agentrm_trainer.config import Config
from agentrm_tui.environments.registry import make_environment


def check_config(config: Config) -> None:
    """Refuse before the first stage what a later one could not work with.

    Raises:
        UsageError: An unknown environment or level (with the nearest name), or sizes of the model that do not fit.
    """
    model = config.model
    if model.width % model.heads or model.heads % model.key_value_heads:
        raise UsageError(
            f"model: width {model.width}, heads {model.heads} and key_value_heads {model.key_value_heads} do not fit",
            "width must be a multiple of heads, and heads of key_value_heads.",
        )
    if config.fit.contrast_share and not (config.label.contrasts and config.fit.max_minutes):
        raise UsageError("fit.contrast_share needs label.contrasts and fit.max_minutes", "Set both, or leave it out.")
    if config.fit.language and not config.fit.contrast_share:
        raise UsageError("fit.language needs fit.contrast_share", "Its replies are the best of contrasts.")
    for key, usual in (("likelihood_by", "reward"), ("likelihood_for", "all")):
        if getattr(config.fit, key) != usual and not config.fit.likelihoods:
            raise UsageError(
                f"fit.{key} needs fit.likelihoods", "Give weights that dev may choose from, or leave it out."
            )
    if config.fit.kind == "implicit":
        explicit = ("contrast_share", "ranking", "every_token", "language", "likelihoods")
        given = next((name for name in explicit if getattr(config.fit, name)), "")
        if given:
            raise UsageError(f"fit.{given} is of explicit reward models", "Leave it out, or set fit.kind: explicit.")
        if config.fit.targets == "ends" and (config.label.variant != "all" or config.label.expert_share):
            raise UsageError(
                "fit.targets: ends needs outcomes: label.variant all, and no label.expert_share",
                "Other labels are of inner states, or no outcomes; fit.targets: all takes any.",
            )
    for number, section in enumerate(config.environments):
        environment = make_environment(section.name)
        known = environment.traits.levels
        judged = environment.traits.expert and environment.traits.snapshots
        environment.close()
        if config.label.contrasts and not judged:
            raise UsageError(
                f"label.contrasts: {section.name} has no expert or no exact snapshots", "Leave label.contrasts out."
            )
        for level in (*section.levels, *section.test_levels):
            if known and level not in known:
                near = get_close_matches(level, known, n=1, cutoff=0.0)
                raise UsageError(
                    f"environments.{number}.levels: {section.name} has no level {level[:80]!r}",
                    f"Did you mean {near[0]!r}?",
                )
