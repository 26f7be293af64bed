"""Stage `export`: the trained models in one folder, and both as checked GGUF files for llama.cpp."""

from __future__ import annotations

import shutil

from agentrm_models.folder_settings import read_settings
from agentrm_trainer.workflow.workspace import StageFolder, Workspace, replace_folder


def export(workspace: Workspace, folder: StageFolder) -> None:
    """Run the stage: `policy/`, `reward/`, `policy.gguf`, and `reward.gguf` with its head beside it."""
    for name, source in (("policy", workspace.folder("sft")), ("reward", workspace.folder("fit"))):
        new = folder.path / f".{name}.new"
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(source / name, new)
        replace_folder(new, folder.path / name)
    figures = {}
    if workspace.config.export.gguf:
        from agentrm_models.llama_cpp.gguf_export import export_gguf

        out = folder.path / "policy.gguf"
        export_gguf(folder.path / "policy", out)
        figures["gguf_bytes"] = out.stat().st_size
        if not read_settings(folder.path / "reward").reference:
            from agentrm_models.llama_cpp.reward_export import export_reward_gguf

            out = folder.path / "reward.gguf"
            export_reward_gguf(folder.path / "reward", out)
            figures["reward_gguf_bytes"] = out.stat().st_size
    folder.finish(**figures)
