"""A person steps in: rewinding, own moves, keeping a cut node, forking; and going on with a run that was killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fake_world import SETTINGS, FakeEnvironment, FakePolicy, FakeRecorder, FakeReward, fake_plan, make_fake
from hypothesis import given, settings
from hypothesis import strategies as st
from test_batch import CASES, without_times

from agentrm_models.errors import DataError
from agentrm_models.usage import Progress, Usage
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.batch import run_plan
from agentrm_tui.runs.control import (
    CallAbandoned,
    Directive,
    ForkAt,
    KeepNode,
    Pending,
    PlayMove,
    RewindTo,
    RunFreely,
)
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.state import EpisodeState, RunState, apply
from agentrm_tui.runs.store import RunWriter, load_state, read_events
from agentrm_tui.search.requests import Act, Propose, Prune, Request


class FakePerson(RunFreely):
    """Gives directives by rules, each once: a rule sees what is pending and the state, and may answer."""

    def __init__(self, recorder: FakeRecorder, *rules: Callable[[Pending, EpisodeState], Directive | None]) -> None:
        self.recorder = recorder
        self.rules = list(rules)
        self.asked: list[Request] = []
        self.at_end: list[Directive] = []

    def before_request(self, pending: Pending) -> Directive | None:
        self.asked.append(pending.request)
        return self._next(pending)

    def await_move(self, pending: Pending) -> Directive:
        actions = pending.valid_actions(pending.request.nodes[0])  # type: ignore[union-attr]
        return PlayMove(pending.request.nodes[-1], actions[1])  # type: ignore[union-attr]

    def after_episode(self, episode: str) -> Directive | None:
        return self.at_end.pop(0) if self.at_end else None

    def _next(self, pending: Pending) -> Directive | None:
        if not self.rules:
            return None
        directive = self.rules[0](pending, self.recorder.state.episodes[pending.episode])
        if directive is not None:
            self.rules.pop(0)
        return directive


def play(
    plan: RunPlan, *rules: Callable[[Pending, EpisodeState], Directive | None], **options: Any
) -> tuple[FakeRecorder, FakePerson]:
    recorder = FakeRecorder()
    person = options.pop("person", None) or FakePerson(recorder, *rules)
    person.recorder = recorder
    person.at_end = options.pop("at_end", [])
    policy = options.pop("policy", None) or FakePolicy()
    environments = options.pop("environments", make_fake)
    run_plan(plan, policy=policy, reward=FakeReward(), emit=recorder, control=person, environments=environments)
    return recorder, person


def at_depth(depth: int, make: Callable[[Pending, EpisodeState], Directive]) -> Callable[..., Directive | None]:
    """A rule that acts when nodes of some depth are about to be gone on with."""

    def rule(pending: Pending, episode: EpisodeState) -> Directive | None:
        request = pending.request
        deep = isinstance(request, Propose) and episode.tree[request.nodes[0]].depth == depth
        return make(pending, episode) if deep else None

    return rule


BEAM = fake_plan("beam", **SETTINGS["beam"])


def events_of(recorder: FakeRecorder, kind: type[ev.Event]) -> list[Any]:
    return [event for event in recorder.events if isinstance(event, kind)]


@pytest.mark.parametrize(("algorithm", "changes"), CASES)
def test_after_rewinding_anywhere_the_search_stands_as_it_did(algorithm: str, changes: dict[str, Any]) -> None:
    """Feeding the recorded answers brings a fresh search to the request that was pending then."""
    plan = fake_plan(algorithm, **changes)
    pending_after: dict[int, Request] = {}

    class Noting(FakePerson):
        def before_request(self, pending: Pending) -> Directive | None:
            pending_after.setdefault(len(self.recorder.events) - 1, pending.request)
            return super().before_request(pending)

    play(plan, person=Noting(FakeRecorder()))
    numbers = list(pending_after)
    for to in numbers[:: max(1, len(numbers) // 6)]:

        def back(pending: Pending, episode: EpisodeState, to: int = to) -> Directive | None:
            late = len(episode.history) > 5 and episode.history[-1].number > to
            return RewindTo(to) if late else None

        recorder, person = play(plan, back)
        rewinds = [i for i, event in enumerate(recorder.events) if isinstance(event, ev.Rewound)]
        if not rewinds:
            continue
        place = sum(1 for number in pending_after if number < rewinds[0])
        assert person.asked[place] == pending_after[to]


def test_rewinding_abandons_later_nodes_and_never_gives_their_ids_again() -> None:
    recorder, _ = play(BEAM, at_depth(2, lambda pending, episode: RewindTo(episode.tree.root.created)))
    (rewound,) = events_of(recorder, ev.Rewound)
    made = [new.node for event in events_of(recorder, ev.Proposed) for new in event.nodes]
    assert len(made) == len(set(made))
    episode = recorder.state.episodes["0"]
    assert episode.abandoned and rewound.to == 1
    assert not set(episode.abandoned) & set(episode.tree.nodes)
    first, *_, again = [event for event in events_of(recorder, ev.Proposed) if event.asked == ("0",)]
    assert {new.node for new in first.nodes}.isdisjoint(new.node for new in again.nodes)


def test_after_rewinding_other_samples_are_drawn() -> None:
    policy = FakePolicy()
    play(BEAM, at_depth(1, lambda pending, episode: RewindTo(1)), policy=policy)
    at_root = [request.noise for call in policy.calls for request in call if request.noise.node == "0"]
    assert [noise.first_candidate for noise in at_root] == [0, 6]


def test_an_own_move_at_a_pending_proposal_is_the_only_child() -> None:
    recorder, _ = play(BEAM, at_depth(1, lambda pending, episode: PlayMove(pending.request.nodes[0], "stop")))  # type: ignore[union-attr]
    (overridden,) = events_of(recorder, ev.Overridden)
    place = recorder.events.index(overridden)
    answer = recorder.events[place + 1]
    assert isinstance(answer, ev.Proposed)
    assert [new.parent for new in answer.nodes] == [overridden.node]
    assert answer.usage == Usage()
    node = recorder.state.episodes["0"].tree[answer.nodes[0].node]
    assert (node.source, node.action, node.reply) == ("human", "stop", "Action: stop")
    assert not events_of(recorder, ev.Rewound)


def test_an_own_move_where_the_search_is_past_rewinds_first() -> None:
    def late(pending: Pending, episode: EpisodeState) -> Directive | None:
        deep = isinstance(pending.request, Act) and episode.tree[pending.request.nodes[0]].depth == 2
        return PlayMove("0", "Thought: mine\nAction: b") if deep else None

    recorder, _ = play(BEAM, late)
    kinds = [type(event).__name__ for event in recorder.events]
    place = kinds.index("Rewound")
    assert kinds[place : place + 3] == ["Rewound", "Overridden", "Proposed"]
    tree = recorder.state.episodes["0"].tree
    assert [(child.action, child.thought) for child in tree.children("0")] == [("b", "mine")]


def test_an_own_move_waits_until_the_search_comes_to_its_node() -> None:
    chosen: list[str] = []

    def early(pending: Pending, episode: EpisodeState) -> Directive | None:
        request = pending.request
        running = [node for node in episode.tree if node.depth == 1 and node.acted and not node.done]
        if isinstance(request, Propose) or not running:
            return None
        chosen.append(running[0].id)
        return PlayMove(running[0].id, "c")

    recorder, _ = play(BEAM, early)
    (overridden,) = events_of(recorder, ev.Overridden)
    assert overridden.node == chosen[0]
    assert not events_of(recorder, ev.Rewound)
    assert [child.source for child in recorder.state.episodes["0"].tree.children(chosen[0])] == ["human"]


def test_an_own_move_that_was_proposed_before_is_the_same_node() -> None:
    plan = fake_plan("greedy")

    def again(pending: Pending, episode: EpisodeState) -> Directive | None:
        return PlayMove("0", "never proposed") if isinstance(pending.request, Act) else None

    recorder, _ = play(plan, again)
    (node,) = recorder.state.episodes["0"].tree.children("0")
    assert node.id == "0.1" and node.action == "never proposed"


@pytest.mark.parametrize(
    "directive", [PlayMove("0.9.9", "a"), KeepNode("0.0"), RewindTo(-1), ForkAt(0), RewindTo(1, "7")]
)
def test_directives_that_mean_nothing_are_refused_with_a_notice(directive: Directive) -> None:
    recorder, _ = play(fake_plan("greedy"), at_depth(1, lambda pending, episode: directive))
    assert [fault.fatal for fault in events_of(recorder, ev.Fault)] == [False]
    assert recorder.state.episodes["0"].status == "finished"
    assert recorder.state.finished and recorder.state.finished.reason == "finished"


def cut_nodes(recorder: FakeRecorder) -> list[str]:
    return [node for event in events_of(recorder, ev.Pruned) for node in event.nodes]


def test_a_cut_node_can_be_kept_at_once_or_later() -> None:
    def now(pending: Pending, episode: EpisodeState) -> Directive | None:
        return KeepNode(pending.request.nodes[0]) if isinstance(pending.request, Prune) else None

    def later(pending: Pending, episode: EpisodeState) -> Directive | None:
        cut = [node for node in episode.tree if node.pruned and node.depth == 1]
        deep = isinstance(pending.request, Act) and episode.tree[pending.request.nodes[0]].depth == 2
        return KeepNode(cut[0].id) if deep and cut else None

    for rule in (now, later):
        recorder, _ = play(BEAM, rule)
        (overridden,) = events_of(recorder, ev.Overridden)
        assert overridden.what == "unprune"
        episode = recorder.state.episodes["0"]
        kept = episode.tree[overridden.node]
        answer = recorder.events[recorder.events.index(overridden) + 1]
        assert isinstance(answer, ev.Pruned) and kept.id not in answer.nodes
        assert kept.acted
        assert bool(events_of(recorder, ev.Rewound)) == (rule is later)


def test_a_fork_shares_the_past_and_goes_its_own_way() -> None:
    def fork(pending: Pending, episode: EpisodeState) -> Directive | None:
        if pending.episode != "0" or not isinstance(pending.request, Propose) or not episode.history:
            return None
        return ForkAt(episode.history[-1].number)

    recorder, _ = play(fake_plan("beam", tasks=2, **SETTINGS["beam"]), fork)
    state = recorder.state
    assert list(state.episodes) == ["0", "0.f1", "1"]
    parent, child = state.episodes["0"], state.episodes["0.f1"]
    assert child.start.parent == "0" and child.status == parent.status == "finished"
    shared = [past for past in child.history if past.number <= child.start.parent_event]
    assert shared and parent.history[: len(shared)] == shared
    finished = [event.episode for event in events_of(recorder, ev.EpisodeFinished)]
    assert finished == ["0.f1", "0", "1"]
    assert state.finished is not None and len(state.finished.scores) == 2
    assert [past.event for past in child.history[len(shared) :]] != [
        past.event for past in parent.history[len(shared) :]
    ]


def test_a_fork_can_be_rewound_into_the_past_that_it_shares() -> None:
    done: list[str] = []

    def fork_then_rewind(pending: Pending, episode: EpisodeState) -> Directive | None:
        deep = isinstance(pending.request, Propose) and episode.tree[pending.request.nodes[0]].depth == 1
        if not deep or len(done) == 2:
            return None
        done.append(pending.episode)
        return ForkAt(episode.history[-1].number) if len(done) == 1 else PlayMove("0", "b")

    recorder, _ = play(BEAM, fork_then_rewind, fork_then_rewind)
    assert done == ["0", "0.f1"]
    assert [child.action for child in recorder.state.episodes["0.f1"].tree.children("0")] == ["b"]
    assert len(recorder.state.episodes["0"].tree.children("0")) > 1


def test_one_can_go_back_after_the_end_of_an_episode() -> None:
    plan = fake_plan("greedy", tasks=2)
    recorder, _ = play(plan, at_end=[RewindTo(1), PlayMove("0", "stop")])
    assert [event.episode for event in events_of(recorder, ev.EpisodeFinished)] == ["0", "0", "0", "1"]
    first = recorder.state.episodes["0"]
    assert first.status == "finished" and [child.action for child in first.tree.children("0")] == ["stop"]


def test_one_can_go_back_to_an_earlier_episode_while_a_later_one_runs() -> None:
    def back(pending: Pending, episode: EpisodeState) -> Directive | None:
        return PlayMove("0", "stop", episode="0") if pending.episode == "1" and len(episode.history) > 2 else None

    recorder, _ = play(fake_plan("greedy", tasks=2), back)
    assert [event.episode for event in events_of(recorder, ev.EpisodeFinished)] == ["0", "0", "1"]
    assert [child.action for child in recorder.state.episodes["0"].tree.children("0")] == ["stop"]
    assert recorder.state.finished and None not in recorder.state.finished.scores


def test_a_human_policy_answers_every_proposal() -> None:
    recorder, _ = play(fake_plan("greedy"), policy=FakePolicy(interactive=True))
    episode = recorder.state.episodes["0"]
    assert episode.steps == 4
    assert [node.action for node in episode.tree if node.depth] == ["b"] * 4
    assert {node.source for node in episode.tree if node.depth} == {"human"}


def test_a_model_call_can_be_given_up_for_a_directive() -> None:
    class Impatient(FakePerson):
        armed = 3
        directive: Directive | None = None

        def progress(self, progress: Progress) -> None:
            self.armed -= 1
            if self.armed == 0:
                self.directive = PlayMove("0", "c")
                raise CallAbandoned("a person steps in")

        def before_request(self, pending: Pending) -> Directive | None:
            directive, self.directive = self.directive, None
            return directive

    recorder, _ = play(BEAM, person=Impatient(FakeRecorder()))
    assert len(events_of(recorder, ev.Rewound)) == 1
    assert [child.action for child in recorder.state.episodes["0"].tree.children("0")] == ["c"]
    assert recorder.state.finished and recorder.state.finished.reason == "finished"


def run_with_person(path: Path, plan: RunPlan) -> list[ev.AnyEvent]:
    """A run with a rewind, an own move, a kept node and a fork in it, written to a file."""
    recorder, writer = FakeRecorder(), RunWriter(path)

    def emit(event: ev.AnyEvent) -> None:
        writer.append(event)
        recorder(event)

    def keep(pending: Pending, episode: EpisodeState) -> Directive | None:
        return KeepNode(pending.request.nodes[0]) if isinstance(pending.request, Prune) else None

    def fork(pending: Pending, episode: EpisodeState) -> Directive | None:
        later = isinstance(pending.request, Propose) and pending.request.nodes != ("0",)
        return ForkAt(episode.history[-1].number) if later else None

    def move(pending: Pending, episode: EpisodeState) -> Directive | None:
        return PlayMove(pending.request.nodes[0], "a") if isinstance(pending.request, Propose) else None

    rules = [at_depth(1, lambda pending, episode: RewindTo(1)), keep, fork, move]
    person = FakePerson(recorder, *rules)
    run_plan(plan, policy=FakePolicy(), reward=FakeReward(), emit=emit, control=person, environments=make_fake)
    writer.close()
    assert person.rules == []
    return recorder.events


def resume(path: Path) -> RunState:
    state = load_state(path)
    writer = RunWriter(path)
    assert state.run is not None
    try:
        return run_plan(
            state.run.plan,
            policy=FakePolicy(),
            reward=FakeReward(),
            emit=writer.append,
            resume=state,
            environments=make_fake,
        )
    finally:
        writer.close()


@pytest.mark.parametrize(("algorithm", "changes"), CASES)
def test_a_run_killed_at_any_event_goes_on_to_the_same_end(
    tmp_path: Path, algorithm: str, changes: dict[str, Any]
) -> None:
    whole = FakeRecorder()
    plan = fake_plan(algorithm, tasks=2, **changes)
    run_plan(plan, policy=FakePolicy(), reward=FakeReward(), emit=whole, environments=make_fake)
    wanted = without_times(whole.events)
    for event in wanted:
        event.pop("ledger", None), event.pop("env_steps", None)
    step = max(1, len(whole.events) // 25)
    for cut in range(1, len(whole.events), step):
        path = tmp_path / f"{cut}.jsonl"
        writer = RunWriter(path)
        for event in whole.events[:cut]:
            writer.append(event)
        writer.close()
        state = resume(path)
        found = without_times(list(read_events(path)))
        for raw in found:
            raw.pop("ledger", None), raw.pop("env_steps", None)
        assert found == wanted, f"cut after {cut} events"
        assert repr(load_state(path)) == repr(state)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_a_run_that_a_person_steered_goes_on_after_any_cut(
    tmp_path_factory: pytest.TempPathFactory, number: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    events = run_with_person(folder / "whole.jsonl", BEAM)
    whole = (folder / "whole.jsonl").read_bytes()
    first = whole.index(b"\n") + 1
    path = folder / "cut.jsonl"
    path.write_bytes(whole[: first + number % (len(whole) - first)])
    state = resume(path)
    assert state.finished is not None and state.finished.reason == "finished"
    assert all(episode.status == "finished" for episode in state.episodes.values())
    assert repr(load_state(path)) == repr(state)
    assert len(events) > 0


def test_replaying_a_steered_run_gives_the_live_state_event_by_event(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    events = run_with_person(path, BEAM)
    live, replayed = RunState(), RunState()
    for event, read in zip(events, list(read_events(path)), strict=True):
        assert repr(apply(live, event)) == repr(apply(replayed, read))


def test_a_stopped_run_goes_on_and_its_last_event_is_the_last_line(tmp_path: Path) -> None:
    from test_batch import StopAfter

    from agentrm_models.errors import InterruptedRun

    path = tmp_path / "run.jsonl"
    writer = RunWriter(path)
    plan = fake_plan("beam", tasks=4, parallel=2, **SETTINGS["beam"])
    with pytest.raises(InterruptedRun):
        run_plan(
            plan,
            policy=FakePolicy(),
            reward=FakeReward(),
            emit=writer.append,
            control=StopAfter(9),
            environments=make_fake,
        )
    writer.close()
    stopped = load_state(path)
    assert stopped.finished is not None and stopped.finished.reason == "stopped"
    state = resume(path)
    free = FakeRecorder()
    run_plan(plan, policy=FakePolicy(), reward=FakeReward(), emit=free, environments=make_fake)
    assert state.finished and free.state.finished
    assert state.finished.scores == free.state.finished.scores
    assert isinstance(list(read_events(path))[-1], ev.RunFinished)


def test_a_run_of_another_search_cannot_be_gone_on_with(tmp_path: Path) -> None:
    recorder = FakeRecorder()
    run_plan(BEAM, policy=FakePolicy(), reward=FakeReward(), emit=recorder, environments=make_fake)
    events = recorder.events[:12]
    first = events[0]
    assert isinstance(first, ev.RunStarted)
    other = msgspec.structs.replace(
        first, plan=msgspec.structs.replace(first.plan, search=fake_plan("best-of-n").search)
    )
    state = RunState()
    for event in (other, *events[1:]):
        apply(state, event)
    written: list[ev.AnyEvent] = []
    with pytest.raises(DataError, match="does not answer what the search asks for"):
        run_plan(
            other.plan,
            policy=FakePolicy(),
            reward=FakeReward(),
            emit=written.append,
            resume=state,
            environments=make_fake,
        )
    assert written == []


def test_other_weights_are_noticed_when_a_run_goes_on() -> None:
    recorder = FakeRecorder()
    run_plan(BEAM, policy=FakePolicy(), reward=FakeReward(), emit=recorder, environments=make_fake)
    state = RunState()
    for event in recorder.events[:8]:
        apply(state, event)
    run_plan(
        BEAM,
        policy=FakePolicy(digest="p2"),
        reward=FakeReward(),
        emit=lambda event: None,
        resume=state,
        environments=lambda name: FakeEnvironment(),
    )
    assert any("other weights" in fault.message and "policy" in fault.message for fault in state.faults)
