"""The export stage writes both models as GGUF, and what plays from the files are the models that were trained."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentrm_models.bundled import find_bundled
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Message
from agentrm_models.rewards.base import ScoreGroup
from agentrm_models.specs import load_reward
from agentrm_trainer.stages.export import export

CPU = LoadOptions(device="cpu", threads=1)
ITEMS = tuple((Message("user", "You are in a maze."), Message("assistant", f"Action: move {way}")) for way in "abc")


class FakeFolder:
    """A stage folder that keeps the figures it was finished with."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.figures: dict[str, Any] = {}

    def finish(self, **figures: Any) -> None:
        self.figures = figures


@pytest.mark.llama_cpp
@pytest.mark.parametrize("gguf", [True, False])
def test_both_models_are_written(gguf: bool, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    for role, stage in (("policy", "sft"), ("reward", "fit")):
        shutil.copytree(find_bundled("small", role).folder, tmp_path / stage / role)
    config = SimpleNamespace(export=SimpleNamespace(gguf=gguf))
    workspace: Any = SimpleNamespace(folder=lambda name: tmp_path / name, config=config)
    (tmp_path / "export").mkdir()
    folder: Any = FakeFolder(tmp_path / "export")
    export(workspace, folder)
    files = {file.name for file in folder.path.iterdir()}
    if not gguf:
        assert files == {"policy", "reward"} and folder.figures == {}
        return
    heads = {"reward.head.safetensors", "reward.language.gguf"}
    assert files == {"policy", "reward", "policy.gguf", "reward.gguf", *heads}
    assert folder.figures["reward_gguf_bytes"] == (folder.path / "reward.gguf").stat().st_size
    found, expected = (
        load_reward(str(folder.path / name), CPU).score([ScoreGroup(ITEMS)])[0] for name in ("reward.gguf", "reward")
    )
    assert found == pytest.approx(expected, abs=5e-3)
    assert len(set(expected)) == len(ITEMS)
