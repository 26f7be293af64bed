"""A reward model worse than a coin on dev is said in the report, in its card and in the last line."""

from __future__ import annotations

from typing import Any

import pytest

from agentrm_trainer.fitting.reward_kinds import DevStates
from agentrm_trainer.reports.chance import WorseThanChanceError, kept_evaluation, worse_than_chance
from agentrm_trainer.reports.results import ALL, AccuracyFigures, Results
from agentrm_trainer.reports.tables import results_markdown
from agentrm_trainer.workflow.pipeline import run_pipeline, run_stage


def evaluated(selection: float, **accuracies: float) -> dict[str, Any]:
    pairs = {name.replace("accuracy", "pairs"): 40 for name in accuracies}
    return {"tokens": 1, "selection": selection, **accuracies, **pairs}


@pytest.mark.parametrize(
    ("evaluations", "expected"),
    [
        ([], ""),
        ([evaluated(0.6, siblings_accuracy=0.6)], ""),
        ([evaluated(0.5, siblings_accuracy=0.5, ends_accuracy=0.5)], ""),
        ([evaluated(0.4, siblings_accuracy=0.35, ends_accuracy=0.55)], "siblings 0.35 of 40 pairs"),
        ([evaluated(0.4, siblings_accuracy=0.3, ends_accuracy=0.49)], "siblings 0.30 of 40 pairs, ends 0.49 of 40"),
        ([evaluated(0.7, ends_accuracy=0.7), evaluated(0.3, ends_accuracy=0.3)], ""),
        ([evaluated(0.3, ends_accuracy=0.3), evaluated(0.45, ends_accuracy=0.45)], "ends 0.45 of 40 pairs"),
    ],
)
def test_the_model_that_was_kept_is_judged(evaluations: list[dict[str, Any]], expected: str) -> None:
    sentence = worse_than_chance({"evaluations": evaluations})
    assert expected in sentence and bool(expected) == bool(sentence)


def test_of_equal_evaluations_the_first_was_kept() -> None:
    one, other = evaluated(0.4, ends_accuracy=0.4), {**evaluated(0.4, ends_accuracy=0.4), "tokens": 2}
    assert kept_evaluation({"evaluations": [one, other]}) is one


@pytest.mark.parametrize(("accuracy", "warned"), [(None, False), (0.5, False), (0.49, True)])
def test_a_model_worse_than_chance_on_test_is_named_under_the_table(accuracy: float | None, warned: bool) -> None:
    fair, found = AccuracyFigures(0.9, 5), AccuracyFigures(accuracy, 5)
    results = Results({}, {ALL: None, "maze": None}, {ALL: fair, "maze": fair}, {ALL: fair, "maze": found},
                      {"maze": 0}, 5, "5x5")  # fmt: skip
    text = results_markdown(results)
    assert ("worse than chance on test: siblings of maze." in text) == warned
    assert ("Warning" in text) == warned


@pytest.fixture
def upside_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dev measures every model as worse than chance."""
    figures = {"ends_accuracy": 0.6, "ends_pairs": 9, "siblings_accuracy": 0.35, "siblings_pairs": 20, "selection": 0.4}
    monkeypatch.setattr(DevStates, "figures", lambda *arguments, **options: dict(figures))
    monkeypatch.setattr(DevStates, "empty", False)


@pytest.mark.usefixtures("upside_down")
def test_it_is_said_loudly_everywhere(make_workspace) -> None:
    workspace = make_workspace()
    said: list[str] = []
    workspace.display.say = said.append
    run_pipeline(workspace)
    sentence = "the reward model is worse than chance on dev (siblings 0.35 of 20 pairs)"
    assert f"WARNING: {sentence}" in said
    assert said[-1].startswith("finished in ") and said[-1].endswith(f". WARNING: {sentence}")
    for path in ("fit/reward/README.md", "report/RESULTS.md", "export/reward/README.md"):
        assert f"> **Warning:** {sentence}" in (workspace.out / path).read_text(), path


@pytest.mark.usefixtures("upside_down")
def test_it_ends_with_exit_code_5_where_that_is_asked(make_workspace) -> None:
    workspace = make_workspace()
    for stage in ("collect", "sft", "explore", "label", "fit"):
        run_stage(workspace, stage)
    with pytest.raises(WorseThanChanceError, match=r"siblings 0\.35 of 20 pairs") as told:
        run_pipeline(make_workspace(resume=True, fit={"require_better_than_chance": True}))
    assert told.value.exit_code == 5
    assert not workspace.is_finished("evaluate")
    run_pipeline(make_workspace(resume=True))
