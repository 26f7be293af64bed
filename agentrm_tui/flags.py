"""Flags that commands share: what they are called, the values they take, and the words of their help."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from agentrm_models.load_options import LoadOptions

Function = TypeVar("Function", bound=Callable[..., Any])

LARGEST_SEED = 10**18 - 1
"""Seeds fit into 64 bits, in files and in generators."""

MOST_THREADS = 1024
"""More make a library end this process."""

COUNT, COUNT_OR_NONE = click.IntRange(1, 1_000_000), click.IntRange(0, 1_000_000)
"""Numbers of things; beyond a million nothing would ever come to an end."""


def read_out(ctx: click.Context, param: click.Parameter, value: str | None) -> Path | None:
    """Read the path of a new run file."""
    if value is None:
        return None
    from agentrm_models.typed_path import typed_path

    if not value:
        raise click.BadParameter("a file name is missing")
    return typed_path(value)


class SearchCommand(click.Command):
    """A command with the flags of all search algorithms, which are made from their settings when they are needed."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own flags, and those of the algorithms before its sampling flags."""
        if not any(parameter.name == "algorithm" for parameter in self.params):
            from agentrm_tui.headless.search_flags import search_options

            place = next(number for number, parameter in enumerate(self.params) if parameter.name == "max_steps")
            self.params[place:place] = search_options()
        return super().get_params(ctx)


class Finite(click.FloatRange):
    """A range of floats that not-a-number and infinity are outside of."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a number that can be used.", param, ctx)
        return number


class Demonstrations(click.ParamType[int | str]):
    """A number of the expert's episodes, or a file of episodes."""

    name = "demonstrations"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Read a whole number, or the name of a file that exists."""
        if isinstance(value, int):
            return value
        text = str(value)
        if text.isascii() and text.isdigit():
            return min(int(text), 10**6)
        if not Path(text).expanduser().is_file():
            self.fail(f"{text[:200]!r} is neither a whole number nor a file.", param, ctx)
        return text


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


def sampling_options(max_tokens: int) -> list[Callable[[Function], Function]]:
    """The flags of how replies are sampled."""
    return [
        click.option("--max-tokens", type=COUNT, default=max_tokens, show_default=True, help="Of a reply."),
        click.option(
            "--reasoning-tokens",
            type=COUNT_OR_NONE,
            default=0,
            metavar="N",
            help="Of reasoning before a reply; 0: counted within --max-tokens.",
        ),
        click.option("--temperature", type=Finite(0), default=0.7, show_default=True),
        click.option("--top-p", type=Finite(0, 1, min_open=True), default=1.0, show_default=True),
        click.option(
            "--seed",
            type=click.IntRange(-LARGEST_SEED, LARGEST_SEED),
            default=0,
            show_default=True,
            help="Of the sampling noise.",
        ),
    ]


def loading_options() -> list[Callable[[Function], Function]]:
    """The flags of where models compute, and what they may use."""
    return [
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
        click.option(
            "--threads", type=click.IntRange(0, MOST_THREADS), default=0, help="CPU threads; 0: the backend's choice."
        ),
        click.option("--cache-mb", type=COUNT_OR_NONE, default=0, help="Of each prefix cache; 0: its choice."),
        click.option("--trust-remote-code", is_flag=True, help="Let a hub model bring its own code."),
    ]


def load_from(flags: Mapping[str, Any]) -> LoadOptions:
    """What the flags of `loading_options` say."""
    from agentrm_models.load_options import LoadOptions

    return LoadOptions(
        device=flags["device"],
        threads=flags["threads"],
        cache_bytes=flags["cache_mb"] * 1_000_000,
        trust_remote_code=flags["trust_remote_code"],
    )


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
        click.option(
            "--demonstrations",
            type=Demonstrations(),
            default=0,
            metavar="N|FILE",
            help="Example episodes shown before the goal: the expert's on training tasks, or a file of them.",
        ),
        click.option(
            "--candidates",
            "candidate_kind",
            type=click.Choice(["sampled", "valid"]),
            default="sampled",
            show_default=True,
            help="valid: the policy weighs the environment's valid actions instead of writing.",
        ),
        click.option(
            "--actions",
            type=click.Choice(["text", "tools", "auto"]),
            default="text",
            show_default=True,
            help="As text or as tool calls; auto: as calls where the policy speaks them.",
        ),
        click.option("--max-steps", type=COUNT_OR_NONE, default=0, metavar="N", help="Step limit; 0: the task's."),
        *sampling_options(64),
        *loading_options(),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def serving_options(command: Function) -> Function:
    """The flags of `serve`."""
    options = [
        click.option("--policy", default="", metavar="SPEC", help="bundled:NAME, folder, .gguf, hf:…, URL, …"),
        click.option("--reward", default="", metavar="SPEC", help="bundled:NAME, folder, hf:…; needed above -n 1."),
        click.option(
            "-n", "samples", type=click.IntRange(1, 256), default=5, show_default=True, help="Replies to judge."
        ),
        click.option("--host", default="127.0.0.1", show_default=True, help="Another one than loopback needs a key."),
        click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: a free one."),
        click.option("--name", default="", metavar="NAME", help="The model's name for clients; its spec if absent."),
        click.option(
            "--key-file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Holds the key that clients must send; else AGENTRM_SERVE_KEY.",
        ),
        *sampling_options(1_024),
        click.option("--parallel", type=click.IntRange(0, 1_000), default=0, help="Requests of a round; 0: 16."),
        click.option("--queue", "room", type=COUNT, default=256, show_default=True, help="Requests that may wait."),
        click.option(
            "--idle", type=Finite(1), default=600.0, show_default=True, help="Seconds until a conversation has ended."
        ),
        *loading_options(),
        click.option("--display", type=click.Choice(["plain", "json", "none"]), default="plain", show_default=True),
        click.option("--out", callback=read_out, metavar="FILE", help="Run file; the runs folder if absent."),
    ]
    for option in reversed(options):
        command = option(command)
    return command
