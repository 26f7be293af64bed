"""The nearest right spelling: near, foreign, long and hostile names."""

from __future__ import annotations

import pytest

from agentrm_models.spelling import LONGEST_NAME, did_you_mean, nearest

NAMES = ("webshop", "household", "maze", "loadPaperNet")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("mase", "maze"),
        ("hosehold", "household"),
        ("MAZE", "maze"),
        ("loadpapernet", "loadPaperNet"),
        ("loadPaperNet2", "loadPaperNet"),
        ("xylophone", ""),
        ("", ""),
        ("\x1b]0;t\x07", ""),
    ],
)
def test_the_nearest_name(name: str, near: str) -> None:
    assert nearest(name, NAMES) == near
    assert nearest(name, iter(NAMES)) == near
    assert nearest(name, ()) == ""


def test_a_spelling_as_typed_wins_over_one_in_another_case() -> None:
    assert nearest("Mazes", ("MAZES", "Maze")) == "Maze"


def test_the_remedy_offers_or_lists() -> None:
    assert did_you_mean("mase", NAMES) == "Did you mean 'maze'?"
    assert did_you_mean("qqq", NAMES, "Levels") == "Levels: webshop, household, maze, loadPaperNet."
    assert did_you_mean("qqq", NAMES, "") == did_you_mean("qqq", ()) == ""
    assert did_you_mean("qqq", (f"{k:02}" for k in range(50))).endswith("18, 19 and 30 more.")


def test_hostile_names_are_bounded_and_shown_safely() -> None:
    long = "ab" * 500_000
    hostile = f"{long}\x1b]0;t\x07"
    for remedy in (did_you_mean("x" * 1_000_000, [long]), did_you_mean(long, [hostile]), did_you_mean("q", [hostile])):
        assert remedy.isprintable() and len(remedy) < LONGEST_NAME + 40
    assert did_you_mean("\x1bab", ["\x1babc"]) == "Did you mean '\\x1babc'?"
    assert len(did_you_mean("q", (f"{'z' * 200}{k}" for k in range(5_000)))) < 30 * LONGEST_NAME
