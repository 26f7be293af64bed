from __future__ import annotations

import msgspec
import pytest
from fake_world import fake_plan

from agentrm_models.errors import DataError
from agentrm_models.usage import Usage
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.state import RunState, apply

START = ev.EpisodeStarted(episode="0", task="t", goal="g", observation="o", step_limit=9)


def proposed(*nodes: str, asked: str = "0", phase: ev.Phase = "search", samples: int = 1) -> ev.Proposed:
    made = tuple(ev.ProposedNode(node, asked, f"Action: {node}", samples=samples) for node in nodes)
    return ev.Proposed(episode="0", asked=(asked,), nodes=made, phase=phase, usage=Usage(tokens_computed=5, requests=1))


def reduce(*events: ev.AnyEvent) -> RunState:
    state = RunState()
    for event in (ev.RunStarted(plan=fake_plan()), START, *events):
        apply(state, event)
    return state


def test_samples_of_known_nodes_add_up_and_a_rollouts_node_joins_the_search() -> None:
    state = reduce(proposed("0.0", phase="rollout"), proposed("0.0", "0.1", samples=2))
    node = state.episodes["0"].tree["0.0"]
    assert (node.samples, node.phase) == (3, "search")
    assert state.episodes["0"].drawn == {"0": 5}
    assert state.episodes["0"].ordinals == {"0": 2}


def test_rewinding_keeps_ordinals_samples_and_costs_but_not_nodes() -> None:
    state = reduce(proposed("0.0", "0.1"), ev.Chosen(episode="0", node="0.0"), ev.Rewound(episode="0", to=1))
    episode = state.episodes["0"]
    assert list(episode.tree.nodes) == ["0"] and list(episode.abandoned) == ["0.0", "0.1"]
    assert episode.ordinals == {"0": 2} and episode.drawn == {"0": 2}
    assert episode.chosen is None and episode.history == []
    assert state.ledger.policy_tokens_computed == 5


def test_a_fork_begins_with_its_parents_past() -> None:
    fork = ev.EpisodeStarted(
        episode="0.f1", task="t", goal="g", observation="o", step_limit=9, parent="0", parent_event=2
    )
    state = reduce(proposed("0.0", "0.1"), ev.Chosen(episode="0", node="0.1"), fork)
    child = state.episodes["0.f1"]
    assert list(child.tree.nodes) == ["0", "0.0", "0.1"] and child.chosen is None
    assert child.ledger.policy_tokens_computed == 0
    apply(state, ev.Chosen(episode="0.f1", node="0.0"))
    assert state.episodes["0"].chosen == "0.1"


def test_a_long_run_keeps_of_old_episodes_what_was_played_and_how_it_ended() -> None:
    state, shown = RunState(trees_kept=2), "x" * 10_000
    for number in range(50):
        name = str(number)
        start = ev.EpisodeStarted(
            episode=name, task=f"t{name}", goal="g", observation=shown, step_limit=9, instruction=shown, picture=shown
        )
        end = ev.EpisodeFinished(episode=name, node="0.0", outcome=0.5, steps=1)
        for event in (start, msgspec.structs.replace(proposed("0.0"), episode=name), end):
            apply(state, event)
    old, new = state.episodes["3"], state.episodes["49"]
    assert (old.start.task, old.outcome, old.steps, old.status) == ("t3", 0.5, 1, "finished")
    assert old.ledger.policy_tokens_computed == 5 and state.ledger.policy_tokens_computed == 250
    assert "0.0" in new.tree and new.start.picture == shown
    assert sum(len(msgspec.json.encode(episode.start)) > 9_000 for episode in state.episodes.values()) == 2
    assert sum("0.0" in episode.tree for episode in state.episodes.values()) == 2
    apply(state, ev.Truncated(episode="3", what="policy", dropped=1))
    assert state.episodes["4"].notices == old.notices == []


def test_refused_actions_are_no_transitions() -> None:
    acted = tuple(ev.ActedNode(node, "seen", 0.0) for node in ("0.0", "0.1"))
    state = reduce(proposed("0.0", "0.1"), ev.Acted(episode="0", nodes=acted, env_steps=1, refused=1))
    assert (state.ledger.env_steps, state.ledger.transitions) == (1, 1)


def test_a_run_that_goes_on_after_its_last_event_is_not_finished() -> None:
    state = reduce(ev.RunFinished(score_mean=0.0, scores=(), ledger=ev.Ledger(), reason="stopped"))
    assert state.finished is not None
    assert apply(state, proposed("0.0")).finished is None


@pytest.mark.parametrize(
    "event",
    [
        ev.Chosen(episode="7", node="0"),
        ev.Chosen(episode="0", node="0.5"),
        ev.Backpropagated(episode="0", path=("0",), values=(1.0, 2.0)),
        ev.EpisodeStarted(episode="1", task="t", goal="g", observation="o", step_limit=1, parent="9"),
        ev.Proposed(episode="0", asked=("0",), nodes=(ev.ProposedNode("0.x", "0"),)),
    ],
)
def test_events_that_do_not_fit_are_data_errors(event: ev.AnyEvent) -> None:
    with pytest.raises(DataError, match="event 2"):
        reduce(event)
