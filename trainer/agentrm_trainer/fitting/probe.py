"""Greedy play on dev tasks while a policy is being trained: a low loss does not mean a useful policy."""

from __future__ import annotations

from typing import Any

import torch

from agentrm_trainer.data.tasks import tasks_from
from agentrm_trainer.workflow.plays import Sampling, make_plan, outcomes, play
from agentrm_trainer.workflow.workspace import Workspace
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.search.greedy import Greedy


def probe_greedy(workspace: Workspace, model: Any, tokenizer: Any, tasks: int) -> dict[str, float]:
    """Mean greedy outcome on the first dev tasks of each environment."""
    from agentrm_models.policies.transformers import transformers_policy

    config = workspace.config
    model.eval()
    try:
        with torch.inference_mode():
            policy = transformers_policy(model, tokenizer, name="probe", prompt=config.sft.prompt)
            scores = {}
            for section in config.environments:
                environment = make_environment(section.name)
                chosen = tasks_from(environment, section, "dev", 0, min(tasks, section.dev_tasks))
                environment.close()
                sampling = Sampling(0.0, config.evaluate.max_tokens, config.seed, len(chosen), config.threads)
                search = Greedy()
                plan = make_plan(section.name, [task.id for task in chosen], search, sampling, "probe")
                found = outcomes(play(plan, policy))
                scores[section.name] = round(sum(found) / len(found), 4)
    finally:
        model.train()
    return scores
