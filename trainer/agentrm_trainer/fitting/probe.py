"""Greedy play on dev tasks while a policy is being trained: a low loss does not mean a useful policy."""

from __future__ import annotations

from typing import Any

import torch

from agentrm_models.load_options import LoadOptions
from agentrm_trainer.data.tasks import task_ids
from agentrm_trainer.workflow.plays import HeldPolicy, Sampling, make_plan, outcomes, play
from agentrm_trainer.workflow.workspace import Workspace, partial_path
from agentrm_tui.search.greedy import Greedy


def probe_greedy(workspace: Workspace, model: Any, tokenizer: Any, tasks: int, tokens: int) -> dict[str, float]:
    """Mean greedy outcome on the first dev tasks of each environment.

    Args:
        tokens: Read by the model so far; the run files are named after it.
    """
    from agentrm_models.policies.transformers import transformers_policy

    config, folder = workspace.config, workspace.folder("sft") / "probes"
    model.eval()
    try:
        with torch.inference_mode():
            policy = transformers_policy(model, tokenizer, name="probe", prompt=config.sft.prompt)
            scores = {}
            for section in config.environments:
                chosen = task_ids(section, "dev", 0, min(tasks, section.dev_tasks))
                load = LoadOptions(device=config.device, threads=config.threads)
                sampling = Sampling(0.0, config.evaluate.max_tokens, config.seed, len(chosen), load)
                plan = make_plan(section.name, chosen, Greedy(), sampling, "probe")
                path = folder / f"{section.name}-{tokens:010d}.jsonl"
                for earlier in (path, partial_path(path)):
                    earlier.unlink(missing_ok=True)
                found = outcomes(play(plan, path, models=HeldPolicy(policy)))
                scores[section.name] = round(sum(found) / len(found), 4)
    finally:
        model.train()
    return scores
