"""Stage `export`: the trained models in one folder, and the policy as a checked GGUF file for llama.cpp."""

from __future__ import annotations

import shutil

from agentrm_trainer.workflow.workspace import StageFolder, Workspace, replace_folder


def export(workspace: Workspace, folder: StageFolder) -> None:
    """Run the stage: `policy/`, `reward/` and `policy.gguf`."""
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
    folder.finish(**figures)
