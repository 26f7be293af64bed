"""What rows of the table are read from a tree of samples, worked out by hand."""

from __future__ import annotations

import math

from agentrm_trainer.config import LabelSection
from agentrm_trainer.data.judged import early_end_groups
from agentrm_trainer.reports.outcomes import from_samples
from agentrm_trainer.stages.label import labelled_tree
from agentrm_tui.runs import events as ev
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.runs.state import RunState, apply


def proposed(*nodes):
    made = tuple(ev.ProposedNode(name, name.rpartition(".")[0], reply, -1.0 * tokens, tokens, samples)
                 for name, reply, tokens, samples in nodes)  # fmt: skip
    return ev.Proposed(episode="0", asked=tuple(dict.fromkeys(node.parent for node in made)), nodes=made)


def acted(*nodes):
    made = tuple(ev.ActedNode(name, f"after {name}", outcome, done, True, key) for name, outcome, done, key in nodes)
    return ev.Acted(episode="0", nodes=made, env_steps=len(made))


def sampled_state():
    """Five samples: three take `a` and win in two steps, one falls at once, one lasts until the limit of 3."""
    state = RunState()
    start = ev.EpisodeStarted(
        episode="0", task="low:1", goal="g", observation="o", step_limit=3, reward_instruction="short"
    )
    events = [
        ev.RunStarted(plan=RunPlan(environment="ladder", tasks=("low:1",), policy="p")),
        start,
        proposed(("0.0", "Action: a", 4, 3), ("0.1", "Action: jump", 1, 1), ("0.2", "Action: b", 4, 1)),
        acted(("0.0", 0.5, False, "s"), ("0.1", 0.0, True, "f"), ("0.2", 0.4, False, "t")),
        proposed(("0.0.0", "Action: a", 4, 3), ("0.2.0", "Action: b", 4, 1)),
        acted(("0.0.0", 1.0, True, "w"), ("0.2.0", 0.4, False, "u")),
        proposed(("0.2.0.0", "Action: b", 4, 1)),
        acted(("0.2.0.0", 0.2, True, "v")),
    ]
    for event in events:
        apply(state, event)
    return state


def test_rows_of_one_run_of_samples():
    rows = {name: results[0] for name, results in from_samples("ladder", sampled_state()).items()}
    assert math.isclose(rows["random-of-n"].score, (3 * 1.0 + 0.0 + 0.2) / 5)
    assert math.isclose(rows["random-of-n"].success, 3 / 5)
    assert (rows["random-of-n"].early_failures, rows["random-of-n"].failures) == (1, 2)
    assert rows["shortest-of-n"].score == 0.0
    assert rows["oracle"].score == 1.0
    assert rows["likeliest-of-n"].score == 0.0


def test_early_ends_are_compared_within_their_task():
    [group] = early_end_groups(sampled_state(), "short")
    assert [(item.label, item.worth) for item in group.items] == [("0.1", 0.0), ("0.0.0", 1.0)]
    assert [message.role for message in group.items[1].conversation] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    assert group.items[1].conversation[-1].content == "Action: a"


def labelled(**section):
    state = sampled_state()
    for path in (("0", "0.0", "0.0.0"), ("0", "0.0", "0.0.0"), ("0", "0.1"), ("0", "0.2", "0.2.0", "0.2.0.0")):
        apply(state, ev.Backpropagated(episode="0", path=path, values=(0.0,) * len(path)))
    tree = labelled_tree("ladder", state.episodes["0"], LabelSection(**section), "short")
    return {(node.depth, node.reply): node for node in tree.nodes}


def test_targets_are_mean_outcomes_and_weights_grow_with_visits():
    nodes = labelled()
    assert nodes[1, "Action: a"].target == 1.0
    assert nodes[1, "Action: a"].visits == 2
    assert math.isclose(nodes[1, "Action: a"].weight, math.sqrt(2))
    assert nodes[1, "Action: jump"].target == 0.0
    assert nodes[3, "Action: b"].target == 0.2


def test_discounted_targets_count_the_steps_left():
    nodes = labelled(discount=0.5)
    assert nodes[1, "Action: b"].target == 0.2 * 0.25
    assert nodes[2, "Action: b"].target == 0.2 * 0.5
    assert nodes[3, "Action: b"].target == 0.2


def test_the_papers_filter_drops_what_was_visited_less():
    nodes = labelled(variant="visits", min_visits=2)
    assert {key for key, node in nodes.items() if node.target is not None} == {(1, "Action: a"), (2, "Action: a")}


def test_equal_states_share_their_returns():
    state = sampled_state()
    episode = state.episodes["0"]
    episode.tree["0.2"].state_key = episode.tree["0.0"].state_key
    for path in (("0", "0.0", "0.0.0"), ("0", "0.2", "0.2.0", "0.2.0.0")):
        apply(state, ev.Backpropagated(episode="0", path=path, values=(0.0,) * len(path)))
    tree = labelled_tree("ladder", episode, LabelSection(merge_states=True), "short")
    found = {(node.depth, node.reply): node.target for node in tree.nodes}
    assert found[1, "Action: a"] == found[1, "Action: b"] == (1.0 + 0.2) / 2
    assert found[2, "Action: b"] == 0.2
