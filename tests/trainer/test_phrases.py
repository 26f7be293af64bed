"""Fixed phrases as tokens: which are found, that they change no text, and that every way to look for them agrees."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from agentrm_models.load_options import LoadOptions
from agentrm_trainer.data.phrases import LEAST, find_names, find_phrases
from agentrm_trainer.data.tokenizer import train_tokenizer
from agentrm_trainer.data.trajectories import Trajectory, Turn, trajectory_of
from agentrm_trainer.workflow.plays import Sampling, make_plan, play
from agentrm_tui.environments.registry import make_environment
from agentrm_tui.search.greedy import Greedy


@pytest.fixture
def ladder_is_installed() -> None:
    """The real environments are played here."""


@pytest.fixture(scope="module")
def trajectories(tmp_path_factory: pytest.TempPathFactory) -> list[Trajectory]:
    found = []
    for name in ("babyai", "pddl"):
        environment = make_environment(name)
        tasks = [task.id for task in environment.tasks("train", count=150)]
        plan = make_plan(name, tasks, Greedy(), Sampling(0.0, 1, 0, 16, LoadOptions()), "expert")
        state = play(plan, tmp_path_factory.mktemp("runs") / f"{name}.jsonl")
        found += [trajectory_of(name, episode, "short") for episode in state.episodes.values()]
    return [trajectory for trajectory in found if trajectory is not None]


def texts(trajectories: list[Trajectory]) -> list[str]:
    return [turn.content for trajectory in trajectories for turn in trajectory.messages]


def test_names_are_what_varies_in_actions(trajectories: list[Trajectory]) -> None:
    names = find_names(trajectories)
    assert {"blue key", "grey ball", "trunk"} <= names
    assert not names & {"go", "pick", "to", "the", "next", "explore", "with"}


def test_phrases_leave_names_and_numbers_alone_and_never_overlap(trajectories: list[Trajectory]) -> None:
    phrases = find_phrases(trajectories, 300)
    assert len(phrases) > 100 and {" blue key", "Thought: The whole goal holds.\nAction: finish"} <= set(phrases)
    assert not any(character.isdigit() or phrase.endswith(" ") for phrase in phrases for character in phrase)
    said = texts(trajectories)
    assert all(sum(text.count(phrase) for text in said) >= LEAST for phrase in phrases)
    for one, other in product(phrases, repeat=2):
        assert not any(other.startswith(one[-n:]) for n in range(1, min(len(one), len(other)))), (one, other)


def test_phrases_change_no_text_and_save_a_third_of_the_tokens(trajectories: list[Trajectory]) -> None:
    plain, short = (train_tokenizer(trajectories, 1_000, 1_000, 512, phrases) for phrases in (0, 300))
    said = texts(trajectories)
    assert all(short.decode(short.encode(text)) == text for text in said)
    counts = [sum(len(tokenizer.encode(text)) for text in said) for tokenizer in (plain, short)]
    assert counts[1] < counts[0] * 2 / 3


def test_without_actions_there_are_no_phrases() -> None:
    silent = Trajectory("ladder", "low:0", "low", "key", 1.0, 0, (Turn("user", "Nothing happens here.", True),))
    assert find_phrases([silent] * 50, 10) == ()


def test_llama_cpp_finds_the_same_phrases(trajectories: list[Trajectory], tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    from agentrm_models.llama_cpp.gguf_export import export_gguf

    tokenizer = train_tokenizer(trajectories, 1_000, 1_000, 512, 300)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=512, tie_word_embeddings=True, **shape)
    LlamaForCausalLM(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    report = export_gguf(tmp_path / "model", tmp_path / "model.gguf")
    assert "tokenised alike" in str(report)
