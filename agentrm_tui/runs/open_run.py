"""The one door to a run: from a plan and a file to loaded models, a checked environment, and a run that can be driven.

Engine, headless runs and every stage of the trainer come in here. Nothing is written to the run file before the plan
was found to work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar, runtime_checkable

import msgspec

from agentrm_models.errors import DataError
from agentrm_models.http import WaitHook, waits_told_to
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Conversation
from agentrm_models.policies.valid_actions import among_valid_actions
from agentrm_models.server_address import keys_withheld
from agentrm_models.trie.ledger import begin_run
from agentrm_tui.environments.base import Environment
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.runs.action_form import decide_actions
from agentrm_tui.runs.batch import run_plan
from agentrm_tui.runs.control import Control
from agentrm_tui.runs.demonstrations import demonstrations_of
from agentrm_tui.runs.events import AnyEvent, ModelLoading
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.state import RunState
from agentrm_tui.runs.store import RunWriter, load_state
from agentrm_tui.settings import untrained

if TYPE_CHECKING:
    from agentrm_models.policies.base import Policy
    from agentrm_models.rewards.base import RewardModel

Loaded = TypeVar("Loaded", "Policy", "RewardModel", Environment)
Model = TypeVar("Model", "Policy", "RewardModel")
Loadable = Literal["policy", "reward", "environment"]
Report = Callable[[str], None]
"""Told in words what is being loaded; may raise `InterruptedRun`."""


@runtime_checkable
class Speaks(Protocol):
    """Has something to say about how it was loaded."""

    notice: str


class ModelSource(Protocol):
    """Where a run's models come from, and who frees them."""

    def check(self, plan: RunPlan) -> None:
        """Refuse names that cannot be loaded, before anything is."""
        ...

    def policy(self, spec: str, options: LoadOptions) -> Policy:
        """The policy of a spec."""
        ...

    def reward(self, spec: str, options: LoadOptions) -> RewardModel:
        """The reward model of a spec."""
        ...

    def release(self) -> None:
        """The run has ended."""
        ...


class FreshModels:
    """Loads what is asked for, and frees it when the run has ended."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def check(self, plan: RunPlan) -> None:
        """Take both specs apart, so that a misspelt one is found at once."""
        from agentrm_models.specs import parse_spec

        parse_spec(plan.policy, "policy")
        if plan.reward:
            parse_spec(plan.reward, "reward")

    def policy(self, spec: str, options: LoadOptions) -> Policy:
        """Load a policy."""
        from agentrm_models.specs import load_policy

        policy = load_policy(spec, options)
        self._stack.callback(policy.close)
        return policy

    def reward(self, spec: str, options: LoadOptions) -> RewardModel:
        """Load a reward model."""
        from agentrm_models.specs import load_reward

        reward = load_reward(spec, options)
        self._stack.callback(reward.close)
        return reward

    def release(self) -> None:
        """Free all that was loaded."""
        self._stack.close()


class OpenRun:
    """A run that is ready to be driven, once.

    Attributes:
        plan: What is run; that of the file, where one is resumed.
        policy, reward: The models.
        resumed: The state that the file holds; None for a fresh run.
    """

    def __init__(
        self,
        plan: RunPlan,
        policy: Policy,
        reward: RewardModel | None,
        *,
        resumed: RunState | None,
        writer: RunWriter | None,
        loading: list[ModelLoading],
        environment: Environment,
        keep_trees: bool,
        demonstrations: Sequence[Conversation],
    ) -> None:
        self.plan, self.policy, self.reward, self.resumed = plan, policy, reward, resumed
        self._writer, self._loading, self._spare = writer, loading, [environment]
        self._keep_trees, self._demonstrations = keep_trees, demonstrations

    @property
    def loading(self) -> Sequence[ModelLoading]:
        """What loading the models and the environment took."""
        return self._loading

    def write(self, event: AnyEvent) -> None:
        """Append an event to the run file, where there is one."""
        if self._writer is not None:
            self._writer.append(event)

    def drive(self, control: Control | None = None, watch: Callable[[AnyEvent], None] | None = None) -> RunState:
        """Run to the end and return the final state; errors as in `run_plan`.

        Args:
            watch: Called with each event once it is in the file.
        """

        def emit(event: AnyEvent) -> None:
            self.write(event)
            if watch is not None:
                watch(event)

        begin_run()
        return run_plan(
            self.plan,
            policy=self.policy,
            reward=self.reward,
            emit=emit,
            control=control,
            resume=self.resumed,
            loading=self._loading,
            environments=lambda name: self._spare.pop() if self._spare else make_environment(name),
            keep_trees=self._keep_trees,
            demonstrations=self._demonstrations,
        )

    def close(self) -> None:
        """End the environment that was made to check the plan, if the run never took it."""
        while self._spare:
            self._spare.pop().close()


@contextmanager
def open_run(
    plan: RunPlan,
    path: Path | None = None,
    *,
    resume: bool = False,
    models: ModelSource | None = None,
    report: Report | None = None,
    on_wait: WaitHook | None = None,
    keep_trees: bool = True,
    environments: Callable[[str], Environment] = make_environment,
    send_key: bool = True,
) -> Iterator[OpenRun]:
    """Load what a plan names, for the length of the block.

    Args:
        path: The run file; None keeps no record.
        resume: The file holds a run to go on with: its own plan is taken, with the load options of this one. A file
            without any event is begun.
        models: Where models come from; loaded here and freed at the end by default.
        report: Told before and after each part is loaded.
        on_wait: Told what a server is waited for meanwhile; `report` where absent.
        keep_trees: Keep the trees of all ended episodes in memory, not only of the last few.
        environments: Makes the environment of the plan's name.
        send_key: Servers of models may be sent a key. Whoever did not type their addresses says no; those that only the
            resumed file names are sent none in any case.

    Raises:
        UsageError: A spec, environment or task that does not exist.
        DataError: The file holds a run and nobody asked to resume it, or is none; a model cannot be loaded.
    """
    source = models or FreshModels()
    source.check(plan)
    with ExitStack() as stack:
        resumed, writer = None, None
        if path is not None:
            stack.callback(_take_away, [folder for folder in path.parents if not folder.exists()])
            writer = RunWriter(path)
            stack.callback(writer.close)
            resumed = _resumed(path, writer, resume)
        if resumed is not None and resumed.run is not None:
            send_key = send_key and plan.names_same_models(resumed.run.plan)
            plan = msgspec.structs.replace(resumed.run.plan, load=plan.load)
        if not send_key:
            stack.enter_context(keys_withheld())
        stack.callback(source.release)
        loading = _Loading(plan.environment, report or _say_nothing, on_wait)
        run = _load(plan, source, loading, environments, resumed=resumed, writer=writer, keep_trees=keep_trees)
        stack.callback(run.close)
        yield run


def _load(
    plan: RunPlan,
    source: ModelSource,
    loading: _Loading,
    environments: Callable[[str], Environment],
    *,
    resumed: RunState | None,
    writer: RunWriter | None,
    keep_trees: bool,
) -> OpenRun:
    """Load what a plan names, and check its tasks."""
    environment = loading.load("environment", plan.environment, lambda: environments(plan.environment))
    try:
        tasks = [environment.task(task) for task in plan.tasks]
        shown: Sequence[Conversation] = ()
        if plan.demonstrations and (resumed is None or resumed.run is None):
            shown = demonstrations_of(plan, environment, tasks, environments)
        policy = loading.load_model("policy", plan.policy, lambda: source.policy(plan.policy, plan.load))
        policy = among_valid_actions(policy) if plan.candidates == "valid" else policy
        plan, notice = decide_actions(plan, policy, environment)
        loading.add_notice(notice)
        reward = None
        if plan.reward:
            reward = loading.load_reward(plan.reward, lambda: source.reward(plan.reward, plan.load))
    except BaseException:
        environment.close()
        raise
    return OpenRun(
        plan,
        policy,
        reward,
        resumed=resumed,
        writer=writer,
        loading=loading.events,
        environment=environment,
        keep_trees=keep_trees,
        demonstrations=shown,
    )


def _resumed(path: Path, writer: RunWriter, resume: bool) -> RunState | None:
    """The state to go on from; None for a fresh file, and for one whose run ended before its first event."""
    if not writer.events:
        return None
    if not resume:
        raise DataError(f"{path} exists already", "Resume it, or write to another file.")
    return load_state(path)


class _Loading:
    """Loads one part after another, and notes how long each took and what it has to say."""

    def __init__(self, environment: str, report: Report, on_wait: WaitHook | None) -> None:
        self._environment = environment
        self._report = report
        self._on_wait = on_wait
        self.events: list[ModelLoading] = []

    def load(self, what: Loadable, name: str, load: Callable[[], Loaded]) -> Loaded:
        """Load one part."""
        self._report(f"{what} {name}")
        began = perf_counter()
        with waits_told_to(self._on_wait or (lambda words: self._report(f"{what} {name}: {words}"))):
            loaded = load()
        milliseconds = round((perf_counter() - began) * 1e3, 3)
        notice = loaded.notice if isinstance(loaded, Speaks) else ""
        self.events.append(ModelLoading(what=what, name=name, milliseconds=milliseconds, notice=notice))
        self._report(f"{what} {name}")
        return loaded

    def load_model(self, what: Literal["policy", "reward"], name: str, load: Callable[[], Model]) -> Model:
        """Load a model; one that was trained on other environments says so too."""
        model = self.load(what, name, load)
        self.add_notice(untrained(self._environment, model.traits.environments, name))
        return model

    def load_reward(self, name: str, load: Callable[[], RewardModel]) -> RewardModel:
        """Load a reward model, and note which number of its outputs is the reward."""
        reward = self.load_model("reward", name, load)
        self.events[-1] = msgspec.structs.replace(self.events[-1], head=reward.traits.head)
        return reward

    def add_notice(self, words: str) -> None:
        """Have the part that was loaded last say something more."""
        if words:
            said = self.events[-1]
            notice = ". ".join(filter(None, (said.notice.rstrip("."), words)))
            self.events[-1] = msgspec.structs.replace(said, notice=notice)


def _take_away(folders: list[Path]) -> None:
    """Remove folders, the innermost first, that were made for a run file that never came to be."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _say_nothing(what: str) -> None:
    return
