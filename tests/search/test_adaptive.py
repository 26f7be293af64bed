from __future__ import annotations

from hand_trees import FakeWorld
from hypothesis import given
from hypothesis import strategies as st

from agentrm_tui.search.adaptive import Adaptive
from agentrm_tui.search.algorithm import RewardFacts
from agentrm_tui.search.best_of_n import BestOfN
from agentrm_tui.search.requests import Choose, Propose, Score


def four_ways() -> FakeWorld:
    """Trajectories ax .3, by .5, cz .9, dw .1, drawn in this order."""
    return FakeWorld(
        samples={"": "abcd", "a": "x", "b": "y", "c": "z", "d": "w"},
        done=("ax", "by", "cz", "dw"),
        rewards={"ax": 0.3, "by": 0.5, "cz": 0.9, "dw": 0.1},
    )


def test_waves_are_grown_until_one_trajectory_is_good_enough() -> None:
    world = four_ways()
    assert world.told(world.run(Adaptive(n=10, wave=2, stop_at=0.8))) == [
        "propose -*2",
        "act a,b",
        "propose a*1,b*1",
        "act ax,by",
        "score ax,by",
        "choose by",
        "propose -*2",
        "act c,d",
        "propose c*1,d*1",
        "act cz,dw",
        "score cz,dw",
        "choose cz",
        "choose cz final",
    ]


def test_a_trajectory_is_scored_as_it_ends_and_spares_the_rest_of_its_wave() -> None:
    world = FakeWorld(samples={"": "ab", "b": "y"}, done=("a", "by"), rewards={"a": 0.7, "by": 1.0})
    assert world.told(world.run(Adaptive(n=4, wave=2, stop_at=0.7))) == [
        "propose -*2",
        "act a,b",
        "score a",
        "choose a",
        "choose a final",
    ]


def test_the_last_wave_is_cut_to_n_and_the_best_end_is_chosen_where_none_is_good_enough() -> None:
    world = four_ways()
    log = world.run(Adaptive(n=3, wave=2, stop_at=2.0))
    counts = [request.counts for request in log if isinstance(request, Propose) and request.nodes == ("0",)]
    assert counts == [(2,), (1,)]
    assert world.told(log)[-1] == "choose cz final"


def test_a_trajectory_that_is_drawn_again_counts_but_is_neither_acted_nor_scored_again() -> None:
    world = FakeWorld(samples={"": "aab", "a": "x"}, done=("ax", "b"), rewards={"ax": 0.2, "b": 0.1})
    log = world.run(Adaptive(n=3, wave=1, stop_at=0.9))
    assert [line for line in world.told(log) if line.startswith(("act", "score"))] == [
        "act a",
        "act ax",
        "score ax",
        "act b",
        "score b",
    ]


@given(st.integers(1, 12), st.integers(1, 5), st.floats(0, 1))
def test_it_samples_at_most_n_and_never_less_reward_than_its_threshold_or_best_of_n(
    n: int, wave: int, stop_at: float
) -> None:
    """The same samples in the same order: what stops early is good enough, what does not is Best-of-N's choice."""
    world, plain = four_ways(), four_ways()
    log = world.run(Adaptive(n=n, wave=wave, stop_at=stop_at))
    drawn = sum(request.counts[0] for request in log if isinstance(request, Propose) and request.nodes == ("0",))
    (chosen,) = [request.node for request in log if isinstance(request, Choose) and request.final]
    reward = world.tree[chosen].reward_value
    assert drawn <= n and reward is not None
    if reward < stop_at:
        assert drawn == n
        best = [request.node for request in plain.run(BestOfN(n=n)) if isinstance(request, Choose)][-1]
        assert plain.path(best) == world.path(chosen) or n == 1
    scored = [node for request in log if isinstance(request, Score) for group in request.groups for node in group]
    assert len(scored) == len(set(scored))


def test_the_reward_models_own_threshold_is_taken_where_none_was_given() -> None:
    facts = RewardFacts("step", 0.7)
    assert Adaptive().missing() == "--stop-at"
    assert Adaptive().with_reward(facts) == Adaptive(stop_at=0.7)
    assert Adaptive(stop_at=0.2).with_reward(facts) == Adaptive(stop_at=0.2)
    assert Adaptive(stop_at=0.2).missing() == "" and "until 0.2" in Adaptive(stop_at=0.2).words
