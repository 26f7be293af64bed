"""The boundary to environments that others wrote: all that comes from them is checked here before anything believes it.

A fault ends in a `DataError` that names the class, the method, the value and the line of code. What such an environment
prints goes to stderr, and the call that it is in is known while it lasts.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from time import time
from types import TracebackType
from typing import Any, NamedTuple, Protocol, TypeVar

from agentrm_models.errors import AgentRMError, DataError, UsageError
from agentrm_models.functions import ActionFunctions
from agentrm_models.messages import PromptStyle
from agentrm_models.terminal_text import on_one_line
from agentrm_tui.environments import deadline
from agentrm_tui.environments.action_function import one_function
from agentrm_tui.environments.base import EnvironmentTraits, Picture, Split, StepResult, Task
from agentrm_tui.environments.declared import BaseEnvironment
from agentrm_tui.environments.returned import (
    Unfit,
    check_actions,
    check_expert,
    check_functions,
    check_picture,
    check_result,
    check_task,
    check_tasks,
    check_text,
    check_traits,
    shown,
)

Value = TypeVar("Value")

REQUIRED = ("instruction", "tasks", "task", "reset", "step", "close")
OPTIONAL = {
    "snapshots": ("snapshot", "restore"),
    "valid_actions": ("valid_actions",),
    "expert": ("expert",),
    "pictures": ("picture",),
    "state_keys": ("state_key",),
}
"""Methods that belong to each trait that an environment declares."""

_ERROR_CHARACTERS = 200
_NOT_THEIRS = (__file__, deadline.__file__, importlib.metadata.__file__)


class Waiting(NamedTuple):
    """A call into an environment that has not returned.

    Attributes:
        what: `CLASS.METHOD`.
        since: When it began, in wall-clock seconds.
    """

    what: str
    since: float


_waiting: Waiting | None = None


def waiting_for() -> Waiting | None:
    """The call into someone else's environment that this process is in now; asked from another thread."""
    return _waiting


class EntryPointLike(Protocol):
    """As much of `importlib.metadata.EntryPoint` as is needed to load a class."""

    @property
    def value(self) -> str:
        """`MODULE:CLASS`."""
        ...

    def load(self) -> Any:
        """Import the module and return the class."""
        ...


def admit(name: str, point: EntryPointLike, *address: str) -> CheckedEnvironment:
    """Import, make and wrap an environment that did not come with this program.

    Args:
        address: What its class is made with, if anything.

    Raises:
        DataError: It cannot be imported or made, or declares what it does not have.
        AgentRMError: Its own words, where it raises such errors itself.
    """
    where = f"environment {name!r}: {point.value or 'its entry point'}"
    with _in_call(f"import {point.value}", lambda error: _raised(f"{where} cannot be imported:", error, "")):
        made_by = point.load()
    if not callable(made_by):
        raise DataError(f"{where} is {shown(made_by)}, not a class", "Correct the entry point.")
    called = getattr(made_by, "__name__", point.value)
    home = _file_of(made_by)
    with _in_call(
        f"{called}.__init__", lambda error: _raised(f"environment {name!r}: {called}.__init__ raised", error, home)
    ):
        inner = made_by(*address)
    return CheckedEnvironment(inner, name)


class CheckedEnvironment:
    """Another environment whose every value is checked; it fails in words that lead to the line at fault.

    Args:
        inner: The environment.
        name: What it is called by the person who asked for it.

    Raises:
        DataError: Its traits are unfit, or do not agree with its methods.
    """

    def __init__(self, inner: Any, name: str) -> None:
        self._inner = inner
        self._name = name
        self._class = type(inner)
        self._closed = False
        for method in REQUIRED:
            if not callable(getattr(inner, method, None)):
                raise self._fault("does not exist", method, "Derive the class from BaseEnvironment.")
        self._traits: EnvironmentTraits = self._checked("traits", lambda: inner.traits, check_traits, "has")
        self._check_declared()

    @property
    def traits(self) -> EnvironmentTraits:
        """Those of the environment, as they were when it was made."""
        return self._traits

    def instruction(self, style: PromptStyle) -> str:
        """What a model is told before the goal."""
        return self._checked("instruction", lambda: self._inner.instruction(style), check_text)

    def tasks(self, split: Split, first_seed: int | None = None, count: int | None = None) -> Sequence[Task]:
        """List tasks."""

        def check(value: object) -> list[Task]:
            return check_tasks(value, count, self._traits.procedural)

        return self._checked("tasks", lambda: self._inner.tasks(split, first_seed, count), check)

    def task(self, task_id: str) -> Task:
        """Find a task by id."""
        return self._checked("task", lambda: self._inner.task(task_id), check_task)

    def reset(self, task: Task) -> str:
        """Start an episode."""
        return self._checked("reset", lambda: self._inner.reset(task), check_text)

    def step(self, action: str) -> StepResult:
        """Take one action."""
        return self._checked("step", lambda: self._inner.step(action), check_result)

    def functions(self, task: Task) -> ActionFunctions:
        """The actions as functions; one function where the environment says nothing of them."""
        if not callable(getattr(self._inner, "functions", None)):
            return one_function(self.instruction("full"))
        return self._checked("functions", lambda: self._inner.functions(task), check_functions)

    def valid_actions(self) -> tuple[str, ...]:
        """Actions that are accepted now."""
        return self._optional("valid_actions", "valid_actions", check_actions)

    def snapshot(self) -> Any:
        """Freeze the state."""
        return self._optional("snapshots", "snapshot", _anything)

    def restore(self, snapshot: Any) -> None:
        """Go back to a frozen state."""
        self._optional("snapshots", "restore", _anything, snapshot)

    def expert(self) -> tuple[str, str]:
        """The expert's thought and action."""
        return self._optional("expert", "expert", check_expert)

    def picture(self) -> Picture:
        """The current state as a grid."""
        return self._optional("pictures", "picture", check_picture)

    def state_key(self) -> str:
        """Equal keys, equal futures."""
        return self._optional("state_keys", "state_key", check_text)

    def close(self) -> None:
        """End the environment, once."""
        if not self._closed:
            self._closed = True
            self._checked("close", self._inner.close, _anything)

    def __getattr__(self, name: str) -> Any:
        """What the environment offers beside the interface, such as remarks for `doctor`."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._inner, name)

    def _optional(self, trait: str, method: str, check: Callable[[object], Value], *arguments: object) -> Value:
        if not getattr(self._traits, trait):
            raise UsageError(f"environment {self._name!r} does not offer {trait.replace('_', ' ')}")
        return self._checked(method, lambda: getattr(self._inner, method)(*arguments), check)

    def _checked(
        self, method: str, call: Callable[[], object], check: Callable[[object], Value], verb: str = "returned"
    ) -> Value:
        """Make a call and check what it gives."""
        with _in_call(f"{self._class.__name__}.{method}", lambda error: self._raised(method, error)):
            value = call()
        try:
            return check(value)
        except Unfit as unfit:
            raise self._fault(f"{verb} {unfit.found}", method, unfit.remedy) from None

    def _check_declared(self) -> None:
        declared = [name for trait, names in OPTIONAL.items() if getattr(self._traits, trait) for name in names]
        for method in declared:
            own = getattr(self._class, method, None)
            if own is getattr(BaseEnvironment, method) or not callable(getattr(self._inner, method, None)):
                raise self._fault("is declared by its traits but does not exist", method, "Write it, or declare less.")
        if not self._traits.levels and getattr(self._class, "tasks", None) is BaseEnvironment.tasks:
            raise self._fault("has no levels, so no task can be made", "traits", "Name at least one: levels=('easy',).")

    def _fault(self, what: str, method: str, remedy: str) -> DataError:
        place = _place_of(self._class, method)
        return DataError(f"environment {self._name!r}: {self._class.__name__}.{method} {what}{place}", remedy)

    def _raised(self, method: str, error: BaseException) -> DataError:
        where = f"environment {self._name!r}: {self._class.__name__}.{method} raised"
        return _raised(where, error, _file_of(self._class))


def _anything(value: Value) -> Value:
    return value


@contextmanager
def _in_call(what: str, in_words: Callable[[BaseException], DataError]) -> Iterator[None]:
    """Around a call into someone else's code: what is printed goes to stderr, what is raised is put into words."""
    global _waiting
    before, _waiting = _waiting, Waiting(what, time())
    try:
        with deadline.limited(), redirect_stdout(sys.stderr):
            yield
    except (AgentRMError, KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:  # SystemExit too: an environment does not end the program
        raise in_words(error) from error
    finally:
        _waiting = before


def _raised(where: str, error: BaseException, home: str) -> DataError:
    """An exception in words, with the innermost line of the environment's own file, or of any file."""
    try:
        words = on_one_line(str(error)[:_ERROR_CHARACTERS])
    except Exception:
        words = ""
    kind = type(error).__name__
    return DataError(
        f"{where} {kind}{f': {words}' if words else ''}{_line_of(error, home)}",
        "This is a fault of the environment.",
    )


def _line_of(error: BaseException, home: str) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return _place(error.filename, error.lineno)
    lines = [
        (frame.tb_frame.f_code.co_filename, frame.tb_lineno)
        for frame in _frames(error.__traceback__)
        if frame.tb_frame.f_code.co_filename not in _NOT_THEIRS
    ]
    for own in (lambda file: file == home, lambda file: not file.startswith("<")):
        if at := next(((file, line) for file, line in reversed(lines) if own(file)), None):
            return _place(*at)
    return ""


def _frames(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _place_of(made_by: type, method: str) -> str:
    """File and line of a method, or of the class where it has none of that name in Python."""
    written = inspect.getattr_static(made_by, method, None)
    function = inspect.unwrap(getattr(written, "fget", None) or getattr(written, "__func__", written) or made_by)
    code = getattr(function, "__code__", None)
    if code is not None:
        return _place(code.co_filename, code.co_firstlineno)
    try:
        return _place(_file_of(made_by), inspect.getsourcelines(made_by)[1])
    except (OSError, TypeError):
        return ""


def _file_of(made_by: Any) -> str:
    try:
        return inspect.getfile(made_by)
    except (OSError, TypeError):
        return ""


def _place(file: str, line: int | None) -> str:
    return f" ({on_one_line(file)}:{line})"
