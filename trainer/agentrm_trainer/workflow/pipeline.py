"""All stages of a pipeline, in order; each knows by itself whether it is finished."""

from __future__ import annotations

from agentrm_trainer.workflow.launching import run_here, run_in_processes, wanted_processes
from agentrm_trainer.workflow.workspace import STAGES, StageName, Workspace


def run_stage(workspace: Workspace, name: StageName) -> None:
    """Run one stage, in several processes where the settings ask for them.

    Raises:
        UsageError: The stage before it is not finished, or there is earlier work and no `resume`.
        InterruptedRun: A person asked to stop.
    """
    count = wanted_processes(workspace.config, name)
    if count > 1:
        run_in_processes(workspace, name, count)
    else:
        run_here(workspace, name)


def run_pipeline(workspace: Workspace) -> None:
    """Run every stage in order."""
    for name in STAGES:
        finished = (workspace.folder(name) / "done.json").exists()
        if not (finished and workspace.resume):
            workspace.display.say(f"-- {name}")
        run_stage(workspace, name)
        workspace.check_stop()
    minutes = sum(workspace.done(name).minutes for name in STAGES)
    workspace.display.say(f"finished in {minutes:.0f} minutes: {workspace.out}")


def describe(workspace: Workspace) -> str:
    """What the pipeline would do: each stage with its folder and state."""
    lines = []
    for name in STAGES:
        path = workspace.folder(name)
        state = "finished" if (path / "done.json").exists() else "begun" if path.exists() else "to do"
        lines.append(f"{name:9} {state:9} {path}")
    return "\n".join(lines)
