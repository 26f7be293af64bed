from __future__ import annotations

import math
from typing import Any

import pytest
from hand_trees import FakeWorld
from hypothesis import given
from hypothesis import strategies as st

from agentrm_tui.search.mcts import MCTS, _Searcher
from agentrm_tui.search.requests import Choose, Propose
from agentrm_tui.search.tree import ROOT, Node, Tree


def settings(**changes: Any) -> MCTS:
    return MCTS(**{"branching": 2, "iterations": 4, **changes})


def test_ucb_is_the_papers() -> None:
    """The worked example: V = 0.6, N = 10, N_parent = 100, c = 0.5 gives 0.939."""
    searcher = _Searcher(settings(exploration=0.5), Tree({ROOT: Node(ROOT)}))
    assert searcher._ucb(Node("0.0", visits=10, total_return=6.0), 100) == pytest.approx(0.939, abs=5e-4)


def test_exploring_worked_out_by_hand() -> None:
    """c = 0, one simulation. `a` leads to 1 by `am`; `b` leads to 0 by `bn`.

    1. the root is expanded: a, b; a is played to the end: am = 1
    2. b is unvisited: played to bn = 0
    3. a has the higher mean; it was visited, so it is expanded: m (its rollout child) and k; k is unvisited: k = 0.5
    4. a (mean .75) again; m (mean 1) beats k (.5): m is done, its outcome is backed up again
    """
    world = FakeWorld(
        samples={"": "ab", "a": "mmk", "b": "n"},
        outcomes={"am": 1.0, "ak": 0.5},
        done=("am", "ak", "bn"),
    )
    log = world.run(settings(leaf="rollout", exploration=0.0))
    assert world.told(log) == [
        "propose -*2",
        "act a",
        "propose a*1 rollout",
        "act am",
        "back am 1,1,1",
        "act b",
        "propose b*1 rollout",
        "act bn",
        "back bn 0,0,0",
        "propose a*2",
        "act ak",
        "back ak 0.5,0.5,0.5",
        "back am 1,1,1",
        "choose am final",
    ]
    assert world.tree.root.visits == 4
    assert world.node("a").mean_return == pytest.approx(2.5 / 3)


def test_rollouts_go_in_lock_step_and_are_discounted() -> None:
    """Two simulations from a: m ends at once, k goes on to z; each is one return along its whole path."""
    world = FakeWorld(samples={"": "ab", "a": "mk", "ak": "z"}, outcomes={"am": 1.0, "akz": 0.5}, done=("am", "akz"))
    log = world.run(settings(leaf="rollout", iterations=1, simulations=2, discount=0.5))
    assert world.told(log) == [
        "propose -*2",
        "act a",
        "propose a*2 rollout",
        "act am,ak",
        "propose ak*1 rollout",
        "act akz",
        "back am 0.25,0.5,1",
        "back akz 0.0625,0.125,0.25,0.5",
        "choose am final",
    ]
    assert {node.action: node.phase for node in world.tree}["z"] == "rollout"


def test_playing_worked_out_by_hand() -> None:
    """Two expansions a move, c = 0. Rewards steer; the outcome, which says the opposite, is never read.

    move 1: root -> a .2, b .8 (one visit each); b leads, is acted and expanded -> c .4, d .6; b has 3 visits: play b
    move 2: one expansion (of b) is inherited; one more: d leads, acted, done: its .6 is backed up; d has 2 visits
    """
    world = FakeWorld(
        samples={"": "ab", "b": "cd"},
        rewards={"a": 0.2, "b": 0.8, "bc": 0.4, "bd": 0.6},
        outcomes={"a": 1.0, "bc": 1.0},
        done=("a", "bc", "bd"),
    )
    log = world.run(settings(exploration=0.0, iterations=2))
    assert world.told(log) == [
        "propose -*2",
        "score a,b",
        "back a 0.2,0.2",
        "back b 0.8,0.8",
        "act b",
        "propose b*2",
        "score bc,bd",
        "back bc 0.4,0.4,0.4",
        "back bd 0.6,0.6,0.6",
        "choose b",
        "act bd",
        "back bd 0.6,0.6,0.6",
        "choose bd final",
    ]


def test_the_most_visited_child_is_played_then_the_one_of_higher_mean() -> None:
    tree = Tree({ROOT: Node(ROOT, children=["0.0", "0.1", "0.2"])})
    for ordinal, (visits, total) in enumerate([(2, 0.2), (3, 0.3), (3, 0.9)]):
        tree.nodes[f"0.{ordinal}"] = Node(f"0.{ordinal}", parent=ROOT, visits=visits, total_return=total)
    assert _Searcher(settings(), tree).most_visited(ROOT) == "0.2"


def test_depth_keeps_expansions_near() -> None:
    paths = _all_paths(6)
    world = FakeWorld(dict.fromkeys(paths, "ab"), done=tuple(path for path in paths if len(path) == 6))
    log = world.run(settings(leaf="rollout", iterations=30, depth=2))
    expanded = [
        node for request in log if isinstance(request, Propose) and request.phase == "search" for node in request.nodes
    ]
    assert max(world.tree[node].depth for node in expanded) == 1
    assert len(expanded) == len(set(expanded))


def test_equal_states_share_their_statistics() -> None:
    """`ab` and `ba` lead to one state: what was learned below one counts for the other."""
    tree = Tree({ROOT: Node(ROOT)})
    tree.nodes["0.0.0"] = Node("0.0.0", depth=2, state_key="both", visits=3, total_return=3.0)
    tree.nodes["0.1.0"] = Node("0.1.0", depth=2, state_key="both", visits=1, total_return=0.0)
    tree.nodes["0.1.1"] = Node("0.1.1", depth=3, state_key="both", visits=1, total_return=0.0)
    apart, shared = _Searcher(settings(), tree), _Searcher(settings(share_states=True), tree)
    apart._select(ROOT), shared._select(ROOT)
    assert apart._statistics(tree["0.1.0"]) == (1, 0.0)
    assert shared._statistics(tree["0.1.0"]) == (4, 3.0)
    assert shared._statistics(tree["0.1.1"]) == (1, 0.0)


def _all_paths(length: int) -> list[str]:
    paths = [""]
    for _ in range(length):
        paths += [path + letter for path in paths for letter in "ab" if len(path) < length]
    return list(dict.fromkeys(paths))


@given(
    st.integers(1, 25),
    st.integers(1, 3),
    st.integers(1, 3),
    st.booleans(),
    st.dictionaries(st.text("ab", min_size=1, max_size=4), st.floats(0, 1), max_size=20),
)
def test_visits_add_up(
    iterations: int, branching: int, simulations: int, share: bool, outcomes: dict[str, float]
) -> None:
    paths = _all_paths(4)
    world = FakeWorld(
        dict.fromkeys(paths, "abbaab"),
        outcomes=outcomes,
        done=tuple(path for path in paths if len(path) == 4 or path.endswith("bb")),
        keys={path: "".join(sorted(path)) for path in paths},
    )
    log = world.run(
        settings(
            leaf="rollout", iterations=iterations, branching=branching, simulations=simulations, share_states=share
        )
    )
    assert world.tree.root.visits == iterations * simulations
    for node in world.tree:
        if not node.done:
            assert node.visits == sum(child.visits for child in world.tree.children(node.id))
    assert isinstance(log[-1], Choose) and log[-1].final and world.tree[log[-1].node].done


@given(st.dictionaries(st.text("ab", min_size=1, max_size=4), st.floats(0, 1), max_size=20), st.integers(1, 8))
def test_playing_ends_done_and_never_reads_an_outcome(rewards: dict[str, float], iterations: int) -> None:
    paths = _all_paths(4)
    logs = []
    for outcome in (0.0, math.nan):
        world = FakeWorld(
            dict.fromkeys(paths, "ab"),
            rewards=rewards,
            outcomes=dict.fromkeys(paths, outcome),
            done=tuple(path for path in paths if len(path) == 4),
        )
        logs.append(world.told(world.run(settings(iterations=iterations))))
    assert logs[0] == logs[1]
    assert logs[0][-1].endswith("final")
