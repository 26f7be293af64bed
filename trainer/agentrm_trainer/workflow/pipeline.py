"""All stages of a pipeline, in order; each knows by itself whether it is finished."""

from __future__ import annotations

from agentrm_trainer.fitting.processes import launched_first
from agentrm_trainer.reports.chance import warning_of
from agentrm_trainer.workflow.launching import processes_for, run_here, run_in_processes
from agentrm_trainer.workflow.registry import STAGES, stage_named
from agentrm_trainer.workflow.workspace import Workspace


def run_stage(workspace: Workspace, name: str) -> None:
    """Run one stage, in several processes where the settings ask for them.

    Raises:
        UsageError: The stage before it is not finished, or there is earlier work and no `resume`.
        InterruptedRun: A person asked to stop.
        WorseThanChanceError: The reward model is, and the settings ask for better.
    """
    stage = stage_named(name)
    count = processes_for(workspace.config, stage)
    if count > 1 and workspace.is_finished(name):
        count = 1  # nothing is left to do together
    if count > 1:
        run_in_processes(workspace, stage, count)
    else:
        run_here(workspace, stage)
    if launched_first():
        stage.judge(workspace)


def run_pipeline(workspace: Workspace) -> None:
    """Run every stage in order."""
    for stage in STAGES:
        if not (workspace.is_finished(stage.name) and workspace.resume):
            workspace.display.say(f"-- {stage.name}")
        run_stage(workspace, stage.name)
        workspace.check_stop()
    minutes = sum(workspace.done(stage.name).minutes for stage in STAGES)
    workspace.display.say(f"finished in {minutes:.0f} minutes: {workspace.out}{warning_of(workspace)}")


def describe(workspace: Workspace) -> str:
    """What the pipeline would do: each stage with its folder and state."""
    lines = []
    for stage in STAGES:
        path = workspace.folder(stage.name)
        state = "finished" if workspace.is_finished(stage.name) else "begun" if path.exists() else "to do"
        lines.append(f"{stage.name:9} {state:9} {path}")
    return "\n".join(lines)
