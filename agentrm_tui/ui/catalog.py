"""What an environment offers (levels, mix), asked of a short-lived child process.

Importing an environment can be slow and can print (minigrid does both), so the screen's process never does it.
"""

from __future__ import annotations

import asyncio
import sys

import msgspec

from agentrm_models.errors import AgentRMError, DataError
from agentrm_models.terminal_text import on_one_line
from agentrm_tui.environments.registry import make_environment

FIXED_TASKS = 500
"""Tasks listed at most for environments with a fixed list."""


class Offer(msgspec.Struct, frozen=True):
    """What the launcher needs to know of an environment.

    Attributes:
        levels: Names of all levels.
        mix: The levels that seeds cycle through.
        procedural: Any seed gives a task; otherwise `tasks` lists the ids.
    """

    name: str
    summary: str = ""
    levels: tuple[str, ...] = ()
    mix: tuple[str, ...] = ()
    procedural: bool = True
    tasks: tuple[str, ...] = ()


def describe(name: str) -> Offer:
    """Create the environment and describe it. Raises `UsageError` or `DataError` where that fails."""
    environment = make_environment(name)
    traits = environment.traits
    tasks = () if traits.procedural else tuple(task.id for task in environment.tasks("test", None, FIXED_TASKS))
    environment.close()
    return Offer(name, traits.summary, traits.levels, traits.mix or traits.levels, traits.procedural, tasks)


async def ask(name: str) -> Offer:
    """Describe an environment without importing it here.

    Raises:
        DataError: The environment does not work, in its own words, or the child process failed.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agentrm_tui.ui.catalog",
        name,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    if process.returncode != 0:
        last = errors.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no message"]
        if process.returncode == DataError.exit_code:
            raise DataError(last[0])
        raise DataError(f"environment {name!r} cannot be described: {last[0]}")
    try:
        return msgspec.json.decode(output.splitlines()[-1], type=Offer)
    except (msgspec.DecodeError, IndexError) as error:
        raise DataError(f"environment {name!r} described itself in an unknown way: {error}") from error


if __name__ == "__main__":
    try:
        offer = describe(sys.argv[1])
    except AgentRMError as error:
        sys.stderr.write(f"{on_one_line(str(error))}\n")
        sys.exit(DataError.exit_code)
    print(msgspec.json.encode(offer).decode())
