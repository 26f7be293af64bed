from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pytest

from agentrm_models.errors import InterruptedRun
from agentrm_models.policies.base import Candidate, PolicyTraits, ProposeRequest
from agentrm_models.rewards.scripted import RandomReward
from agentrm_models.usage import Progress, ProgressHook, Usage, ignore_progress
from agentrm_tui.engine.commands import (
    Command,
    Fork,
    Override,
    Pause,
    Resume,
    Rewind,
    Status,
    Step,
    Stop,
    Unprune,
)
from agentrm_tui.engine.control import EngineControl, request_nodes
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.batch import run_plan
from agentrm_tui.runs.control import CallAbandoned, ForkAt, KeepNode, Pending, PlayMove, RewindTo
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.state import RunState
from agentrm_tui.search.greedy import Greedy
from agentrm_tui.search.requests import Act, Backpropagate, Choose, Propose, Prune, Request, Score

PROPOSE = Propose(("0",), (2,))
ACT = Act(("0.0",))


def pending(request: Request = PROPOSE) -> Pending:
    return Pending("0", request, lambda node: (f"look from {node}",))


class FakePerson:
    """Sees every status, as soon as it is posted, and answers with commands: no thread, no waiting."""

    def __init__(self, answer: Callable[[Status], Iterable[Command]] = lambda status: ()) -> None:
        self.seen: list[Status] = []
        self.answer = answer
        self.control: EngineControl | None = None

    def __call__(self, status: Status) -> None:
        self.seen.append(status)
        for command in self.answer(status):
            assert self.control is not None
            self.control.put(command)

    @property
    def phases(self) -> list[str]:
        return [status.phase for status in self.seen]


def controlled(person: FakePerson, paused: bool = False) -> EngineControl:
    person.control = EngineControl(person, paused, clock=lambda: 7.0)
    return person.control


def when(phase: str, *commands: Command) -> Callable[[Status], Iterable[Command]]:
    """Give the next of these commands each time the engine is in a phase; then stop."""
    left = [*commands, Stop()]
    return lambda status: [left.pop(0)] if status.phase == phase and left else []


def test_goes_on_when_nobody_says_anything() -> None:
    person = FakePerson()
    control = controlled(person)
    assert control.before_request(pending()) is None
    assert person.seen == [Status("running", since=7.0, episode="0", request="propose", nodes=("0",))]


def test_a_paused_engine_says_what_comes_next_and_which_actions_are_valid() -> None:
    person = FakePerson(when("paused", Resume()))
    assert controlled(person, paused=True).before_request(pending()) is None
    assert person.seen[0] == Status(
        "paused", since=7.0, episode="0", request="propose", nodes=("0",), actions={"0": ("look from 0",)}
    )
    assert person.phases == ["paused", "running"]


def test_valid_actions_are_only_asked_for_where_they_are_shown() -> None:
    def refuse(node: str) -> tuple[str, ...]:
        raise AssertionError("asked for valid actions")

    control = controlled(FakePerson())
    assert control.before_request(Pending("0", PROPOSE, refuse)) is None
    person = FakePerson(when("paused", Resume()))
    assert controlled(person, paused=True).before_request(Pending("0", ACT, refuse)) is None


def test_a_step_ends_after_one_request() -> None:
    person = FakePerson(when("paused", Step("request"), Step("request")))
    control = controlled(person, paused=True)
    assert control.before_request(pending()) is None
    assert control.before_request(pending(ACT)) is None
    with pytest.raises(InterruptedRun):
        control.before_request(pending())
    assert [status.request for status in person.seen if status.phase == "paused"] == ["propose", "act", "propose"]


def test_an_environment_step_ends_after_the_act() -> None:
    person = FakePerson(when("paused", Step("environment")))
    control = controlled(person, paused=True)
    for request in (PROPOSE, Score((("0.0",),)), ACT):
        assert control.before_request(pending(request)) is None
    with pytest.raises(InterruptedRun):
        control.before_request(pending())
    assert person.phases == ["paused", "running", "running", "running", "paused"]


def test_commands_are_obeyed_in_order() -> None:
    person = FakePerson()
    control = controlled(person)
    for command in (Pause(), Resume(), Rewind(4, "0"), Resume(), Override("0", "Action: x")):
        control.put(command)
    assert control.before_request(pending()) == RewindTo(4, "0")
    assert control.before_request(pending()) == PlayMove("0", "Action: x")
    assert control.before_request(pending()) is None
    assert "paused" not in person.phases


@pytest.mark.parametrize(
    ("command", "directive"),
    [
        (Rewind(4, "1"), RewindTo(4, "1")),
        (Unprune("0.1", "1"), KeepNode("0.1", "1")),
        (Fork(5, "1"), ForkAt(5, "1")),
    ],
)
def test_going_back_pauses(command: Command, directive: object) -> None:
    person = FakePerson(when("paused"))
    control = controlled(person)
    control.put(command)
    assert control.before_request(pending()) == directive
    with pytest.raises(InterruptedRun):
        control.before_request(pending())
    assert person.phases[-1] == "paused"


def test_a_move_leaves_the_mode_as_it_was() -> None:
    person = FakePerson(when("paused", Override("0", "Action: x")))
    control = controlled(person, paused=True)
    assert control.before_request(pending()) == PlayMove("0", "Action: x")
    with pytest.raises(InterruptedRun):
        control.before_request(pending())


def test_a_person_who_plays_is_waited_for() -> None:
    person = FakePerson(when("waiting", Pause(), Resume(), Override("0", "Action: x")))
    assert controlled(person).await_move(pending()) == PlayMove("0", "Action: x")
    assert person.seen[0].actions == {"0": ("look from 0",)}
    assert person.phases == ["waiting", "waiting", "waiting", "running"]


def test_pause_is_answered_at_the_next_token_and_shows_how_far_the_call_is() -> None:
    person = FakePerson(when("paused", Resume()))
    control = controlled(person)
    control.before_request(pending())
    control.progress(Progress("generating", 1, 64))
    control.put(Pause())
    control.progress(Progress("generating", 2, 64))
    paused = [status for status in person.seen if status.phase == "paused"]
    assert paused == [Status("paused", "generating", 2, 64, 7.0, "0", "propose", ("0",))]
    assert person.phases[-1] == "running"


def test_a_step_from_within_a_call_ends_at_the_next_request() -> None:
    person = FakePerson(when("paused", Step()))
    control = controlled(person)
    control.before_request(pending())
    control.put(Pause())
    control.progress(Progress("generating", 2, 64))
    control.progress(Progress("generating", 3, 64))
    with pytest.raises(InterruptedRun):
        control.before_request(pending(ACT))


def test_a_directive_gives_the_call_up_and_is_carried_out_at_the_request() -> None:
    control = controlled(FakePerson())
    control.before_request(pending())
    control.put(Override("0", "Action: x"))
    control.put(Rewind(2))
    with pytest.raises(CallAbandoned):
        control.progress(Progress("generating", 5, 64))
    assert control.before_request(pending()) == PlayMove("0", "Action: x")
    assert control.before_request(pending()) == RewindTo(2)


def test_stop_ends_a_call_a_wait_and_the_loading() -> None:
    control = controlled(FakePerson())
    control.put(Stop())
    with pytest.raises(InterruptedRun):
        control.report("loading", "policy tiny")
    with pytest.raises(InterruptedRun) as stopped:
        control.progress(Progress("generating", 5, 64))
    assert not isinstance(stopped.value, CallAbandoned)
    with pytest.raises(InterruptedRun):
        controlled(FakePerson(when("waiting"))).await_move(pending())


def test_a_paused_engine_waits_at_the_end_so_that_one_can_go_back() -> None:
    answers: dict[str, list[Command]] = {"paused": [Step()], "ended": [Rewind(1)]}
    person = FakePerson(lambda status: answers.pop(status.phase, []))
    control = controlled(person, paused=True)
    assert control.before_request(pending(Choose("0.0", final=True))) is None
    assert control.after_episode("0") == RewindTo(1)
    assert person.seen[-1] == Status("ended", since=7.0, episode="0")
    running = controlled(FakePerson())
    running.before_request(pending())
    assert running.after_episode("0") is None


def test_an_engine_that_waits_at_the_end_pauses_there_by_itself() -> None:
    answers: dict[str, list[Command]] = {"ended": [Rewind(1)], "paused": [Resume()]}
    person = FakePerson(lambda status: answers.pop(status.phase, []))
    control = person.control = EngineControl(person, wait_at_end=True, clock=lambda: 7.0)
    assert control.before_request(pending()) is None
    assert control.after_episode("0") == RewindTo(1)
    assert control.before_request(pending()) is None
    assert person.phases == ["running", "ended", "paused", "running"]


def test_request_nodes() -> None:
    assert request_nodes(PROPOSE) == ("0",)
    assert request_nodes(Score((("0.0", "0.1"), ("0.2",)))) == ("0.0", "0.1", "0.2")
    assert request_nodes(Prune(("0.1",), "why")) == ("0.1",)
    assert request_nodes(Backpropagate(("0", "0.1"), (1.0, 1.0))) == ("0", "0.1")
    assert request_nodes(Choose("0.1")) == ("0.1",)


class FakePolicy:
    """Goes through every valid action in turn, and reports ten tokens on the way."""

    usage = Usage()
    traits = PolicyTraits(name="fake", wants_valid_actions=True)

    def propose(
        self, requests: Sequence[ProposeRequest], progress: ProgressHook = ignore_progress
    ) -> list[list[Candidate]]:
        for token in range(10):
            progress(Progress("generating", token, 10))
        return [
            [Candidate(f"Action: {request.valid_actions[i % len(request.valid_actions)]}", -1.0, 4)]
            for request in requests
            for i in range(request.n)
        ]

    def new_episode(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is held."""


def drive(person: FakePerson, paused: bool = False) -> tuple[RunState | None, list[ev.AnyEvent]]:
    """A real run under the control; None where it was stopped."""
    events: list[ev.AnyEvent] = []
    plan = RunPlan(environment="maze", tasks=("maze-4:3",), policy="fake", search=Greedy())
    try:
        state = run_plan(
            plan, policy=FakePolicy(), reward=RandomReward(), emit=events.append, control=controlled(person, paused)
        )
    except InterruptedRun:
        return None, events
    return state, events


def test_a_run_paused_within_a_call_records_what_an_unpaused_one_does() -> None:
    pauses = iter(range(3))

    def pause_sometimes(status: Status) -> Iterable[Command]:
        if status.phase == "paused":
            return [Resume()]
        return [Pause()] if status.done == 5 and next(pauses, None) is not None else []

    person = FakePerson(pause_sometimes)
    state, events = drive(person)
    _, plain = drive(FakePerson())
    assert person.phases.count("paused") == 3
    assert state is not None and state.finished is not None and state.finished.reason == "finished"
    assert [type(event) for event in events] == [type(event) for event in plain]


def test_a_move_in_the_middle_of_a_call_replaces_it() -> None:
    moves = iter([Override("0", "Action: move up")])
    person = FakePerson(lambda status: [move] if status.done == 5 and (move := next(moves, None)) else [])
    state, events = drive(person)
    assert state is not None
    overridden = next(number for number, event in enumerate(events) if isinstance(event, ev.Overridden))
    assert not any(isinstance(event, ev.Proposed) for event in events[:overridden])
    node = state.episodes["0"].tree["0.0"]
    assert (node.action, node.source) == ("move up", "human")


def test_stop_in_the_middle_of_a_call_ends_the_run_in_order() -> None:
    person = FakePerson(lambda status: [Stop()] if status.done == 5 else [])
    state, events = drive(person)
    assert state is None
    assert isinstance(events[-1], ev.RunFinished) and events[-1].reason == "stopped"
