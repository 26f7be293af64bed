"""The command line: `agentrm-tui`. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentrm_models.errors import AgentRMError, DataError, InterruptedRun, UsageError
from agentrm_models.spelling import did_you_mean
from agentrm_tui.flags import (
    COUNT,
    COUNT_OR_NONE,
    LARGEST_SEED,
    SearchCommand,
    load_from,
    own_files_options,
    playing_options,
    read_out,
    serving_options,
)
from agentrm_tui.standard_streams import open_standard_streams, tell, write_line

if TYPE_CHECKING:
    from agentrm_tui.headless.display import DisplayName
    from agentrm_tui.runs.plan import RunPlan

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

_RESUMABLE = ("resume", "display", "trust_remote_code", "packed", "send_key")
"""Flags that make sense beside --resume: the run's file repeats all others."""


class Commands(click.Group):
    """A group that offers the nearest command for a misspelt one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or refuse with the nearest name."""
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-"):
            raise UsageError(f"there is no command {args[0][:80]!r}", did_you_mean(args[0], known, "Commands"))
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, invoke_without_command=True, context_settings=CONTEXT)
@click.version_option(package_name="agentrm-tui", message="agentrm-tui %(version)s")
@click.pass_context
def app(ctx: click.Context) -> int | None:
    """Watch, step and steer reward-guided search for language-model agents.

    Without a command: the launcher; without a terminal, a demo as plain text.
    """
    if ctx.invoked_subcommand is not None:
        return None
    if _on_terminal():
        from agentrm_tui.ui.start import run_app

        return run_app()
    from agentrm_tui.headless.choosing import demo_plan

    return _run_headless(demo_plan(), None, "plain")


@app.command(cls=SearchCommand)
@click.argument("environment")
@playing_options
@click.option("--paused", is_flag=True, help="Wait before the first request.")
def play(environment: str, paused: bool, **flags: Any) -> int:
    """Play ENVIRONMENT on the screen (as plain text without a terminal)."""
    plan = _plan(environment, flags)
    if _on_terminal():
        from agentrm_tui.ui.start import run_app

        return run_app(plan, paused=paused)
    return _run_headless(plan, None, "plain")


@app.command(cls=SearchCommand)
@click.argument("environment", required=False)
@playing_options
@click.option("--parallel", type=COUNT_OR_NONE, default=0, help="Episodes at once; 0: by memory.")
@click.option("--display", type=click.Choice(["auto", "plain", "json", "none"]), default="auto", show_default=True)
@click.option("--out", callback=read_out, metavar="FILE", help="Run file; the runs folder if absent.")
@click.option("--resume", metavar="RUN", help="Resume a run that was cut off, or in which episodes failed.")
@click.option("--send-key", is_flag=True, help="With --resume: send OPENAI_API_KEY to servers that RUN names.")
@click.option("--gzip", "packed", is_flag=True, help="Compress the run file once the run has finished.")
@click.pass_context
def run(
    ctx: click.Context,
    /,
    environment: str | None,
    parallel: int,
    display: DisplayName,
    out: Path | None,
    resume: str | None,
    **flags: Any,
) -> int:
    """Play ENVIRONMENT without a screen; stdout is data, diagnostics go to stderr.

    Exit codes: 0 ok, 1 some episodes failed, 2 usage, 3 data or model file, 4 out of memory, 130 interrupted; after 1
    and 130 the run file can be resumed.
    """
    if resume is not None:
        return _resume(ctx, resume, display, flags)
    if flags["send_key"]:
        raise UsageError("--send-key has a meaning beside --resume only", "Servers that you name are sent the key.")
    if environment is None:
        raise UsageError("no environment was named", "See agentrm-tui list environments.")
    packed = flags["packed"]
    if out is not None and out.suffix == ".gz":
        out, packed = out.with_suffix(""), True
    _check_new(out, "Choose another name, or resume it with --resume.")
    return _run_headless(_plan(environment, {**flags, "parallel": parallel}), out, display, packed=packed)


@app.command()
@serving_options
def serve(out: Path | None, display: DisplayName, **flags: Any) -> int:
    """Serve an OpenAI-compatible endpoint that a reward model guides.

    Each answer is the best of N replies of the policy; each conversation is an episode of a run file, which attach
    shows live. Ctrl-C ends it.
    """
    from agentrm_tui.serve.command import run_serve

    _check_new(out, "Choose another name.")
    run_serve(flags, out, display)
    return 0


@app.command()
@click.argument("run_file", metavar="RUN")
def replay(run_file: str) -> int:
    """Look at a finished or cut-off RUN again: a file, or a name that `runs` lists."""
    return _look_at(run_file, "replay")


@app.command()
@click.argument("run_file", metavar="RUN")
def attach(run_file: str) -> int:
    """Follow a RUN that is being written."""
    return _look_at(run_file, "attach")


@app.command()
def runs() -> None:
    """List the runs in the runs folder, newest first."""
    from agentrm_tui.headless.listing import run_table

    _print(run_table())


@app.group("list", cls=Commands)
def list_() -> None:
    """List environments, perturbations, tasks or models."""


@list_.command("environments")
def list_environments() -> None:
    """What can be played, and whether it is the original software."""
    from agentrm_tui.headless.listing import environment_table

    _print(environment_table())


@list_.command("tasks")
@click.argument("environment")
@click.option("--split", type=click.Choice(["train", "dev", "test"]), default="test", show_default=True)
@click.option("--level", default="", metavar="NAME", help="Only tasks of this level.")
@click.option("--first-seed", type=click.IntRange(0, LARGEST_SEED), metavar="S")
@click.option("--tasks", "number", type=COUNT, default=20, show_default=True, metavar="N")
@own_files_options
def list_tasks(
    environment: str, domain: Path | None, problems: tuple[Path, ...], story: Path | None, **choice: Any
) -> None:
    """Task ids and goals of ENVIRONMENT, and its levels."""
    from agentrm_tui.environments.task_choice import TaskChoice
    from agentrm_tui.headless.choosing import OwnFiles, own_files
    from agentrm_tui.headless.listing import task_table

    environment, named = own_files(environment, OwnFiles(domain, problems, story), ())
    if named:
        choice["number"] = None
    level = choice.pop("level")
    _print(task_table(environment, TaskChoice(named, (level,) if level else (), **choice)))


@list_.command("perturbations")
def list_perturbations() -> None:
    """Rules that change an environment's words: --perturb NAME, or ENVIRONMENT+NAME."""
    from agentrm_tui.headless.listing import perturbation_table

    _print(perturbation_table())


@list_.command("models")
def list_models() -> None:
    """Models that work offline, and how others are named."""
    from agentrm_tui.headless.listing import model_table

    _print(model_table())


@app.command()
def schema() -> None:
    """Print the JSON schema of the records of run files."""
    import json

    from agentrm_tui.runs.codec import schema as record_schema

    _print(json.dumps(record_schema(), indent=2).splitlines())


@app.command()
def doctor() -> int:
    """Check Python, packages, models, environments and terminal, one line each."""
    from agentrm_tui.doctor import check_all

    checks = check_all()
    _print([check.line() for check in checks])
    return max((check.exit_code for check in checks), default=0)


def main() -> None:
    """Run the program: one clear line for what a person can cause, and the documented exit code."""
    open_standard_streams()
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run the command line and return the exit code; errors become one line on stderr."""
    try:
        result = app.main(arguments, prog_name="agentrm-tui", standalone_mode=False)
        _flush()
    except AgentRMError as error:
        return _report(str(error), error.exit_code)
    except click.ClickException as error:
        return _report(error.format_message(), UsageError.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _report("interrupted", InterruptedRun.exit_code)
    except MemoryError:
        return _report("no memory left. Use a smaller model, --beam or --parallel.", 4)
    except BrokenPipeError:
        _silence_stdout()
        return 0
    return result if isinstance(result, int) else 0


def _report(message: str, code: int) -> int:
    tell(f"error: {message}")
    return code


def _silence_stdout() -> None:
    """The reader has gone: what is still buffered must not raise again when Python exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _on_terminal() -> bool:
    """Whether a screen can be drawn; a dumb terminal cannot move its cursor."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _print(lines: list[str]) -> None:
    for line in lines:
        _say(line)


def _say(line: str) -> None:
    """Write a line to stdout; a reader that has gone is not an error, a full disk is."""
    try:
        write_line(line)
    except OSError as error:
        _refuse_stdout(error)


def _flush() -> None:
    try:
        sys.stdout.flush()
    except OSError as error:
        _refuse_stdout(error)


def _refuse_stdout(error: OSError) -> None:
    if isinstance(error, BrokenPipeError):
        raise error
    _silence_stdout()
    raise DataError(f"stdout: cannot be written ({error.strerror or error})") from None


def _plan(environment: str, flags: dict[str, Any]) -> RunPlan:
    from agentrm_tui.environments.task_choice import TaskChoice
    from agentrm_tui.headless.choosing import OwnFiles, make_plan, own_files
    from agentrm_tui.headless.search_flags import search_from

    files = OwnFiles(flags["domain"], flags["problems"], flags["story"])
    environment, named = own_files(environment, files, flags["tasks_named"])
    environment = "+".join((environment, *flags["perturbations"]))
    search, notices = search_from(flags["algorithm"], flags)
    for notice in notices:
        tell(f"note: {notice}")
    levels = (flags["level"],) if flags["level"] else ()
    choice = TaskChoice(named, levels, flags["number"], flags["first_seed"], flags["split"])
    sampling = ("temperature", "top_p", "max_tokens", "reasoning_tokens", "seed")
    same = ("policy", "reward", "actions", "demonstrations", "max_steps", *sampling)
    fields = {name: flags[name] for name in same}
    fields["candidates"] = flags["candidate_kind"]
    return make_plan(environment, choice, search, **fields, load=load_from(flags), parallel=flags.get("parallel", 1))


def _check_new(out: Path | None, remedy: str) -> None:
    """Refuse a run file that would be written over."""
    from agentrm_models.typed_path import is_empty_file

    for path in filter(None, (out, out and out.with_name(f"{out.name}.gz"))):
        if path.exists() and not is_empty_file(path):
            raise UsageError(f"--out {path} exists", remedy)


def _run_headless(
    plan: RunPlan,
    out: Path | None,
    display: DisplayName,
    *,
    resume: bool = False,
    packed: bool = False,
    send_key: bool = True,
) -> int:
    from agentrm_models.server_spec import needs_key
    from agentrm_tui.headless.running import run_here
    from agentrm_tui.runs.store import compress_run, new_run_path

    path = out or new_run_path(plan)
    tell(f"run file: {path}")
    try:
        state = run_here(plan, path, display, resume, send_key)
    except InterruptedRun as error:
        key = " --send-key" if needs_key(plan.policy, plan.reward) else ""
        hint = f"Resume it with: agentrm-tui run --resume {path}{key}"
        raise InterruptedRun(error.cause, hint) from error
    if packed:
        tell(f"packed: {compress_run(path)}")
    return 1 if state.failed else 0


def _resume(ctx: click.Context, name: str, display: DisplayName, flags: dict[str, Any]) -> int:
    """Resume a run by the plan that its file holds; remote code and servers must be trusted anew."""
    import msgspec

    from agentrm_models.typed_path import is_empty_file
    from agentrm_tui.headless.choosing import find_run
    from agentrm_tui.runs.store import load_state

    typed = [
        parameter.opts[0]
        for parameter in ctx.command.params
        if parameter.name not in _RESUMABLE
        and ctx.get_parameter_source(parameter.name or "") == click.core.ParameterSource.COMMANDLINE
    ]
    if typed:
        raise UsageError(f"--resume takes the run's own plan, so {typed[0]} has no meaning", "Leave it out.")
    path = find_run(name)
    if is_empty_file(path):
        raise DataError(f"{path} is empty: its run ended before it began", f"Begin it with --out {path}.")
    state = load_state(path)
    if state.run is None or (state.finished and state.finished.reason == "finished" and not state.failed):
        raise UsageError(f"{path} has finished already", f"Look at it: agentrm-tui replay {path}")
    plan = state.run.plan.as_found()
    load = msgspec.structs.replace(plan.load, trust_remote_code=flags["trust_remote_code"])
    plan = msgspec.structs.replace(plan, load=load)
    return _run_headless(plan, path, display, resume=True, packed=flags["packed"], send_key=flags["send_key"])


def _look_at(name: str, how: str) -> int:
    from agentrm_tui.headless.choosing import find_run

    path = find_run(name)
    if _on_terminal():
        from agentrm_tui.ui.start import run_app

        return run_app(replay=path) if how == "replay" else run_app(attach=path)
    from agentrm_tui.headless.display import PlainDisplay
    from agentrm_tui.headless.running import show_run

    show_run(PlainDisplay(_say), path)
    return 0


if __name__ == "__main__":
    main()
