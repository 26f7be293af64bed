"""The feed: what a position means, that seeking equals reading, that playing keeps time by the clock it is given."""

from __future__ import annotations

import random

import msgspec
import pytest
from fake_run import FakeClock, FakeReader, FakeRun, finished_run
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrm_tui.runs.events import Acted, AnyEvent, EpisodeStarted, Fault, Rewound
from agentrm_tui.runs.state import RunState, apply
from agentrm_tui.ui import timeline
from agentrm_tui.ui.feed import SHORTEST_WAIT, Feed
from agentrm_tui.ui.timeline import EVENTS_AT_ONCE, TREES_KEPT

EVENTS = finished_run()


def state_after(count: int) -> bytes:
    state = RunState(trees_kept=TREES_KEPT)
    for event in EVENTS[:count]:
        apply(state, event)
    return msgspec.json.encode(state)


@settings(max_examples=30)
@given(st.lists(st.integers(-3, len(EVENTS) + 3), min_size=1, max_size=6))
def test_seeking_gives_the_state_that_reading_gives(places: list[int]) -> None:
    feed = Feed(FakeReader(EVENTS), FakeClock(), follow=False)
    feed.poll()
    for place in places:
        feed.seek(place)
        clamped = max(0, min(len(EVENTS), place))
        assert feed.position == clamped
        assert msgspec.json.encode(feed.state) == state_after(clamped)


@settings(max_examples=20)
@given(st.lists(st.integers(1, 7), max_size=8))
def test_live_is_replay(pieces: list[int]) -> None:
    reader = FakeReader([])
    feed = Feed(reader, FakeClock(), follow=True)
    given_out = 0
    for piece in pieces:
        reader.append(*EVENTS[given_out : given_out + piece])
        given_out = min(len(EVENTS), given_out + piece)
        snapshot = feed.poll()
        assert snapshot.position == given_out
        assert msgspec.json.encode(snapshot.state) == state_after(given_out)


def test_a_long_file_is_applied_in_pieces() -> None:
    run = FakeRun().start_episode()
    for _ in range(EVENTS_AT_ONCE + 10):
        run.act([], 1)
    feed = Feed(FakeReader(run.events), FakeClock(), follow=True)
    assert feed.poll().position == EVENTS_AT_ONCE
    assert feed.behind
    assert feed.poll().position == len(run.events)


def test_playing_follows_the_clock_and_the_speed() -> None:
    clock = FakeClock()
    feed = Feed(FakeReader(EVENTS), clock, follow=False)
    feed.poll()
    feed.play()
    assert feed.poll().position == 1
    clock.now += 0.1
    assert feed.poll().position == 1
    clock.now += 0.11
    assert feed.poll().position == 2
    feed.change_speed(1)
    clock.now += 1.0
    fast = feed.poll().position
    assert 2 + 1.0 / 0.2 < fast <= 2 + 1.0 / (SHORTEST_WAIT / 2) + 1
    clock.now += 1000
    assert feed.poll().position == len(EVENTS)
    assert not feed.playing
    feed.play()
    assert feed.position == 0


def test_the_version_changes_with_the_state_only() -> None:
    feed = Feed(FakeReader(EVENTS), FakeClock(), follow=False)
    feed.poll()
    feed.seek(5)
    version = feed.poll().version
    assert feed.poll().version == version
    feed.seek(4)
    assert feed.poll().version != version


def test_time_goes_on_between_events_only_while_it_runs() -> None:
    clock = FakeClock()
    feed = Feed(FakeReader(EVENTS[:6]), clock, follow=True)
    recorded = feed.poll().elapsed
    clock.now += 5
    assert feed.poll(running=True).elapsed == recorded + 5
    assert feed.poll(running=False).elapsed == recorded


def many_episodes(tasks: int = 12) -> list[AnyEvent]:
    """Episodes one after another, then a fork of the first, and a step back in the second."""
    run = FakeRun(tasks=tasks).load()
    for number in range(tasks):
        run.start_episode(number).beam(3)
    events = list(run.events)
    first = next(event for event in events if isinstance(event, EpisodeStarted))
    acted = next(number for number, event in enumerate(events) if isinstance(event, Acted))
    fork = msgspec.structs.replace(first, episode="e0.f1", parent="e0", parent_event=acted)
    second = [number for number, event in enumerate(events) if event.episode == "e1" and isinstance(event, Acted)]
    return [*events, fork, Rewound(episode="e1", to=second[0]), Fault(episode="e2", message="late")]


def test_every_place_of_a_long_run_shows_the_trees_that_reading_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "NEAR", 4)
    monkeypatch.setattr(timeline, "OUTLINES", 3)
    monkeypatch.setattr(timeline, "EVENTS_AT_ONCE", 50)
    events = many_episodes()
    feed = Feed(FakeReader(events), FakeClock(), follow=False)
    feed.poll()
    noise = random.Random(3)
    for place in [len(events), *(noise.randrange(len(events) + 1) for _ in range(60)), len(events)]:
        feed.seek(place)
        while feed.behind:
            feed.poll()
        truth = RunState()
        for event in events[:place]:
            apply(truth, event)
        state = feed.state
        assert (feed.position, list(state.episodes), state.ledger) == (place, list(truth.episodes), truth.ledger)
        assert (state.clock, state.faults, state.loading) == (truth.clock, truth.faults, truth.loading)
        assert [one.status for one in state.episodes.values()] == [one.status for one in truth.episodes.values()]
        for name in {feed.shown_episode(), *noise.sample(list(truth.episodes), min(3, len(truth.episodes)))} - {""}:
            assert msgspec.json.encode(feed.episode(name)) == msgspec.json.encode(truth.episodes[name])
        trees = sum(not episode.forgotten for episode in feed.state.episodes.values())
        assert trees <= TREES_KEPT + len(truth.waiting())


def test_the_end_is_that_of_the_file_while_it_is_still_read() -> None:
    reader = FakeReader(EVENTS[:8])
    reader.behind = True
    feed = Feed(reader, FakeClock(), follow=False)
    feed.poll()
    feed.seek(len(feed.events))
    reader.append(*EVENTS[8:12])
    assert feed.poll().position == 12 and feed.behind
    feed.seek(3)
    reader.append(*EVENTS[12:])
    reader.behind = False
    snapshot = feed.poll()
    assert (snapshot.position, snapshot.total, feed.behind) == (3, len(EVENTS), False)


def interleaved() -> list[AnyEvent]:
    """Two episodes of two steps that were played at once, an event of each in turn."""
    run = FakeRun(tasks=2)
    halves = []
    for number in range(2):
        alone = FakeRun(tasks=2).start_episode(number)
        alone.beam(steps=2, width=1, each=2)
        halves.append(alone.events[1:])
    mixed = [event for pair in zip(*halves, strict=True) for event in pair]
    return [*run.events, *mixed, *FakeRun(tasks=2).finish().events[1:]]


def test_episodes_that_were_played_at_once_are_gone_through_one_after_another() -> None:
    events = interleaved()
    feed = Feed(FakeReader(events), FakeClock(), follow=False)
    feed.poll()
    seen = []
    while feed.position < len(events):
        feed.seek_event(1)
        feed.poll()
        seen.append(feed.shown_episode())
    own = [sum(event.episode == name for event in events) for name in ("e0", "e1")]
    assert seen == ["", *["e0"] * own[0], *["e1"] * own[1], "e1"]
    back = []
    while feed.position:
        back.append(feed.shown_episode())
        feed.seek_event(-1)
        feed.poll()
    assert back == seen[::-1]
    feed.seek_step(1)
    steps = []
    while feed.shown_episode() == "e0":
        steps.append(type(feed.last_event).__name__)
        feed.seek_step(1)
    assert steps == ["Acted", "Acted"], "the other episode's steps in between are passed over"


def test_a_recording_that_is_being_read_plays_on_when_more_has_come() -> None:
    reader, clock = FakeReader(EVENTS[:2]), FakeClock()
    reader.behind = True
    feed = Feed(reader, clock, follow=False)
    feed.poll()
    feed.play()
    clock.now += 10
    assert feed.poll().position == 2 and feed.playing
    reader.append(*EVENTS[2:])
    reader.behind = False
    clock.now += 10
    assert feed.poll().position > 2
