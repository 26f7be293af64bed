"""The Z-machine (Frotz, through `jericho`): commands in, cleaned text out, exact snapshots, no way out of the game."""

from __future__ import annotations

import re
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from agentrm_models.errors import MissingExtraError

EXTRA = "interactive-fiction"
_LONGEST = 100
"""Characters that a command may have; the machine cuts at 198."""
_COMMAND = re.compile(r"[a-z0-9][a-z0-9 ,'\"?-]*")
_FORBIDDEN = frozenset(
    ("save", "restore", "restart", "quit", "q", "undo", "script", "unscript", "transcript", "recording", "replay")
)
"""First words that write files, leave the game, or take turns back."""
_SEVERAL = re.compile(r"\bthen\b|,")
"""What makes several commands of one."""
_STATUS_LINE = re.compile(r"^>.*\S {8,}\S.*$|>? {20,}\S.*$")
"""Where the player is, and the score or the time: its own line, behind the prompt in stories of version 3."""
_PROMPT = re.compile(r"\s*>\s*$")
_LEFT_PROMPT = re.compile(r"^>\s*(?:\n|$)")
"""The prompt of the command before, where a story does not show it at once."""


def require(module: str) -> Any:
    """Import a part of the extra.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"this game needs {module.partition('.')[0]}, which is not installed ({error})",
            f"pip install 'agentrm-tui[{EXTRA}]'",
        ) from error


class Memory(NamedTuple):
    """The machine's frozen state, as jericho gives it: memory, stack, registers, random numbers, last text."""

    parts: tuple[Any, ...]

    def content(self) -> bytes:
        """All of it as bytes, to compare by."""
        return b"\x00".join(part.tobytes() if hasattr(part, "tobytes") else repr(part).encode() for part in self.parts)


class Machine:
    """One Z-machine; it is loaded with one story file after another.

    Raises:
        DataError: The extra is missing, or the file is none that the machine can read.
    """

    def __init__(self) -> None:
        self._frotz: Any = None
        self._loaded: tuple[str, int] | None = None

    def load(self, story: Path, seed: int) -> str:
        """Start a story file from its beginning; returns its first text, as it came."""
        jericho = require("jericho")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self._frotz is None:
                self._frotz = jericho.FrotzEnv(str(story), seed=seed)
            elif self._loaded != (str(story), seed):
                self._frotz.load(str(story), seed=seed)
            text: str = self._frotz.reset()[0]
        self._loaded = (str(story), seed)
        return text

    @property
    def frotz(self) -> Any:
        """The interpreter, for what it knows about the games it supports."""
        return self._frotz

    @property
    def halted(self) -> bool:
        """The story did what no story may do, and was stopped; it answers nothing any more."""
        return bool(self._frotz.frotz_lib.halted())

    def holds(self, story: Path, seed: int) -> bool:
        """This story file is loaded with this seed."""
        return self._loaded == (str(story), seed)

    def say(self, command: str) -> str:
        """Type a command; returns the answer as it came."""
        return str(self._frotz.step(command)[0])

    def ask(self, command: str) -> str:
        """Type a command and take it back: the game does not notice."""
        memory = self.freeze()
        text = self.say(command)
        self.thaw(memory)
        return text

    def freeze(self) -> Memory:
        """Take a snapshot; exact, with the state of the random numbers."""
        return Memory(tuple(self._frotz.get_state()))

    def thaw(self, memory: Memory) -> None:
        """Go back to a snapshot of this story file; one that was stopped is begun again for that."""
        if self.halted:
            self._frotz.reset()
        self._frotz.set_state(memory.parts)

    def close(self) -> None:
        """Free the interpreter's memory."""
        if self._frotz is not None:
            self._frotz.close()
            self._frotz, self._loaded = None, None


def read_command(action: str) -> str:
    """The one command that an action is; empty where it is none, several, or one that leaves the game."""
    text = " ".join(action.lower().split()).rstrip(".!") if len(action) <= _LONGEST else ""
    if not text.isascii() or not _COMMAND.fullmatch(text) or _SEVERAL.search(text):
        return ""
    first = text.split()[0]
    return "" if first in _FORBIDDEN or first.startswith("tw-") else text


def clean(text: str) -> str:
    """An answer without status line, prompt, blank lines and what cannot be shown."""
    lines = [_STATUS_LINE.sub("", line).strip() for line in text.splitlines()]
    joined = "\n".join(" ".join(line.split()) for line in lines if line)
    shown = "".join(char for char in joined if char == "\n" or char.isprintable())
    return _PROMPT.sub("", _LEFT_PROMPT.sub("", shown)).strip()
