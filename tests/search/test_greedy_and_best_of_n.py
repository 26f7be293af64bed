from __future__ import annotations

import pytest
from hand_trees import FakeWorld
from hypothesis import given
from hypothesis import strategies as st

from agentrm_tui.search.best_of_n import BestOfN
from agentrm_tui.search.greedy import Greedy
from agentrm_tui.search.requests import Choose, Propose, Score


def test_greedy_proposes_acts_and_chooses_at_every_step() -> None:
    world = FakeWorld({"": "a", "a": "b"}, done=("ab",))
    log = world.run(Greedy())
    assert world.told(log) == ["propose -*1", "act a", "choose a", "propose a*1", "act ab", "choose ab final"]
    assert all(request.temperature == 0.0 for request in log if isinstance(request, Propose))


def best_of_five() -> FakeWorld:
    """Five samples: a, b, a, a, c. The three of `a` are one node that is gone on with three times.

    -  a(x3) -> p(x2) done, q(x1) -> z done
    -  b done at once; c -> d done
    """
    return FakeWorld(
        samples={"": "abaac", "a": "pqp", "c": "d", "aq": "z"},
        done=("ap", "b", "cd", "aqz"),
        rewards={"b": 0.6, "ap": 0.5, "cd": 0.9, "aqz": 0.2, "a": 0.1, "c": 0.1, "aq": 0.1},
    )


def test_best_of_n_goes_on_with_as_many_samples_as_a_merged_node_stands_for() -> None:
    world = best_of_five()
    assert world.told(world.run(BestOfN(n=5))) == [
        "propose -*5",
        "act a,b,c",
        "propose a*3,c*1",
        "act ap,aq,cd",
        "propose aq*1",
        "act aqz",
        "score b,ap,cd,aqz",
        "choose cd final",
    ]


@pytest.mark.parametrize(
    ("aggregate", "chosen"),
    # by hand: last b .6, ap .5, cd .9, aqz .2; mean b .6, ap .3, cd .5, aqz .13; min b .6, others .1;
    # sum b .6, ap .6, cd 1.0, aqz .4
    [("last", "cd"), ("mean", "b"), ("min", "b"), ("sum", "cd")],
)
def test_aggregations_over_the_steps_of_a_trajectory(aggregate: str, chosen: str) -> None:
    world = best_of_five()
    log = world.run(BestOfN(n=5, aggregate=aggregate))  # type: ignore[arg-type]
    assert world.told(log)[-1] == f"choose {chosen} final"
    if aggregate != "last":
        assert world.told(log)[-2] == "score a,b,c,ap,aq,cd,aqz"


def test_equal_values_are_won_by_the_node_made_first() -> None:
    world = FakeWorld({"": "abc"}, done=("a", "b", "c"), rewards={"a": 0.3, "b": 0.7, "c": 0.7})
    assert world.told(world.run(BestOfN(n=3)))[-1] == "choose b final"


def test_samples_that_all_agree_need_no_reward_model() -> None:
    world = FakeWorld({"": "a", "a": "b"}, done=("ab",))
    log = world.run(BestOfN(n=5))
    assert not any(isinstance(request, Score) for request in log)
    assert world.told(log)[-1] == "choose ab final"


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=8))
def test_best_of_one_is_sampling(actions: list[str]) -> None:
    path = "".join(actions)
    samples = {path[:i]: path[i] for i in range(len(path))}
    world = FakeWorld(samples, done=(path,))
    log = world.run(BestOfN(n=1))
    proposals = [request for request in log if isinstance(request, Propose)]
    assert [world.path(request.nodes[0]) for request in proposals] == [path[:i] for i in range(len(path))]
    assert all(request.counts == (1,) and request.temperature is None for request in proposals)
    assert isinstance(log[-1], Choose) and world.path(log[-1].node) == path
    assert not any(isinstance(request, Score) for request in log)
