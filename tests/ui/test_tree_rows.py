"""Which nodes have a line in the tree, and where a deep one starts."""

from __future__ import annotations

from fake_run import FakeRun

from agentrm_tui.runs.state import RunState, apply
from agentrm_tui.ui.tree_rows import first_node, tree_rows
from agentrm_tui.ui.views import EpisodeView, view_episode


def view_of(run: FakeRun, selected: str | None = None) -> EpisodeView:
    state = RunState()
    for event in run.events:
        apply(state, event)
    assert state.current is not None
    return view_episode(state.current, selected)


def three_levels() -> FakeRun:
    """`0.0` is cut after it grew children of its own, as a rewind and un-cut can leave it; `0.1` leads on."""
    run = FakeRun().start_episode()
    first = run.propose(["0"], 2)
    run.score(first, [0.2, 0.8])
    run.act(first, 1)
    second = run.propose(first, 2)
    run.score(second, [0.1, 0.1, 0.9, 0.3])
    run.prune(["0.0"])
    return run


def test_guides_follow_the_branches() -> None:
    rows = tree_rows(view_of(three_levels()), "0", {"0.0": True})
    assert [(row.guides, row.node) for row in rows] == [
        ("", "0"),
        ("├ ", "0.0"),
        ("│ ├ ", "0.0.0"),
        ("│ └ ", "0.0.1"),
        ("└ ", "0.1"),
        ("  ├ ", "0.1.0"),
        ("  └ ", "0.1.1"),
    ]


def test_what_was_cut_is_closed_until_somebody_opens_or_selects_it() -> None:
    run = three_levels()
    closed = {row.node: row.opened for row in tree_rows(view_of(run), "0", {})}
    assert closed == {"0": True, "0.0": False, "0.1": True, "0.1.0": None, "0.1.1": None}
    assert "0.0.1" in {row.node for row in tree_rows(view_of(run), "0", {"0.0": True})}
    assert "0.0.1" in {row.node for row in tree_rows(view_of(run, "0.0.1"), "0", {})}
    assert "0.1.0" not in {row.node for row in tree_rows(view_of(run), "0", {"0.1": False})}


def test_rows_tell_the_best_path_and_the_shown_node() -> None:
    rows = {row.node: row for row in tree_rows(view_of(three_levels(), "0.1.1"), "0", {})}
    assert [node for node, row in rows.items() if row.best] == ["0", "0.1", "0.1.0"]
    assert [node for node, row in rows.items() if row.shown] == ["0.1.1"]


def test_a_long_path_starts_at_a_later_step_and_moves_on_in_hops() -> None:
    run = FakeRun().start_episode()
    node = "0"
    for step in range(1, 13):
        (node,) = run.propose([node], 1)
        run.score([node], [0.5])
        run.act([node], step)
    view = view_of(run)
    assert len(view.path) == 13
    assert first_node(view, "0", 20) == "0"
    top = first_node(view, "0", 8)
    assert top == view.path[7]
    assert first_node(view, top, 8) == top
    assert first_node(view, "gone", 20) == "0"
