"""A tiny configuration on a fake environment, with every stage small enough for a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from fake_ladder import FakeEntryPoint, FakeLadder

from agentrm_trainer.config import Config
from agentrm_trainer.workflow.progress import PlainDisplay
from agentrm_trainer.workflow.workspace import Workspace
from agentrm_tui.environments import registry

TINY: dict[str, Any] = {
    "name": "tiny",
    "threads": 1,
    "environments": [{"name": "ladder", "train_tasks": 60, "dev_tasks": 6, "test_tasks": 8}],
    "collect": {"processes": 1, "chunk": 20, "noise": 0.2, "held_out": 0.1},
    "tokenizer": {"vocabulary": 400},
    "model": {"layers": 1, "width": 32, "heads": 2, "key_value_heads": 1, "feed_forward": 48, "context": 512},
    "sft": {"max_tokens": 6_000, "tokens_per_step": 400, "probe_tokens": 0, "bf16": False, "learning_rate": 3e-3},
    "explore": {"trees": 8, "chunk": 4, "iterations": 6, "branching": 3, "max_tokens": 24, "parallel": 4,
                "dev_samples": 3, "dev_sibling_states": 4,
                "dev_sibling_rollouts": 2},
    "fit": {
        "epochs": 2.0,
        "bf16": False,
        "tokens_per_step": 800,
        "tree_tokens": 400,
        "evaluations": 2,
        "likelihoods": [0.3],
    },
    "evaluate": {"max_tokens": 24, "parallel": 4, "chunk": 4, "draws": 200, "beam_width": 2, "beam_samples": 2, "n": 3,
                 "max_n_at_cost": 4, "sibling_states": 4, "sibling_samples": 3, "sibling_rollouts": 2},
    "export": {"gguf": False},
}  # fmt: skip


@pytest.fixture(autouse=True)
def ladder_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_installed", lambda: {"ladder": FakeEntryPoint(FakeLadder)})


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


MakeWorkspace = Callable[..., Workspace]


@pytest.fixture
def make_workspace(tmp_path: Path) -> MakeWorkspace:
    """Build a workspace of the tiny configuration; keyword arguments replace keys of its sections."""

    def make(out: str = "out", resume: bool = False, **sections: dict[str, Any]) -> Workspace:
        raw = {key: dict(value) if isinstance(value, dict) else value for key, value in TINY.items()}
        for name, keys in sections.items():
            raw[name] = {**raw.get(name, {}), **keys}
        with (tmp_path / "log.txt").open("a") as stream:
            display = PlainDisplay(stream=stream, every=1e9)
        display.say = lambda line: None  # type: ignore[method-assign]
        return Workspace(msgspec.convert(raw, Config), tmp_path / out, display, resume)

    return make
