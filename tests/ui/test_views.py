"""Views of hand-made episodes: marks, order, regret, and what a selection changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_run import FakeRun, finished_run, running_run, surroundings

from agentrm_tui.runs import events as ev
from agentrm_tui.runs.state import EpisodeState, RunState, apply
from agentrm_tui.ui.app import AgentRMApp
from agentrm_tui.ui.screens.episode import EpisodeScreen
from agentrm_tui.ui.tree_rows import OPEN_NODES
from agentrm_tui.ui.views import StepValue, ValueRange, view_episode
from agentrm_tui.ui.widgets.map_pane import SearchMapPane
from agentrm_tui.ui.widgets.search_tree import SearchTree
from agentrm_tui.ui.widgets.value_plot import ValuePlot, plot


def episode_of(events: list[ev.AnyEvent]) -> EpisodeState:
    state = RunState()
    for event in events:
        apply(state, event)
    assert state.current is not None
    return state.current


def two_steps() -> FakeRun:
    """Two children of the root (0.6 and 0.4, the second cut); two of the first (0.3, 0.5)."""
    run = FakeRun().start_episode()
    run.score(run.propose(["0"], 2), [0.6, 0.4])
    run.add(ev.Pruned(episode="e0", nodes=("0.1",), why="outside the best 1", margins=(-0.2,)))
    run.act(["0.0"], 1)
    run.score(run.propose(["0.0"], 2), [0.3, 0.5])
    return run


def test_the_best_path_is_followed_and_the_table_is_sorted() -> None:
    view = view_episode(episode_of(two_steps().events), None)
    assert view.path == ("0", "0.0", "0.0.1")
    assert [(row.node, row.mark, row.reward) for row in view.candidates] == [
        ("0.0.1", "judged", 0.5),
        ("0.0.0", "judged", 0.3),
    ]
    assert [(step.step, step.value, step.best_other) for step in view.values] == [(1, 0.6, 0.4), (2, 0.5, 0.3)]
    assert [step.regret for step in view.values] == [0.0, 0.0]


def test_without_a_reward_model_the_acted_node_is_followed() -> None:
    run = FakeRun("greedy").start_episode()
    run.propose(["0"], 1)
    assert view_episode(episode_of(run.events), None).path == ("0",)
    run.act(["0.0"], 1)
    assert view_episode(episode_of(run.events), None).path == ("0", "0.0")


@pytest.mark.parametrize(("other", "said"), [(0.604, "no regret"), (0.606, "regret 0.01"), (None, "no regret")])
def test_a_regret_too_small_to_be_written_is_none(other: float | None, said: str) -> None:
    pane = ValuePlot()
    pane.values = (StepValue(1, 0.6, other), StepValue(2, 0.5, 0.5))
    assert said in "".join(text for text, _ in pane.draw(60, 12)[-1])


def test_under_visits_the_best_path_is_where_they_went() -> None:
    run = FakeRun("mcts").start_episode()
    run.score(run.propose(["0"], 2), [0.2, 0.9])
    run.act(["0.0", "0.1"], 1)
    for path in (("0", "0.0"), ("0", "0.0"), ("0", "0.1")):
        run.add(ev.Backpropagated(episode="e0", path=path, values=(0.5,) * len(path)))
    run.score(run.propose(["0.1"], 2), [0.99, 0.98])
    assert view_episode(episode_of(run.events), None).path == ("0", "0.0")
    run.add(ev.Chosen(episode="e0", node="0.1"))
    assert view_episode(episode_of(run.events), None).path == ("0", "0.1"), "what was played comes first"
    run.add(ev.Backpropagated(episode="e0", path=("0", "0.1", "0.1.1"), values=(0.9, 0.9, 0.9)))
    assert view_episode(episode_of(run.events), None).path == ("0", "0.1", "0.1.1")


def test_an_ended_path_of_higher_reward_is_better_than_one_that_goes_on() -> None:
    run = FakeRun().start_episode()
    run.score(run.propose(["0"], 2), [0.8, 0.6])
    run.act(["0.0"], 1, done=True)
    run.act(["0.1"], 1)
    run.score(run.propose(["0.1"], 2), [0.5, 0.7])
    assert view_episode(episode_of(run.events), None).path == ("0", "0.0")
    run.score(run.propose(["0.1.1"], 1), [0.9])
    assert view_episode(episode_of(run.events), None).path == ("0", "0.1", "0.1.1", "0.1.1.0")


def test_a_selection_shows_its_siblings_its_path_and_its_regret() -> None:
    view = view_episode(episode_of(two_steps().events), "0.1")
    assert view.path == ("0", "0.1")
    assert [(row.node, row.mark) for row in view.candidates] == [("0.0", "kept"), ("0.1", "cut")]
    assert view.candidates[1].why == "outside the best 1"
    assert round(view.values[0].regret, 6) == 0.2


def test_the_chosen_path_is_marked() -> None:
    run = two_steps()
    run.add(ev.Chosen(episode="e0", node="0.0.1", final=True))
    view = view_episode(episode_of(run.events), None)
    assert [turn.mark for turn in view.transcript[1:]] == ["chosen", "chosen"]
    assert view.candidates[0].mark == "chosen"


def test_values_outside_0_to_1_get_their_own_scale() -> None:
    run = FakeRun().start_episode()
    run.score(run.propose(["0"], 2), [-3.0, 5.0])
    scale = view_episode(episode_of(run.events), None).scale
    assert scale == ValueRange(-3.0, 5.0)
    assert scale.share(1.0) == 0.5


def test_the_plot_draws_every_step_of_the_path() -> None:
    view = view_episode(episode_of(finished_run()), None)
    lines = ["".join(text for text, _ in line) for line in plot(view.values, view.scale, 60, 10)]
    assert {len(line) for line in lines} == {60}
    assert sum(line.count("●") + line.count("◉") for line in lines) == len(view.values)


def long_run(nodes: int) -> list[ev.AnyEvent]:
    run = FakeRun().load().start_episode()
    beams, made, step = ["0"], 0, 0
    while made < nodes:
        step += 1
        children = run.propose(beams, 20)
        made += len(children)
        run.score(children, [round(run.noise.random(), 3) for _ in children])
        run.act(children, step)
        keep = children[:: max(1, len(children) // 25)][:25]
        cut = [node for node in children if node not in keep]
        run.add(ev.Pruned(episode="e0", nodes=tuple(cut), why="outside the best 25"))
        rollouts = run.propose(cut[:3], 2, phase="rollout")
        run.score(rollouts, [0.1] * len(rollouts))
        beams = keep
    return run.events


async def test_ten_thousand_nodes_cost_only_what_is_open() -> None:
    app = AgentRMApp(surroundings(long_run(10_000)), replay=Path("x.jsonl"), tick=False)
    async with app.run_test(size=(200, 60)) as pilot:
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, EpisodeScreen)
        assert screen.view is not None
        assert len(screen.view.tree) > 10_000
        drawn = screen.query_one(SearchMapPane).map
        assert 200 < sum(map(len, drawn.rows)) <= 200 * len(drawn.rows)
        await pilot.press("6")
        tree = screen.query_one(SearchTree)
        main = sum(len(screen.view.tree[node].children) for node in {*screen.view.best, *screen.view.path})
        assert 50 < len(tree.rows) <= OPEN_NODES + 20 + main + 1
        for row in tree.rows:
            if screen.view.tree[row.node].pruned:
                assert not row.opened
        before = screen.session.feed.position
        await pilot.press("2", "left", "6", "up", "up", "down")
        assert screen.session.feed.position == before - 1
        assert len(tree.rows) < 1_000


async def test_going_back_takes_nodes_out_of_the_tree() -> None:
    app = AgentRMApp(surroundings(running_run()), replay=Path("x.jsonl"), tick=False)
    async with app.run_test(size=(200, 60)) as pilot:
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, EpisodeScreen)
        await pilot.press("6")
        tree = screen.query_one(SearchTree)
        whole = len(tree.rows)
        screen.session.feed.seek(8)
        screen.refresh_run()
        assert screen.view is not None
        assert {row.node for row in tree.rows} == {node.id for node in screen.view.tree}
        assert len(tree.rows) < whole
