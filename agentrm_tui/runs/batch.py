"""Many episodes at once, by rounds: the model requests of all are merged into one call each, in a fixed order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Literal

import msgspec

from agentrm_models.errors import AgentRMError, InterruptedRun, MemoryExhaustedError
from agentrm_models.messages import Conversation
from agentrm_models.policies.base import Policy
from agentrm_models.rewards.base import RewardModel
from agentrm_tui.environments.base import Environment
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.calls import ModelAnswer, ModelCall, Players
from agentrm_tui.runs.control import CallAbandoned, Control, Directive, ForkAt, KeepNode, PlayMove, RewindTo, RunFreely
from agentrm_tui.runs.model_calls import ModelCalls
from agentrm_tui.runs.opening import check_same_models, episode_started, fitted_plan, run_started
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.runner import EpisodeRunner
from agentrm_tui.runs.state import RunState, apply
from agentrm_tui.runs.texts import printable
from agentrm_tui.runs.transitions import Transitions

AUTOMATIC_PARALLEL = 16
"""Episodes driven at once when the plan leaves it open, where memory allows."""

_BYTES_EACH = 1 << 28
"""Memory reckoned for each episode driven at once."""


def run_plan(
    plan: RunPlan,
    *,
    policy: Policy,
    reward: RewardModel | None,
    emit: Callable[[ev.AnyEvent], None],
    control: Control | None = None,
    resume: RunState | None = None,
    loading: Sequence[ev.ModelLoading] = (),
    environments: Callable[[str], Environment] = make_environment,
    keep_trees: bool = True,
    demonstrations: Sequence[Conversation] = (),
) -> RunState:
    """Run a plan to its end and return the state that its events give.

    The order of events depends on the plan alone. An episode that fails gives a `Fault` and the rest go on.

    Args:
        emit: Told every event before it is applied, as a rule `RunWriter.append`.
        control: Who steps in; nobody by default.
        resume: The state of a run that was cut off, whose events are all in the file that `emit` appends to.
        loading: What loading the models took, told right after `run_started`.
        environments: Makes an instance by name.
        keep_trees: Keep the trees of all ended episodes, not only of as many as are driven at once.
        demonstrations: Shown to the policy before each goal; a resumed run has its own.

    Raises:
        UsageError: The plan does not fit the models or the environment.
        InterruptedRun: Stopped by the control, after `run_finished` was written; the file can be gone on with.
        AgentRMError: Every episode failed; the first episode's error.
    """
    batch = _Batch(plan, policy, reward, emit, control or RunFreely(), resume, environments, keep_trees)
    return batch.drive(loading, demonstrations)


def chosen_parallel(plan: RunPlan) -> int:
    """How many episodes are driven at once: what the plan says, or what this machine's memory allows."""
    if plan.parallel:
        return plan.parallel
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(AUTOMATIC_PARALLEL, len(plan.tasks), memory // 4 // _BYTES_EACH))


class _Batch:
    """The state of one call of `run_plan`."""

    def __init__(
        self,
        plan: RunPlan,
        policy: Policy,
        reward: RewardModel | None,
        emit: Callable[[ev.AnyEvent], None],
        control: Control,
        resume: RunState | None,
        environments: Callable[[str], Environment],
        keep_trees: bool,
    ) -> None:
        self._plan = plan
        self._policy = policy
        self._reward = reward
        self._players = Players(policy.traits, reward.traits if reward else None)
        self._emit = emit
        self._control = control
        self._resumed = resume is not None
        self._state = resume or RunState()
        self._began = monotonic() - self._state.clock
        self._make = environments
        self._free: list[Environment] = []
        self._made: list[Environment] = []
        self._width = chosen_parallel(plan)
        self._state.trees_kept = None if keep_trees else self._width
        self._active: list[EpisodeRunner] = []
        self._waiting: deque[EpisodeRunner] = deque()
        self._runners: dict[str, EpisodeRunner] = {}
        self._ended: deque[EpisodeRunner] = deque()
        self._left: deque[int] = deque()
        self._answers: dict[str, ModelAnswer] = {}
        self._calls = ModelCalls(policy, reward, control)
        self._first_error: Exception | None = None

    def drive(self, loading: Sequence[ev.ModelLoading], demonstrations: Sequence[Conversation]) -> RunState:
        """Run to the end; see `run_plan`."""
        try:
            environment = self._borrow()
            self._plan = fitted_plan(self._plan, self._players, environment.traits)
            self._take_up()
            if self._resumed and not (self._waiting or self._left) and self._state.finished is not None:
                return self._state
            self._run(environment, loading, demonstrations)
        finally:
            for made in self._made:
                made.close()
        if self._first_error is not None and self._all_failed():
            cause, remedy = _in_words(self._first_error)
            known = isinstance(self._first_error, AgentRMError)
            raise self._first_error if known else AgentRMError(f"every episode failed: {cause}", remedy)
        return self._state

    def _run(
        self,
        environment: Environment,
        loading: Sequence[ev.ModelLoading],
        demonstrations: Sequence[Conversation],
    ) -> None:
        try:
            self._begin(environment, loading, demonstrations)
            self._free.append(environment)
            while self._fill():
                self._round()
            self._end("failed" if self._all_failed() else "finished")
        except InterruptedRun:
            self._end("stopped")
            raise
        except AgentRMError as error:
            self._record(ev.Fault(message=error.cause, remedy=error.remedy, fatal=True))
            self._end("failed")
            raise

    def _begin(
        self,
        environment: Environment,
        loading: Sequence[ev.ModelLoading],
        demonstrations: Sequence[Conversation],
    ) -> None:
        if self._resumed:
            notice = check_same_models(self._state, self._players)
            if notice:
                self._record(ev.Fault(message=notice))
            return
        self._record(run_started(self._plan, self._players, environment.traits, self._width, demonstrations))
        for event in loading:
            self._record(event)

    def _take_up(self) -> None:
        """Feed the unfinished episodes of a resumed run; forks go first, as they did.

        Raises:
            DataError: The recorded answers do not fit the search; nothing was written.
        """
        last = [self._state.last_attempt(number) for number in range(len(self._plan.tasks))]
        self._left.extend(number for number, episode in enumerate(last) if not episode or episode.status == "failed")
        unfinished = [episode for episode in self._state.episodes.values() if episode.status == "running"]
        for episode in sorted(unfinished, key=lambda episode: not episode.start.parent):
            self._waiting.append(self._go_on(episode.id))

    def _record(self, event: ev.AnyEvent) -> None:
        """Write an event, then apply it."""
        stamped = msgspec.structs.replace(event, at=round(monotonic() - self._began, 3))
        self._emit(stamped)
        apply(self._state, stamped)

    def _fill(self) -> bool:
        """Put waiting episodes and new ones into free places; False when nothing is left to do."""
        while len(self._active) < self._width and (self._waiting or self._left):
            if not self._active:
                self._policy.new_episode()
                if self._reward:
                    self._reward.new_episode()
            if self._waiting:
                self._active.append(self._waiting.popleft())
                continue
            runner = self._start(self._left.popleft())
            if runner:
                self._active.append(runner)
        return bool(self._active)

    def _round(self) -> None:
        """Bring each active episode to its next model call or its end, then do all calls together."""
        calls: list[tuple[EpisodeRunner, ModelCall]] = []
        for runner in list(self._active):
            call = self._bring_to_call(runner)
            if call is not None:
                calls.append((runner, call))
        current = [(runner, call) for runner, call in calls if runner in self._active and runner.waits_for(call)]
        try:
            answers, errors = self._calls.answer([(runner.id, call) for runner, call in current])
        except CallAbandoned:
            return
        for what, (notice, loud) in self._calls.found_out():
            self._record(ev.Noticed(what=what, notice=printable(notice), loud=loud))
        self._answers.update(answers)
        for episode, error in errors.items():
            self._fail(episode, error)

    def _bring_to_call(self, runner: EpisodeRunner) -> ModelCall | None:
        answer = self._answers.pop(runner.id, None)
        while runner in self._active:
            try:
                step = runner.advance(answer)
            except (InterruptedRun, MemoryExhaustedError):
                raise
            except Exception as error:
                self._fail(runner.id, error)
                return None
            answer = None
            directive = self._control.after_episode(runner.id) if step is None else step
            match directive:
                case None:
                    self._retire(runner)
                case PlayMove() | RewindTo() | KeepNode() | ForkAt():
                    self._carry_out(directive, runner)
                case call:
                    return call
        return None

    def _carry_out(self, directive: Directive, current: EpisodeRunner) -> None:
        runner = self._runners.get(directive.episode or current.id)
        if runner is None:
            self._record(ev.Fault(episode=current.id, message=f"there is no episode {directive.episode!r} to go to"))
            return
        if runner not in self._active and runner not in self._waiting:
            self._revive(runner, current)
        self._answers.pop(runner.id, None)
        match directive:
            case PlayMove():
                runner.play_move(directive)
            case KeepNode():
                runner.keep_node(directive)
            case RewindTo():
                runner.rewind(directive.to)
            case ForkAt():
                self._fork(runner, directive.to)

    def _revive(self, runner: EpisodeRunner, current: EpisodeRunner) -> None:
        """Give an ended episode the place of the current one, which waits if it has not ended itself."""
        if runner in self._ended:
            self._ended.remove(runner)
        runner.transitions.lend(self._borrow())
        self._take_place(runner, current)

    def _take_place(self, runner: EpisodeRunner, current: EpisodeRunner) -> None:
        if current in self._active:
            place = self._active.index(current)
            self._active[place] = runner
            self._waiting.appendleft(current)
        else:
            self._waiting.appendleft(runner)

    def _fork(self, parent: EpisodeRunner, to: int) -> None:
        numbers = [past.number for past in parent.episode.history]
        if to < parent.episode.tree.root.created and to not in numbers:
            self._record(ev.Fault(episode=parent.id, message=f"event {to} lies before the start of this episode"))
            return
        count = sum(episode.start.parent == parent.id for episode in self._state.episodes.values())
        name = f"{parent.id}.f{count + 1}"
        fork = msgspec.structs.replace(parent.episode.start, episode=name, parent=parent.id, parent_event=to)
        self._record(fork)
        self._take_place(self._go_on(name), parent)

    def _start(self, number: int) -> EpisodeRunner | None:
        """Reset an environment for a task; a task that cannot be started is a fault of the run, not its end."""
        again = self._state.attempts(number)
        name = f"{number}.r{again}" if again else str(number)
        environment = self._borrow()
        try:
            task = environment.task(self._plan.tasks[number])
            transitions = Transitions(environment, task, name, self._record, self._plan.actions == "tools")
            started = episode_started(self._plan, name, task, transitions.open(), environment)
        except InterruptedRun:
            raise
        except Exception as error:
            self._free.append(environment)
            self._note(error, f"task {self._plan.tasks[number]}: ")
            return None
        self._record(started)
        return self._runner(name, transitions)

    def _go_on(self, name: str) -> EpisodeRunner:
        """A runner for an episode that the state already holds."""
        environment = self._borrow()
        task = environment.task(self._state.episodes[name].start.task)
        transitions = Transitions(environment, task, name, self._record, self._plan.actions == "tools")
        return self._runner(name, transitions)

    def _runner(self, name: str, transitions: Transitions) -> EpisodeRunner:
        runner = EpisodeRunner(
            self._plan,
            self._state,
            name,
            transitions=transitions,
            players=self._players,
            record=self._record,
            control=self._control,
        )
        self._runners[name] = runner
        return runner

    def _borrow(self) -> Environment:
        if self._free:
            return self._free.pop()
        environment = self._make(self._plan.environment)
        self._made.append(environment)
        return environment

    def _retire(self, runner: EpisodeRunner) -> None:
        """Free the place of an ended episode; its snapshots stay until as many others have ended."""
        self._active.remove(runner)
        if runner.episode.status == "finished":
            self._free.append(runner.transitions.environment)
        self._ended.append(runner)
        if len(self._ended) > self._width:
            old = self._ended.popleft()
            old.transitions.forget()
            if self._state.trees_kept is not None:
                self._runners.pop(old.id, None)

    def _fail(self, name: str, error: Exception) -> None:
        """Record that an episode ended by an error."""
        self._first_error = self._first_error or error
        cause, remedy = _in_words(error)
        self._record(ev.Fault(episode=name, message=cause, remedy=remedy, fatal=True))
        runner = self._runners.get(name)
        if runner in self._active:
            self._retire(runner)

    def _note(self, error: Exception, where: str) -> None:
        self._first_error = self._first_error or error
        cause, remedy = _in_words(error)
        self._record(ev.Fault(message=f"{where}{cause}", remedy=remedy))

    def _outcomes(self) -> list[float | None]:
        episodes = [self._state.last_attempt(number) for number in range(len(self._plan.tasks))]
        return [episode.outcome if episode and episode.status == "finished" else None for episode in episodes]

    def _all_failed(self) -> bool:
        return self._first_error is not None and all(outcome is None for outcome in self._outcomes())

    def _end(self, reason: Literal["finished", "stopped", "failed"]) -> None:
        scores = self._outcomes()
        counted = [score or 0.0 for number, score in enumerate(scores) if score is not None or self._has_failed(number)]
        ledger = msgspec.structs.replace(self._state.ledger, seconds=round(monotonic() - self._began, 3))
        mean = sum(counted) / len(counted) if counted else 0.0
        self._record(ev.RunFinished(score_mean=mean, scores=tuple(scores), ledger=ledger, reason=reason))

    def _has_failed(self, number: int) -> bool:
        episode = self._state.last_attempt(number)
        return (episode is None or episode.status == "failed") and number not in self._left


def _in_words(error: Exception) -> tuple[str, str]:
    if isinstance(error, AgentRMError):
        return error.cause, error.remedy
    return f"{type(error).__name__}: {error}"[:500], ""
