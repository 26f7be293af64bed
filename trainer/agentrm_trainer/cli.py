"""The command `agentrm-train`: one sub-command for each stage, and `pipeline` for all of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import click

from agentrm_models.errors import AgentRMError
from agentrm_models.torch_environment import prepare_torch
from agentrm_trainer.workflow.failures import in_one_line
from agentrm_trainer.workflow.registry import STAGES, Stage
from agentrm_tui.standard_streams import open_standard_streams, tell


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="agentrm-tui")
def commands() -> None:
    """Train a policy and a reward model for text environments, from expert data to a report.

    Start with `agentrm-train pipeline --config quick`.
    """


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(
        (
            click.option(
                "--config", "source", required=True, metavar="FILE|NAME", help="A YAML file or a recipe's name."
            ),
            click.option(
                "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key; beats the file."
            ),
            click.option("--out", type=click.Path(path_type=Path), help="Folder of all results [runs-out/NAME]."),
            click.option("--resume", is_flag=True, help="Go on with earlier work; finished stages are passed over."),
            click.option("--dry-run", is_flag=True, help="Check the settings, show what would be done, and end."),
        )
    ):
        command = option(command)
    return command


def _add_stage(stage: Stage) -> None:
    @commands.command(stage.name, help=stage.help)
    @_options
    def run(source: str, overrides: tuple[str, ...], out: Path | None, resume: bool, dry_run: bool) -> None:
        _run(stage.name, source, overrides, out, resume, dry_run)


for _stage in STAGES:
    _add_stage(_stage)


@commands.command()
@_options
def pipeline(source: str, overrides: tuple[str, ...], out: Path | None, resume: bool, dry_run: bool) -> None:
    """Run every stage in order."""
    _run(None, source, overrides, out, resume, dry_run)


def _run(
    stage: str | None, source: str, overrides: tuple[str, ...], out: Path | None, resume: bool, dry_run: bool
) -> None:
    from agentrm_trainer.config_file import read_config

    prepare_torch()
    from agentrm_trainer.fitting.processes import launched_first, refuse_processes
    from agentrm_trainer.preflight.check import check
    from agentrm_trainer.workflow.pipeline import describe, run_pipeline, run_stage
    from agentrm_trainer.workflow.progress import make_display
    from agentrm_trainer.workflow.workspace import Workspace

    refuse_processes(stage or "pipeline")
    file = read_config(source, overrides)
    config = file.config
    workspace = Workspace(config, out or Path("runs-out") / config.name, make_display(), resume)
    check(file, workspace.out, stage or "")
    if launched_first() and (resume or not dry_run):
        workspace.check_earlier_work([stage] if stage else [known.name for known in STAGES])
    if dry_run:
        import msgspec
        import yaml

        click.echo(yaml.safe_dump(msgspec.to_builtins(config), sort_keys=False, allow_unicode=True).rstrip())
        click.echo(describe(workspace))
        return
    with workspace.locked() if launched_first() else nullcontext(), workspace.catching_signals():
        if stage is None:
            run_pipeline(workspace)
        else:
            run_stage(workspace, stage)


def main(arguments: list[str] | None = None) -> None:
    """Run the command; an error that a person can cause ends in one line and its exit code."""
    open_standard_streams()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        with in_one_line():
            commands.main(arguments, prog_name="agentrm-train", standalone_mode=False)
    except click.exceptions.Exit as exit_request:
        sys.exit(exit_request.exit_code)
    except click.exceptions.NoArgsIsHelpError as help_text:
        help_text.show()
        sys.exit(2)
    except click.ClickException as error:
        tell(f"agentrm-train: {error.format_message()}")
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        tell("interrupted")
        sys.exit(130)
    except AgentRMError as error:
        tell(f"agentrm-train: {error}")
        sys.exit(error.exit_code)
