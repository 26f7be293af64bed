"""The command line: `agentrm-tui`. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agentrm_models.errors import AgentRMError, DataError, InterruptedRun, UsageError, on_one_line
from agentrm_tui.standard_streams import open_standard_streams

if TYPE_CHECKING:
    from agentrm_tui.headless.display import DisplayName
    from agentrm_tui.runs.plan import RunPlan
    from agentrm_tui.runs.state import RunState

Function = TypeVar("Function", bound=Callable[..., Any])

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
ALGORITHMS = ("greedy", "best-of-n", "beam", "mcts")
LARGEST_SEED = 10**18 - 1
"""Seeds fit into 64 bits, in files and in generators."""

COUNT, COUNT_OR_NONE = click.IntRange(1, 1_000_000), click.IntRange(0, 1_000_000)
"""Numbers of things; beyond a million nothing would ever come to an end."""

_RESUMABLE = ("resume", "display", "trust_remote_code")
"""Flags that make sense beside --resume: the run's file repeats all others."""


class Commands(click.Group):
    """A group that offers the nearest command for a misspelt one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or refuse with the nearest name."""
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-"):
            near = get_close_matches(args[0], known, n=1, cutoff=0.4)
            hint = f"Did you mean {near[0]!r}?" if near else f"Commands: {', '.join(known)}."
            raise UsageError(f"there is no command {args[0][:80]!r}", hint)
        return super().resolve_command(ctx, args)


def read_beam(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Read `W1xW2`, for example `5x5`: two numbers of at least 1."""
    if value is None:
        return None
    width, times, samples = value.lower().partition("x")
    right = times and all(part.isdecimal() and len(part) <= 3 and int(part) for part in (width, samples))
    if not right:
        raise click.BadParameter(
            f"{value[:40]!r} is not of the form 5x5 (beams kept x actions sampled from each, 1 to 999)"
        )
    return int(width), int(samples)


def read_out(ctx: click.Context, param: click.Parameter, value: str | None) -> Path | None:
    """Read the path of a new run file."""
    if value is None:
        return None
    from agentrm_models.typed_path import typed_path

    if not value:
        raise click.BadParameter("a file name is missing")
    return typed_path(value)


class Finite(click.FloatRange):
    """A range of floats that not-a-number and infinity are outside of."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a number that can be used.", param, ctx)
        return number


def own_file_options() -> list[Callable[[Function], Function]]:
    """The flags that name a person's own files."""
    return [
        click.option("--domain", type=click.Path(path_type=Path), metavar="FILE", help="pddl: your own domain."),
        click.option(
            "--problem",
            "problems",
            type=click.Path(path_type=Path),
            multiple=True,
            metavar="FILE",
            help="pddl: a problem of that domain; repeatable.",
        ),
        click.option("--story", type=click.Path(path_type=Path), metavar="FILE", help="jericho: your own story file."),
    ]


def own_files_options(command: Function) -> Function:
    """The same flags for commands that take no others of `playing_options`."""
    for option in reversed(own_file_options()):
        command = option(command)
    return command


def playing_options(command: Function) -> Function:
    """The flags that `play` and `run` share: tasks, models, search, sampling."""
    options = [
        click.option("--task", "tasks_named", multiple=True, metavar="ID", help="Play this task; repeatable."),
        click.option("--level", default="", metavar="NAME", help="Only tasks of this level."),
        *own_file_options(),
        click.option(
            "--perturb",
            "perturbations",
            multiple=True,
            metavar="NAME",
            help="The environment in other words; repeatable. See list perturbations.",
        ),
        click.option("--tasks", "number", type=COUNT, metavar="N", help="Number of tasks. [default: 1]"),
        click.option(
            "--first-seed",
            type=click.IntRange(0, LARGEST_SEED),
            metavar="S",
            help="Seed of the first task; the split's if absent.",
        ),
        click.option("--split", type=click.Choice(["train", "dev", "test"]), default="test", show_default=True),
        click.option("--policy", default="", metavar="SPEC", help="bundled:NAME, folder, .gguf, hf:…, URL, human, …"),
        click.option("--reward", default="", metavar="SPEC", help="bundled:NAME, folder, hf:…, random."),
        click.option("--search", "algorithm", type=click.Choice(ALGORITHMS), default="beam", show_default=True),
        click.option("-n", "n", type=COUNT, metavar="N", help="Trajectories of best-of-n. [default: 5]"),
        click.option(
            "--aggregate", type=click.Choice(["last", "mean", "min", "sum"]), help="How best-of-n judges. [last]"
        ),
        click.option(
            "--beam", callback=read_beam, metavar="W1xW2", help="Beams kept x actions sampled. [default: 5x5]"
        ),
        click.option("--iterations", type=COUNT, metavar="N", help="Of mcts. [default: 40]"),
        click.option("--simulations", type=COUNT, metavar="N", help="Rollouts a leaf of mcts. [1]"),
        click.option("--branching", type=COUNT, metavar="K", help="Actions an expansion of mcts. [5]"),
        click.option("--exploration", type=Finite(0), metavar="C", help="c of UCB. [0.5]"),
        click.option("--depth", type=COUNT_OR_NONE, metavar="N", help="Deepest expansion of mcts; 0: no limit."),
        click.option("--discount", type=Finite(0, 1), metavar="G", help="For each step, in mcts. [1.0]"),
        click.option("--leaf", type=click.Choice(["rollout", "reward"]), help="What values a leaf of mcts. [reward]"),
        click.option("--share-states", is_flag=True, default=None, help="mcts: equal states share statistics."),
        click.option("--max-steps", type=COUNT_OR_NONE, default=0, metavar="N", help="Step limit; 0: the task's."),
        click.option("--max-tokens", type=COUNT, default=64, show_default=True, help="Of a reply."),
        click.option("--temperature", type=Finite(0), default=0.7, show_default=True),
        click.option("--top-p", type=Finite(0, 1, min_open=True), default=1.0, show_default=True),
        click.option(
            "--seed",
            type=click.IntRange(-LARGEST_SEED, LARGEST_SEED),
            default=0,
            show_default=True,
            help="Of the sampling noise.",
        ),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
        click.option("--threads", type=COUNT_OR_NONE, default=0, help="CPU threads; 0: the backend's choice."),
        click.option("--cache-mb", type=COUNT_OR_NONE, default=0, help="Of each prefix cache; 0: its choice."),
        click.option("--trust-remote-code", is_flag=True, help="Let a hub model bring its own code."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


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


@app.command()
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


@app.command()
@click.argument("environment", required=False)
@playing_options
@click.option("--parallel", type=COUNT_OR_NONE, default=0, help="Episodes at once; 0: by memory.")
@click.option("--display", type=click.Choice(["auto", "plain", "json", "none"]), default="auto", show_default=True)
@click.option("--out", callback=read_out, metavar="FILE", help="Run file; the runs folder if absent.")
@click.option("--resume", metavar="RUN", help="Go on with a run that was cut off.")
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

    Exit codes: 0 ok, 2 usage, 3 data or model file, 4 out of memory, 130 interrupted (the run file can be resumed).
    """
    if resume is not None:
        return _resume(ctx, resume, display, flags["trust_remote_code"])
    if environment is None:
        raise UsageError("no environment was named", "See agentrm-tui list environments.")
    if out is not None and out.exists():
        raise UsageError(f"--out {out} exists", "Take another name, or go on with it by --resume.")
    return _run_headless(_plan(environment, {**flags, "parallel": parallel}), out, display)


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
    from agentrm_tui.headless.choosing import OwnFiles, TaskChoice, own_files
    from agentrm_tui.headless.listing import task_table

    environment, named = own_files(environment, OwnFiles(domain, problems, story), ())
    if named:
        choice["number"] = None
    _print(task_table(environment, TaskChoice(named, **choice)))


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
    sys.stderr.write(f"error: {on_one_line(message)}\n")
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
        click.echo(line)
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
    from agentrm_tui.headless.choosing import OwnFiles, TaskChoice, make_plan, own_files, search_from

    files = OwnFiles(flags["domain"], flags["problems"], flags["story"])
    environment, named = own_files(environment, files, flags["tasks_named"])
    environment = "+".join((environment, *flags["perturbations"]))
    width, samples = flags["beam"] or (None, None)
    search = search_from(
        flags["algorithm"],
        beam_width=width,
        beam_samples=samples,
        **{name: flags[name] for name in ("n", "aggregate", "iterations", "simulations", "branching")},
        **{name: flags[name] for name in ("exploration", "depth", "discount", "leaf", "share_states")},
    )
    choice = TaskChoice(named, flags["level"], flags["number"], flags["first_seed"], flags["split"])
    same = ("policy", "reward", "temperature", "top_p", "max_tokens", "max_steps", "seed", "device", "threads")
    fields = {name: flags[name] for name in same} | {"trust_remote_code": flags["trust_remote_code"]}
    cache = flags["cache_mb"] * 1_000_000
    return make_plan(environment, choice, search, **fields, cache_bytes=cache, parallel=flags.get("parallel", 1))


def _run_headless(plan: RunPlan, out: Path | None, display: DisplayName, resume: RunState | None = None) -> int:
    from agentrm_tui.headless.choosing import training_notices
    from agentrm_tui.headless.running import run_here
    from agentrm_tui.runs.store import new_run_path

    path = out or new_run_path(plan)
    for notice in training_notices(plan):
        sys.stderr.write(f"note: {on_one_line(notice)}\n")
    sys.stderr.write(f"run file: {on_one_line(str(path))}\n")
    try:
        run_here(plan, path, display, resume)
    except InterruptedRun as error:
        hint = f"Go on with: agentrm-tui run --resume {path}"
        raise InterruptedRun(error.cause, hint) from error
    return 0


def _resume(ctx: click.Context, name: str, display: DisplayName, trust_remote_code: bool) -> int:
    """Go on with a run by the plan that its file repeats."""
    import msgspec

    from agentrm_tui.headless.choosing import find_run
    from agentrm_tui.runs.opening import plan_of
    from agentrm_tui.runs.store import load_state

    typed = [
        parameter.opts[0]
        for parameter in ctx.command.params
        if parameter.name not in _RESUMABLE
        and ctx.get_parameter_source(parameter.name or "") == click.core.ParameterSource.COMMANDLINE
    ]
    if typed:
        raise UsageError(f"--resume goes on with the run's own plan, so {typed[0]} has no meaning", "Leave it out.")
    path = find_run(name)
    state = load_state(path)
    if state.run is None or (state.finished and state.finished.reason == "finished"):
        raise UsageError(f"{path} has finished already", f"Look at it: agentrm-tui replay {path}")
    plan = msgspec.structs.replace(plan_of(state.run), trust_remote_code=trust_remote_code)
    return _run_headless(plan, path, display, state)


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
