"""The search map: widths follow samples or visits, nothing overlaps, and every theme's colours can be read."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from fake_run import FakeRun, finished_run, surroundings
from hypothesis import given
from hypothesis import strategies as st
from test_views import episode_of, two_steps
from textual.color import Color
from textual.theme import BUILTIN_THEMES

from agentrm_tui.runs import events as ev
from agentrm_tui.search.tree import ROOT
from agentrm_tui.ui.app import AgentRMApp
from agentrm_tui.ui.colour_scale import STEPS, ColourScale
from agentrm_tui.ui.screens.episode import EpisodeScreen
from agentrm_tui.ui.search_map import columns, lay_out, weigh
from agentrm_tui.ui.views import EpisodeView, view_episode
from agentrm_tui.ui.widgets.map_pane import SearchMapPane


def view_of(run: FakeRun) -> EpisodeView:
    return view_episode(episode_of(run.events), None)


def grown(seed: int, nodes: int, newest: int = 40) -> FakeRun:
    """A tree of random shape, deep if only the newest leaves get children."""
    draw, run = random.Random(seed), FakeRun().start_episode()
    leaves = ["0"]
    while nodes > 0:
        parent = draw.choice(leaves[-newest:])
        children = run.propose([parent], draw.randint(1, 6))
        run.act(children, 1)
        leaves.remove(parent)
        leaves += children
        nodes -= len(children)
    return run


def test_widths_are_shares_of_the_samples_that_went_through() -> None:
    view = view_of(two_steps())  # the first of two children was sampled twice, and so was its first child
    weights = weigh(view.tree)
    assert (weights["0"], weights["0.0"], weights["0.1"], weights["0.0.0"]) == (4, 3, 1, 2)
    rows = lay_out(view, weights, ROOT, 40).rows
    assert [[(cell.node, cell.left, cell.width) for cell in row] for row in rows] == [
        [("0", 0, 40)],
        [("0.0", 0, 30), ("0.1", 30, 10)],
        [("0.0.0", 0, 20), ("0.0.1", 20, 10)],
    ]


def test_visits_come_before_samples_and_q_before_the_reward() -> None:
    run = FakeRun("mcts").start_episode()
    run.score(run.propose(["0"], 3), [0.9, 0.2, 0.3])
    for path, values in [(("0", "0.1"), (0.5, 0.5)), (("0", "0.1"), (0.7, 0.7)), (("0", "0.0"), (0.1, 0.1))]:
        run.add(ev.Backpropagated(episode="e0", path=path, values=values))
    drawn = lay_out(view_of(run), weigh(view_of(run).tree), ROOT, 26)
    first, second, third = drawn.rows[1]
    assert (first.width, second.width, third.width) == (8, 16, 2)
    assert (first.value, second.value, third.value) == (pytest.approx(0.1), pytest.approx(0.6), None)
    assert drawn.scale == (pytest.approx(0.1), pytest.approx(0.6))


@given(st.integers(0, 10_000), st.integers(1, 120))
def test_children_fill_their_parents_span_and_none_is_lost(seed: int, width: int) -> None:
    view = view_of(grown(seed, 60))
    rows = lay_out(view, weigh(view.tree), ROOT, width).rows
    for above, below in pairwise(rows):
        for parent in above:
            cells = [cell for cell in below if view.tree[cell.node].parent == parent.node]
            children = view.tree[parent.node].children
            assert sum(cell.merged for cell in cells) == len(children)
            assert all(cell.width >= 1 for cell in cells)
            if children:
                assert sum(cell.width for cell in cells) == parent.width
                assert cells[0].left == parent.left
        assert all(one.left + one.width <= other.left for one, other in pairwise(below))


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=40), st.integers(0, 100))
def test_columns_are_shared_out_to_the_last_one(weights: list[float], spare: int) -> None:
    given_columns = columns(weights, len(weights) + spare)
    assert sum(given_columns) == len(weights) + spare and min(given_columns) >= 1
    order = sorted(range(len(weights)), key=lambda place: weights[place])
    assert all(given_columns[one] <= given_columns[other] + 1 for one, other in pairwise(order))


def test_what_cannot_be_seen_is_not_laid_out() -> None:
    view = view_of(grown(3, 10_000, 10_000))
    drawn = lay_out(view, weigh(view.tree), ROOT, 80)
    depth = max(node.depth for node in view.tree)
    assert sum(map(len, drawn.rows)) <= 80 * (depth + 1) < len(view.tree)


def test_siblings_are_told_apart_by_where_they_differ() -> None:
    run = FakeRun().start_episode()
    actions = ("get tasks of Ann Smith from the long list", "get tasks of Ann Jones from the long list")
    nodes = tuple(ev.ProposedNode(f"0.{place}", "0", f"Action: {action}") for place, action in enumerate(actions))
    run.add(ev.Proposed(episode="e0", asked=("0",), nodes=nodes))
    cells = lay_out(view_of(run), weigh(view_of(run).tree), ROOT, 40).rows[1]
    assert [actions[place][cell.shared :] for place, cell in enumerate(cells)] == [
        "Smith from the long list",
        "Jones from the long list",
    ]


def contrast(one: Color, other: Color) -> float:
    """The ratio of WCAG 2."""

    def luminance(colour: Color) -> float:
        parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.normalized]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", sorted(BUILTIN_THEMES))
def test_every_theme_has_a_scale_that_can_be_read(theme: str) -> None:
    built = BUILTIN_THEMES[theme].to_color_system().generate()
    scale = ColourScale(built)
    styles = [scale.style(step / STEPS, cut) for cut in (False, True) for step in range(STEPS)]
    if theme.startswith("ansi"):
        assert len(set(styles)) == 8 and all("#" not in style for style in styles)
        return
    assert len(set(styles)) == 2 * STEPS
    for style in styles:
        text, _, background = style.partition(" on ")
        assert contrast(Color.parse(text), Color.parse(background)) >= 4.5


def shown_map(app: AgentRMApp) -> SearchMapPane:
    assert isinstance(app.screen, EpisodeScreen)
    return app.screen.query_one(SearchMapPane)


async def test_keys_move_zoom_and_select(tmp_path) -> None:
    app = AgentRMApp(surroundings(finished_run()), replay=tmp_path / "x.jsonl", tick=False)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("1")
        pane = shown_map(app)
        view = pane.view
        assert view is not None and pane.has_focus
        assert pane.cursor == view.focus
        await pilot.press("up", "up")
        assert pane.cursor == view.best[-3]
        await pilot.press("enter")
        assert app.screen.selected == pane.cursor  # type: ignore[attr-defined]
        await pilot.press("z")
        assert pane.top == pane.cursor and pane.map.rows[0][0].node == pane.cursor
        await pilot.press("Z")
        assert pane.top == view.tree[pane.cursor].parent
        await pilot.press("down")
        below = view.tree[pane.cursor]
        assert below.parent == view.best[-3]
        beside = [node for node in view.tree[view.best[-3]].children if node != pane.cursor]
        await pilot.press("right")
        assert pane.cursor in beside
        await pilot.press("v")
        assert not pane.display and app.screen.query_one("#tree").has_focus
        await pilot.press("v")
        assert pane.display and pane.has_focus


async def test_a_click_selects_and_a_second_one_zooms(tmp_path) -> None:
    app = AgentRMApp(surroundings(finished_run()), replay=tmp_path / "x.jsonl", tick=False)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        pane = shown_map(app)
        cell = pane.map.rows[1][-1]
        await pilot.click(pane, offset=(cell.left + 2, 2), times=2)
        assert app.screen.selected == cell.node and pane.top == cell.node  # type: ignore[attr-defined]
