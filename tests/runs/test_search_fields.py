from __future__ import annotations

import pytest

from agentrm_models.errors import UsageError
from agentrm_tui.runs.search_fields import fields_of, flags, settings_of
from agentrm_tui.search.beam import Beam
from agentrm_tui.search.mcts import MCTS
from agentrm_tui.search.registry import ALGORITHMS


def test_every_setting_of_every_algorithm_is_described_and_reads_what_it_writes() -> None:
    for algorithm in ALGORITHMS:
        for field in fields_of(algorithm):
            assert field.words, f"the docstring of {algorithm} does not describe {field.name}"
            assert field.read(field.write(field.default)) == field.default
        assert settings_of(algorithm, {}) == ALGORITHMS[algorithm]()


def test_an_algorithm_names_itself_and_says_what_it_does() -> None:
    for name, kind in ALGORITHMS.items():
        assert kind().name == name and kind.summary
        assert kind().words.startswith(name.partition("-")[0])


def test_settings_of_one_name_share_a_flag() -> None:
    field, owners = flags()["n"]
    assert field.flag == "-n" and owners == ("best-of-n", "adaptive")
    assert flags()["share_states"][0].flag == "--share-states"


def test_settings_are_made_from_what_was_typed() -> None:
    assert settings_of("beam", {"beam": (3, 2), "iterations": 9, "n": None}) == Beam(beam=(3, 2))
    assert settings_of("mcts", {"leaf": "rollout", "share_states": True}) == MCTS(leaf="rollout", share_states=True)


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("beam", "5"),
        ("beam", "0x5"),
        ("beam", "5x1000"),
        ("beam", "5x-1"),
        ("n", "0"),
        ("n", "1.5"),
        ("n", "٣"),
        ("n", "9" * 40),
        ("exploration", "-0.1"),
        ("exploration", "nan"),
        ("discount", "1.01"),
        ("discount", "inf"),
        ("stop_at", "1e999"),
        ("leaf", "root"),
        ("share_states", "maybe"),
        ("iterations", ""),
    ],
)
def test_what_a_setting_does_not_take_is_refused_by_its_flag(name: str, typed: str) -> None:
    field, _ = flags()[name]
    with pytest.raises(UsageError, match=field.flag):
        field.read(typed)


def test_a_search_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="beem"):
        settings_of("beem", {})
