from __future__ import annotations

from hand_trees import FakeWorld

from agentrm_tui.search.requests import Propose
from agentrm_tui.search.siblings import Siblings
from agentrm_tui.search.walk import Walk


def test_a_walk_takes_the_first_of_its_candidates_and_leaves_the_others_unacted() -> None:
    world = FakeWorld({"": "aba", "a": "ccd"}, done=("ac",))
    log = world.run(Walk(candidates=3))
    assert world.told(log) == ["propose -*3", "act a", "choose a", "propose a*3", "act ac", "choose ac final"]
    assert [child.action for child in world.tree.children("0")] == ["a", "b"]
    assert not world.node("b").acted and not world.node("ad").acted
    assert all(request.temperature is None for request in log if isinstance(request, Propose))


def test_actions_of_a_state_are_worth_the_mean_outcome_of_their_own_rollouts() -> None:
    """The trajectory is a, x. At its start a, b and c are compared, two rollouts each; c is not valid."""
    world = FakeWorld(
        {"": "aabc", "a": "xxyyxy", "b": "zz"},
        outcomes={"ax": 1.0, "ay": 0.0, "bz": 0.5},
        done=("ax", "ay", "bz"),
        invalid=("c",),
    )
    settings = Siblings(states=9, candidates=3, rollouts=2)
    log = world.told(world.run(settings))
    assert log[:4] == ["propose -*1", "act a", "propose a*1", "act ax"]
    assert log[4] == "propose -*3,a*3"
    assert [(world.node(path).visits, world.node(path).mean_return) for path in ("a", "b", "c")] == [
        (2, 0.5),
        (2, 0.5),
        (0, None),
    ]
    assert log[-1] == "choose ax final"
    assert world.tree.root.visits == 0, "what a choice is worth says nothing of the state before it"


def test_a_later_states_rollouts_do_not_count_for_the_actions_before_it() -> None:
    world = FakeWorld(
        {"": "aab", "a": "xxy", "ax": "pppppp", "ay": "qqqqqq", "b": "zzzz"},
        outcomes={"axp": 1.0, "ayq": 0.0, "bz": 0.0},
        done=("axp", "ayq", "bz"),
    )
    world.run(Siblings(states=2, candidates=2, rollouts=2))
    compared = [node for node in world.tree if node.visits >= 2]
    assert compared
    assert all(node.visits == 2 or node.parent != "0" for node in compared)


def test_states_with_one_valid_action_are_not_rolled_out() -> None:
    world = FakeWorld({"": "a", "a": "x"}, done=("ax",))
    log = world.run(Siblings(states=5, candidates=4, rollouts=3))
    assert not [line for line in world.told(log) if "rollout" in line or line.startswith("back")]
