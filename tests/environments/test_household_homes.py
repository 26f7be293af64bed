from __future__ import annotations

from random import Random

import pytest

from agentrm_tui.environments.household.homes import TASK_TYPES, Home, draw_home
from agentrm_tui.environments.household.levels import LEVELS, expert_way, make_home
from agentrm_tui.environments.household.things import APPLIANCES, LAMP, PLANS
from agentrm_tui.environments.household.world import first_state, progress


def check(home: Home) -> None:
    """A home that makes sense: known names, everything where it can be kept, and a goal that is still to be reached."""
    goal = home.goal
    kinds = {place.kind for place in home.places}
    assert kinds <= {plan.kind for plan in PLANS[home.room]}
    assert len(home.place_index) == len(home.places) and len(home.thing_index) == len(home.things)
    assert list(home.places) == sorted(home.places, key=lambda place: (place.kind, -place.number))
    assert list(home.things) == sorted(home.things, key=lambda thing: (thing.kind, -thing.number))
    assert all(home.accepts(place, thing) for thing, place in enumerate(home.start))
    assert all(home.room in kind.rooms for kind in home.kinds)
    assert len(home.wanted) >= (2 if goal.type == "two" else 1)
    assert progress(home, first_state(home)) == 0.0
    if goal.type == "light":
        assert goal.place == LAMP and home.lamps
    else:
        assert all(home.accepts(place, home.wanted[0]) for place in home.goal_places) and home.goal_places
    if goal.treatment:
        assert goal.treatment in home.kinds[home.wanted[0]].treatments
        assert APPLIANCES[goal.treatment] in kinds - {goal.place}
    elif goal.type != "light":
        assert not any(home.start[thing] in home.goal_places for thing in home.wanted)


@pytest.mark.parametrize("level", LEVELS)
def test_homes_make_sense(level: str) -> None:
    spec = LEVELS[level]
    least, most = (6, 8) if spec.size == "small" else (15, 25)
    for seed in range(60):
        home = make_home(level, seed)
        check(home)
        assert home.goal.type == spec.type and least <= len(home.places) <= most


@pytest.mark.parametrize("level", LEVELS)
def test_homes_differ(level: str) -> None:
    homes = [make_home(level, seed) for seed in range(300)]
    assert len({(home.places, home.things, home.start, home.goal[:3]) for home in homes}) >= 299
    assert len({home.goal[1:3] for home in homes}) >= 15
    assert len({home.room for home in homes}) == {"place": 4, "two": 4, "clean": 2, "light": 2}.get(
        LEVELS[level].type, 1
    )


@pytest.mark.parametrize("level", ["clean-small", "two-full"])
def test_a_home_depends_on_level_and_seed_alone(level: str) -> None:
    home = make_home(level, 77)
    make_home.cache_clear()
    make_home(level, 78)
    assert make_home(level, 77) == home != make_home(level, 78)


def test_a_way_that_takes_the_expert_too_long_is_no_way() -> None:
    rng = Random("too long")
    drawn = [home for _ in range(20) for kind in TASK_TYPES if (home := draw_home(kind, "full", rng))]
    ways = [len(expert_way(home, 1_000)) for home in drawn]
    assert min(ways) >= 3, "the expert finds every way in the end"
    assert max(ways) > 16
    for home, way in zip(drawn, ways, strict=True):
        assert len(expert_way(home, way)) == way
        assert expert_way(home, way - 1) == ()
