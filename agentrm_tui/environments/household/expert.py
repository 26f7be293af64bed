"""The expert: knows which places are likely for what, and of this home only what the agent has seen.

It looks for a thing in the likeliest kind of place first, by number among places of one kind, and goes straight to
what it has seen before. It can take over anywhere in an episode, also with a wrong thing in its hand.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from agentrm_tui.environments.household.homes import Home
from agentrm_tui.environments.household.things import APPLIANCES, LAMP, THINGS
from agentrm_tui.environments.household.world import NOWHERE, State, in_sight, is_treated, progress


class Advice(NamedTuple):
    """A thought and an action; both empty where the expert sees no way."""

    thought: str
    action: str


NO_WAY = Advice("", "")


def advise(home: Home, state: State) -> Advice:
    """The next action towards the goal, and why, in terms of what the agent has been told."""
    if progress(home, state) == 1.0:
        return NO_WAY
    if state.held == NOWHERE:
        return _fetch(home, state)
    if state.held not in home.wanted:
        return _put_away(home, state)
    if home.goal.type == "light":
        return _light(home, state)
    treatment = home.goal.treatment
    if treatment is not None and not is_treated(state, state.held, treatment):
        return _treat(home, state)
    return _deliver(home, state)


def _fetch(home: Home, state: State) -> Advice:
    """Take a thing of the wanted kind: one that has been seen, else look for one."""
    goal, base = home.goal, _collecting_place(home, state)
    known = [
        thing
        for thing in home.wanted
        if state.seen >> state.where[thing] & 1 and not (goal.type == "two" and state.where[thing] == base)
    ]
    if not known:
        return _search(home, state, goal.thing)
    treatment = goal.treatment

    def effort(thing: int) -> tuple[bool, bool, int]:
        undone = treatment is not None and not is_treated(state, thing, treatment)
        return undone, state.where[thing] != state.place, home.things[thing].number

    thing = min(known, key=effort)
    name, place = home.things[thing].name, state.where[thing]
    there = home.places[place].name
    if place != state.place:
        return Advice(f"The {name} is at {there}.", f"go to {there}")
    if not in_sight(home, state, place):
        return Advice(f"The {name} is in it, open it.", f"open {there}")
    return Advice(f"I see {name}, take it.", f"take {name} from {there}")


def _search(home: Home, state: State, kind: str) -> Advice:
    """Look into the likeliest place that has not been seen; last where the goal wants untreated things to be.

    A thing that only has to be put somewhere is hardly there: else the goal would be reached, or half of it.
    """
    kept = THINGS[kind].kept
    late = home.goal_places if home.goal.treatment is None else ()
    unseen = [
        (
            index in late,
            kept.index(place.kind) if place.kind in kept else len(kept),
            index != state.place,
            place.number,
            index,
        )
        for index, place in enumerate(home.places)
        if not state.seen >> index & 1
    ]
    if not unseen:
        return NO_WAY
    *_, place = min(unseen)
    name = home.places[place].name
    if place == state.place:
        return Advice(f"A {kind} may be in it, open it.", f"open {name}")
    what = "the second" if home.goal.type == "two" and _collecting_place(home, state) != NOWHERE else "a"
    return Advice(f"Look for {what} {kind} at {name}.", f"go to {name}")


def _light(home: Home, state: State) -> Advice:
    """Bring the thing to a lamp and switch the lamp on."""
    name = home.things[state.held].name
    known = [lamp for lamp in home.lamps if state.seen >> state.where[lamp] & 1]
    if not known:
        return _search(home, state, LAMP)
    lamp = min(known, key=lambda lamp: (state.where[lamp] != state.place, home.things[lamp].number))
    if state.where[lamp] == state.place:
        lit = home.things[lamp].name
        return Advice(f"I see {lit}, look at {name}.", f"use {lit}")
    there = home.places[state.where[lamp]].name
    return Advice(f"I have {name}, the lamp is at {there}.", f"go to {there}")


def _treat(home: Home, state: State) -> Advice:
    """Bring the thing to the first appliance and use it."""
    treatment = home.goal.treatment
    assert treatment is not None
    name = home.things[state.held].name
    fitting = [index for index, place in enumerate(home.places) if place.kind == APPLIANCES[treatment]]
    if not fitting:
        return NO_WAY
    appliance = min(fitting, key=lambda index: (index != state.place, home.places[index].number))
    there = home.places[appliance].name
    if appliance != state.place:
        return Advice(f"I have {name}, now {treatment} it.", f"go to {there}")
    return Advice(f"Now {treatment} {name} here.", f"{treatment} {name} with {there}")


def _deliver(home: Home, state: State) -> Advice:
    """Put the thing where it belongs: beside the first one, else here, else at the place with the lowest number."""
    name, base = home.things[state.held].name, _collecting_place(home, state)
    place = base
    if base == NOWHERE:
        place = min(home.goal_places, key=lambda index: (index != state.place, home.places[index].number))
    there = home.places[place].name
    if place != state.place:
        return Advice(f"I bring {name} to {there}.", f"go to {there}")
    if not in_sight(home, state, place):
        return Advice(f"It is closed, {name} goes into it.", f"open {there}")
    return Advice(f"Put {name} here.", f"move {name} to {there}")


def _put_away(home: Home, state: State) -> Advice:
    """Put down a thing that is not wanted: here if possible; where the goal wants other things only if it was there."""
    name = home.things[state.held].name
    fitting = [
        (index in home.goal_places, index != state.place, not in_sight(home, state, index), index)
        for index in range(len(home.places))
        if home.accepts(index, state.held) and (index not in home.goal_places or index == home.start[state.held])
    ]
    *_, place = min(fitting)
    there = home.places[place].name
    thought = f"I do not need {name}."
    if place != state.place:
        return Advice(thought, f"go to {there}")
    return Advice(thought, f"move {name} to {there}" if in_sight(home, state, place) else f"open {there}")


def _collecting_place(home: Home, state: State) -> int:
    """In tasks with two things, the place where the first one is: that with most of them that the agent has seen."""
    if home.goal.type != "two":
        return NOWHERE
    counts = Counter(state.where[thing] for thing in home.wanted)
    started = [place for place in home.goal_places if counts[place] and state.seen >> place & 1]
    return min(started, key=lambda place: (-counts[place], home.places[place].number), default=NOWHERE)
