"""Environments of other people: whatever is wrong with one is said in a line that leads to the code at fault."""

from __future__ import annotations

import inspect
import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import conformance
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrm_models.errors import DataError, UsageError
from agentrm_tui.environments.base import Cell, EnvironmentTraits, Picture, StepResult, Task
from agentrm_tui.environments.boundary import CheckedEnvironment, admit, waiting_for
from agentrm_tui.environments.deadline import DEADLINE_VARIABLE
from agentrm_tui.environments.declared import BaseEnvironment
from agentrm_tui.environments.maze import MazeEnvironment
from agentrm_tui.environments.registry import GROUP
from agentrm_tui.environments.returned import TEXT_LIMIT

GOOD = EnvironmentTraits(
    "fake",
    "own",
    "Counts.",
    levels=("a",),
    snapshots=True,
    valid_actions=True,
    expert=True,
    pictures=True,
    state_keys=True,
    procedural=True,
)
TASK = Task("a:0", "Count to 3.", 0, 3, "a")
RESULT = StepResult("One.", 0.5, False, True)


class FakeEnvironment(BaseEnvironment):
    """Returns what it was told to, by method; everything else is in order."""

    returns: Mapping[str, Any] = MappingProxyType({})

    @property
    def traits(self) -> EnvironmentTraits:
        return self._of("traits", GOOD)

    def instruction(self, style: str) -> str:
        return self._of("instruction", "Count.")

    def make_task(self, level: str, seed: int) -> Task:
        return Task(f"{level}:{seed}", "Count to 3.", seed, 3, level)

    def tasks(self, split: str, first_seed: int | None = None, count: int | None = None) -> Any:
        return self._of("tasks", [self.make_task("a", seed) for seed in range(5 if count is None else count)])

    def task(self, task_id: str) -> Task:
        return self._of("task", TASK)

    def reset(self, task: Task) -> str:
        return self._of("reset", "Zero.")

    def step(self, action: str) -> StepResult:
        return self._of("step", RESULT)

    def valid_actions(self) -> tuple[str, ...]:
        return self._of("valid_actions", ("add 1",))

    def snapshot(self) -> Any:
        return self._of("snapshot", 1)

    def restore(self, snapshot: Any) -> None:
        return self._of("restore", None)

    def expert(self) -> tuple[str, str]:
        return self._of("expert", ("One more.", "add 1"))

    def picture(self) -> Picture:
        return self._of("picture", Picture(((Cell("@", "agent"),),)))

    def state_key(self) -> str:
        return self._of("state_key", "0")

    def close(self) -> None:
        return self._of("close", None)

    def _of(self, method: str, value: Any) -> Any:
        found = self.returns.get(method, value)
        if isinstance(found, BaseException):
            raise found
        return found


CALLS: dict[str, Callable[[CheckedEnvironment], object]] = {
    "traits": lambda made: made.traits,
    "instruction": lambda made: made.instruction("full"),
    "tasks": lambda made: made.tasks("test", None, 3),
    "task": lambda made: made.task("a"),
    "reset": lambda made: made.reset(TASK),
    "step": lambda made: made.step("add 1"),
    "valid_actions": lambda made: made.valid_actions(),
    "snapshot": lambda made: made.snapshot(),
    "restore": lambda made: made.restore(1),
    "expert": lambda made: made.expert(),
    "picture": lambda made: made.picture(),
    "state_key": lambda made: made.state_key(),
    "close": lambda made: made.close(),
}


def wrapped(method: str = "", value: object = None) -> CheckedEnvironment:
    """The fake environment behind the boundary, one of its methods returning (or raising) something of its own."""
    inner = FakeEnvironment()
    inner.returns = {method: value} if method else {}
    return CheckedEnvironment(inner, "mine")


def refusal(method: str, value: object) -> DataError:
    """The error that a method's value ends in."""
    with pytest.raises(DataError) as caught:
        CALLS[method](wrapped(method, value))
    return caught.value


def forever() -> Iterator[Task]:
    while True:
        yield TASK


class Endless(list[Task]):
    """A sequence that says it is short and never ends."""

    def __iter__(self) -> Iterator[Task]:
        return (Task(f"a:{number}", "g", 0, 1) for number in iter(int, 1))


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def a_task(**changes: object) -> Task:
    return Task(**{"id": "a:0", "goal": "g", "seed": 0, "step_limit": 1, "level": "a", **changes})


WRONG: list[tuple[str, object, str]] = [
    *[
        ("step", RESULT._replace(outcome=outcome), "outcome")
        for outcome in (100.0, -0.01, math.nan, math.inf, None, "0.5", True, 1j, 10**5000, np.bool_(True), [1])
    ],
    *[("step", RESULT._replace(**{name: value}), name) for name in ("done", "valid") for value in (1, None, "no")],
    *[("step", RESULT._replace(text=text), "text") for text in (None, b"One", "x" * 5_000_000, "\ud800", ["One"])],
    *[("step", value, "StepResult") for value in (None, ("One.", 0.5, False, True), "One.", Unprintable())],
    *[("reset", value, "str" if value is None else "") for value in (None, b"", 7, "\udfff", "x" * (TEXT_LIMIT + 1))],
    *[("traits", value, "EnvironmentTraits") for value in (None, {}, ("fake", "own", "Counts."))],
    *[
        ("traits", GOOD._replace(**{name: value}), name)
        for name, value in [
            ("name", ""),
            ("name", None),
            ("summary", "two\nlines"),
            ("origin", "mine"),
            ("levels", ["a"]),
            ("levels", ()),
            ("levels", ("a", "a")),
            ("levels", ("a", 1)),
            ("mix", ("b",)),
            ("snapshots", 1),
            ("procedural", "yes"),
            ("left_out", "all"),
        ]
    ],
    *[("tasks", value, "list") for value in (None, "abc", 5, forever(), {TASK.id: TASK})],
    *[("tasks", value, "") for value in ([], [TASK], [TASK] * 3, [TASK, None, TASK], Endless(), [TASK] * 4)],
    *[("task", value, "Task") for value in (None, "a:0", {"id": "a:0"})],
    *[
        ("task", a_task(**{name: value}), name)
        for name, value in [
            ("id", ""),
            ("id", 3),
            ("goal", None),
            ("step_limit", 0),
            ("step_limit", -1),
            ("step_limit", True),
            ("step_limit", 2.5),
            ("seed", -1),
            ("seed", 10**18),
            ("seed", "0"),
            ("level", None),
        ]
    ],
    *[("valid_actions", value, "") for value in (None, "add 1", {"add 1"}, (1,), ("",), ("x" * 2_001,), ("\ud800",))],
    ("valid_actions", ("add 1",) * 1_000_000, "1,000,000"),
    *[("expert", value, "") for value in (None, "add 1", ("add 1",), (None, "add 1"), ("", 1))],
    *[("state_key", value, "") for value in (None, 0, b"0")],
    *[
        ("picture", value, "")
        for value in (
            None,
            Picture([]),
            Picture(((Cell("@", "agent"),), ())),
            Picture((("@",),)),
            Picture(((Cell("@@", "agent"),),)),
            Picture(((Cell("\x1b", "agent"),),)),
            Picture(((Cell("@", "hero"),),)),
            Picture(((Cell("@", "agent", "pink"),),)),
            Picture(((Cell("@", "agent"),) * 501,)),
            Picture((), None),
        )
    ],
    *[("instruction", value, "") for value in (None, b"Count.")],
]


@pytest.mark.parametrize(("method", "value", "named"), WRONG, ids=[f"{each[0]}-{n}" for n, each in enumerate(WRONG)])
def test_what_a_method_must_not_return_is_refused_by_class_method_value_and_line(
    method: str, value: object, named: str
) -> None:
    error = refusal(method, value)
    written = inspect.getattr_static(FakeEnvironment, method)
    line = inspect.unwrap(getattr(written, "fget", written)).__code__.co_firstlineno
    assert error.cause.startswith(f"environment 'mine': FakeEnvironment.{method} ")
    assert error.cause.endswith(f"({__file__}:{line})")
    assert named in str(error)
    assert error.remedy and str(error).isprintable() and len(str(error)) < 600


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("division\nby \x1b[31mzero"), SystemExit(0), RecursionError("x" * 10**6), StopIteration()],
    ids=lambda error: type(error).__name__ if isinstance(error, BaseException) else None,
)
def test_what_a_method_raises_is_told_with_the_line_that_raised_it(method: str, error: BaseException) -> None:
    refused = refusal(method, error)
    assert f"FakeEnvironment.{method} raised {type(error).__name__}" in refused.cause
    raising = inspect.getsourcelines(FakeEnvironment._of)
    assert f"{__file__}:{raising[1] + raising[0].index('            raise found' + chr(10))}" in refused.cause
    assert str(refused).isprintable() and len(str(refused)) < 600


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), UsageError("no such task")])
def test_what_is_not_a_fault_of_the_environment_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        CALLS["step"](wrapped("step", error))
    assert caught.value is error


@given(st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.binary(), st.lists(st.integers()), st.booleans()))
@settings(max_examples=200)
def test_whatever_an_outcome_is_it_is_a_number_from_0_to_1_or_refused(outcome: object) -> None:
    made = wrapped("step", RESULT._replace(outcome=outcome))
    fits = isinstance(outcome, int | float) and not isinstance(outcome, bool) and 0 <= outcome <= 1
    if fits:
        assert made.step("add 1").outcome == outcome
        return
    with pytest.raises(DataError, match=r"FakeEnvironment\.step returned outcome"):
        made.step("add 1")


@pytest.mark.parametrize("outcome", [0, 1, 0.5, np.float32(0.5), np.float64(1), np.int64(1)])
def test_an_outcome_of_a_library_becomes_a_plain_number(outcome: Any) -> None:
    result = wrapped("step", RESULT._replace(outcome=outcome)).step("add 1")
    assert type(result.outcome) is float and result == RESULT._replace(outcome=float(outcome))


@pytest.mark.parametrize("method", CALLS)
def test_what_is_in_order_passes_as_it_is(method: str) -> None:
    expected = CALLS[method](FakeEnvironment())
    assert CALLS[method](wrapped()) == expected


def test_a_wrapped_environment_keeps_the_rules_as_it_did_before() -> None:
    def make() -> CheckedEnvironment:
        return CheckedEnvironment(MazeEnvironment(), "maze")

    tasks = conformance.sample_tasks(make(), 4)
    conformance.check_traits(make, "maze")
    conformance.check_tasks(make)
    conformance.check_instructions(make)
    conformance.check_snapshots(make, tasks)
    conformance.check_instances_apart(make, tasks)
    conformance.check_any_text(make, tasks, conformance.HOSTILE)
    conformance.check_pictures(make, tasks)
    assert conformance.check_expert(make, tasks) == conformance.check_expert(MazeEnvironment, tasks)


@pytest.mark.parametrize(
    ("trait", "method"),
    [
        ("snapshots", "snapshot"),
        ("snapshots", "restore"),
        ("valid_actions", "valid_actions"),
        ("expert", "expert"),
        ("pictures", "picture"),
        ("state_keys", "state_key"),
    ],
)
@pytest.mark.parametrize("missing", [None, "refused"])
def test_what_traits_declare_must_be_there_and_the_rest_is_not_offered(
    trait: str, method: str, missing: str | None
) -> None:
    absent = getattr(BaseEnvironment, method) if missing else missing
    inner = type("Half", (FakeEnvironment,), {method: absent})
    with pytest.raises(DataError, match=rf"Half\.{method} is declared by its traits but does not exist"):
        CheckedEnvironment(inner(), "mine")
    inner.returns = {"traits": GOOD._replace(**{trait: False})}
    with pytest.raises(UsageError, match=f"'mine' does not offer {trait.replace('_', ' ')}"):
        CALLS[method](CheckedEnvironment(inner(), "mine"))


def test_no_levels_and_no_list_of_tasks_is_no_environment() -> None:
    class Bare(FakeEnvironment):
        returns = MappingProxyType({"traits": GOOD._replace(levels=(), procedural=False)})

    assert CheckedEnvironment(Bare(), "mine").tasks("test", None, 2)
    Bare.tasks = BaseEnvironment.tasks
    with pytest.raises(DataError, match=r"Bare\.traits has no levels"):
        CheckedEnvironment(Bare(), "mine")


@pytest.mark.parametrize("inner", [None, 5, "maze", object(), FakeEnvironment])
def test_what_is_no_environment_is_said_to_be_none(inner: object) -> None:
    with pytest.raises(DataError, match=r"does not exist|not EnvironmentTraits"):
        CheckedEnvironment(inner, "mine").tasks("test")


def test_what_it_prints_does_not_reach_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    class Loud(FakeEnvironment):
        def _of(self, method: str, value: Any) -> Any:
            print(f"{method} was called")
            return value

    made = CheckedEnvironment(Loud(), "mine")
    for call in CALLS.values():
        call(made)
    assert capsys.readouterr().out == ""


def test_the_call_it_is_in_is_known_while_it_lasts() -> None:
    seen = []

    class Slow(FakeEnvironment):
        def _of(self, method: str, value: Any) -> Any:
            seen.append(waiting_for())
            return value

    made = CheckedEnvironment(Slow(), "mine")
    for call in CALLS.values():
        call(made)
    assert [waiting.what for waiting in seen if waiting is not None] == [f"Slow.{method}" for method in CALLS]
    assert waiting_for() is None


def test_a_call_that_blocks_ends_at_its_deadline_in_the_line_where_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    class Blocked(FakeEnvironment):
        def step(self, action: str) -> StepResult:
            threading.Event().wait()
            return RESULT

    monkeypatch.setenv(DEADLINE_VARIABLE, "0.05")
    with pytest.raises(DataError, match=r"Blocked\.step raised TimeoutError: no answer in 0\.05 s") as caught:
        CheckedEnvironment(Blocked(), "mine").step("add 1")
    _, first = inspect.getsourcelines(Blocked.step)
    assert f"{__file__}:{first + 1}" in caught.value.cause
    assert wrapped().step("add 1") == RESULT
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "1e9"])
def test_a_deadline_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEADLINE_VARIABLE, text)
    with pytest.raises(UsageError, match=DEADLINE_VARIABLE):
        wrapped()


def test_it_is_closed_once() -> None:
    made = wrapped("close", OSError("gone"))
    with pytest.raises(DataError, match=r"FakeEnvironment\.close raised OSError: gone"):
        made.close()
    made.close()


class Point:
    """An entry point to a file."""

    def __init__(self, value: str) -> None:
        self.value = value

    def load(self) -> Any:
        module, _, name = self.value.partition(":")
        return getattr(__import__(module), name)


BROKEN = {
    "raise OSError('no display')": "cannot be imported: OSError: no display",
    "import not_there_at_all": "cannot be imported: ModuleNotFoundError",
    "def broken(:": "cannot be imported: SyntaxError",
    "import sys; sys.exit(3)": "cannot be imported: SystemExit: 3",
    "Other = 1": "cannot be imported: AttributeError",
    "Mine = 7": "is 7, not a class",
    "class Mine:\n    def __init__(self): {}['a']": "Mine.__init__ raised KeyError: 'a'",
    "class Mine:\n    def __init__(self, where): pass": "Mine.__init__ raised TypeError",
    "from agentrm_tui.environments.declared import *; Mine = BaseEnvironment": "BaseEnvironment.__init__ raised Type",
    "class Mine: pass": "Mine.instruction does not exist",
}


@pytest.mark.parametrize(("source", "words"), BROKEN.items())
def test_a_module_that_does_not_work_is_named_with_its_line(
    source: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"broken_{abs(hash(source)) % 10**9}"
    (tmp_path / f"{name}.py").write_text(f"{source}\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        with pytest.raises(DataError) as caught:
            admit("mine", Point(f"{name}:Mine"))
    finally:
        sys.modules.pop(name, None)
    assert words in caught.value.cause and str(caught.value).isprintable()
    if "raise" in source or "{}" in source or "exit" in source or "def broken" in source:
        assert f"{name}.py:{2 if '{}' in source else 1}" in caught.value.cause


PLUGIN = """
from agentrm_tui.environments.maze import MazeEnvironment
print("noise while it is imported")

class Good(MazeEnvironment):
    def reset(self, task):
        print("noise while it is reset")
        return super().reset(task)

class Wild(Good):
    def step(self, action):
        return super().step(action)._replace(outcome=100)

class Raises(Good):
    def __init__(self):
        raise OSError("no licence")

class Closes(Good):
    def close(self):
        raise OSError("gone")
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the program where a package with good and broken environments is installed."""
    (tmp_path / "theirs.py").write_text(PLUGIN)
    (tmp_path / "broken.py").write_text("raise RuntimeError('never finished')\n")
    installed = tmp_path / "theirs-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    points = [f"their-{name.lower()} = theirs:{name}" for name in ("Good", "Wild", "Raises", "Closes")]
    points.append("their-import = broken:Mine")
    (installed / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *points, ""]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )

    return run


def test_a_broken_plugin_alone_is_listed_as_broken(plugin: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    listed = plugin("agentrm_tui", "list", "environments")
    assert listed.returncode == 0 and "noise" not in listed.stdout
    rows = {line.split()[0]: line for line in listed.stdout.splitlines() if line.strip()}
    broken = {name for name, row in rows.items() if "broken:" in row}
    assert broken == {"their-raises", "their-closes", "their-import"}
    assert "broken.py:1" in rows["their-import"] and "never finished" in rows["their-import"]
    assert "theirs.py:16" in rows["their-raises"] and "no licence" in rows["their-raises"]
    assert {"maze", "their-good", "their-wild"} <= rows.keys()


def test_the_launcher_is_told_in_one_line(plugin: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    asked = plugin("agentrm_tui.ui.catalog", "their-import")
    assert asked.returncode == DataError.exit_code and asked.stdout == ""
    assert asked.stderr.startswith("environment 'their-import': broken:Mine cannot be imported: RuntimeError")
    assert asked.stderr.count("\n") == 1


def test_a_run_prints_only_data_and_believes_nothing_wild(
    plugin: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    play = ["--policy", "scripted", "--search", "greedy", "--tasks", "2", "--display", "json", "--out"]
    good = plugin("agentrm_tui", "run", "their-good", *play, "good.jsonl")
    assert good.returncode == 0, good.stderr
    assert [json.loads(line)["type"] for line in good.stdout.splitlines()][-1] == "run_finished"
    wild = plugin("agentrm_tui", "run", "their-wild", *play, "wild.jsonl")
    assert wild.returncode == DataError.exit_code
    finished = json.loads(wild.stdout.splitlines()[-1])
    assert finished["type"] == "run_finished" and finished["scores"] == [None, None] and finished["score_mean"] == 0
    assert "Wild.step returned outcome 100" in wild.stderr.splitlines()[-1]
