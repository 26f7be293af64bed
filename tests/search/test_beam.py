from __future__ import annotations

import math
from itertools import pairwise

from hand_trees import FakeWorld
from hypothesis import given
from hypothesis import strategies as st

from agentrm_tui.search.beam import Beam
from agentrm_tui.search.requests import Act, Prune, Score

TWO_BY_TWO = Beam(beam=(2, 2))


def test_a_beam_worked_out_by_hand() -> None:
    """2x2: the root gives 2x2 samples; a finished beam competes with the candidates and is cut when it is beaten.

    round 1: a .5, b .4, c .9, d .1 -> keep a, c (cutoff .5); acting shows that a is done
    round 2: c -> e .3, f .6; with a .5: keep a, f (cutoff .5)
    round 3: f -> g .7, h .8; with a .5: keep g, h (cutoff .7); a is cut by .2; both are done
    """
    world = FakeWorld(
        samples={"": "abcd", "c": "ef", "cf": "gh"},
        rewards={"a": 0.5, "b": 0.4, "c": 0.9, "d": 0.1, "ce": 0.3, "cf": 0.6, "cfg": 0.7, "cfh": 0.8},
        done=("a", "cfg", "cfh"),
    )
    assert world.told(world.run(TWO_BY_TWO)) == [
        "propose -*4",
        "score a,b,c,d",
        "prune b,d -0.10,-0.40",
        "act a,c",
        "choose c",
        "propose c*2",
        "score a,ce,cf",
        "prune ce -0.20",
        "act cf",
        "choose cf",
        "propose cf*2",
        "score a,cfg,cfh",
        "prune a -0.20",
        "act cfg,cfh",
        "choose cfh final",
    ]


def test_it_ends_when_all_kept_beams_have_finished_even_if_others_could_go_on() -> None:
    world = FakeWorld({"": "abcd"}, rewards={"a": 0.9, "b": 0.8, "c": 0.7}, done=("a", "b"))
    assert world.told(world.run(TWO_BY_TWO))[-3:] == ["prune c,d -0.10,-0.80", "act a,b", "choose a final"]


def test_equal_values_keep_the_node_made_first() -> None:
    world = FakeWorld({"": "abcd"}, rewards=dict.fromkeys("abcd", 0.5), done=tuple("abcd"))
    assert world.told(world.run(TWO_BY_TWO))[2:] == ["prune c,d 0.00,0.00", "act a,b", "choose a final"]


def test_a_node_that_a_person_kept_goes_on_beside_the_others() -> None:
    world = FakeWorld({"": "abcd"}, rewards={"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.1}, done=tuple("abc"), kept=("c",))
    assert world.told(world.run(TWO_BY_TWO))[-2:] == ["act a,b,c", "choose a final"]


def test_merged_samples_leave_fewer_beams_and_nothing_to_cut() -> None:
    world = FakeWorld({"": "aaaa", "a": "bb"}, done=("ab",))
    assert world.told(world.run(TWO_BY_TWO)) == [
        "propose -*4",
        "score a",
        "act a",
        "choose a",
        "propose a*2",
        "score ab",
        "act ab",
        "choose ab final",
    ]


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.dictionaries(st.text("abc", min_size=1, max_size=4), st.floats(0, 1), max_size=40),
    st.sets(st.text("abc", min_size=1, max_size=3)),
)
def test_never_more_than_w1_beams_are_kept(width: int, samples: int, rewards: dict[str, float], done: set[str]) -> None:
    paths = [""]
    for _ in range(4):
        paths += [path + letter for path in paths for letter in "abc" if len(path) < 4]
    longest = tuple(path for path in paths if len(path) == 4)
    world = FakeWorld(dict.fromkeys(paths, "abc"), rewards, done=(*sorted(done), *longest))
    log = world.run(Beam(beam=(width, samples)))
    kept: set[str] = set()
    for before, after in pairwise(log):
        if isinstance(before, Score):
            cut = after.nodes if isinstance(after, Prune) else ()
            kept = set(before.groups[0]) - set(cut)
            assert len(kept) <= width
        if isinstance(after, Act):
            assert set(after.nodes) <= kept
        if isinstance(before, Prune):
            worst = min(world.tree[node].reward_value or 0.0 for node in kept)
            for node, margin in zip(before.nodes, before.margins, strict=True):
                assert math.isclose(margin, (world.tree[node].reward_value or 0.0) - worst, abs_tol=1e-12)
                assert margin <= 0
