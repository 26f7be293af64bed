"""Kinds of models are data: whoever adds one writes a class and a line, and everything else follows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_llama import make_policy
from tiny_models import save_model, tiny_policy_model, tiny_reward_model, tiny_tokenizer

from agentrm_models import specs
from agentrm_models.errors import AgentRMError, DataError, UsageError
from agentrm_models.kinds import ModelSpec, SpecText, take_apart
from agentrm_models.llama_cpp.gguf_export import export_gguf
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Message
from agentrm_models.policies.gguf import gguf_policy
from agentrm_models.policies.registry import POLICY_KINDS
from agentrm_models.policies.transformers import transformers_policy
from agentrm_models.rewards.base import RewardModel, RewardTraits, ScoreGroup
from agentrm_models.rewards.registry import REWARD_KINDS
from agentrm_models.rewards.scripted import RandomReward
from agentrm_models.specs import describe_spec, load_policy, load_reward, parse_spec, reward_kinds

TOKENIZER = tiny_tokenizer()
CPU = LoadOptions(device="cpu", threads=1)


@dataclass(frozen=True)
class LengthSpec(ModelSpec[RewardModel]):
    """What a kind costs: this class, and its line in the registry."""

    syntax = ("length[:SHORTEST]",)
    words = ("length",)
    loaded: ClassVar[list[LoadOptions]] = []

    spec: str
    shortest: int

    @classmethod
    def parse(cls, text: SpecText) -> LengthSpec | None:
        if text.head != "length":
            return None
        if not (text.rest or "0").isdecimal():
            raise UsageError(f"{text.whole}: the length must be a number")
        return cls(text.whole, int(text.rest or "0"))

    def describe(self) -> str:
        return f"longer than {self.shortest}"

    def load(self, options: LoadOptions) -> RewardModel:
        self.loaded.append(options)
        return RandomReward(self.shortest, self.spec)


def test_a_new_kind_is_a_class_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specs, "REWARD_KINDS", (*REWARD_KINDS, LengthSpec))
    assert "length[:SHORTEST]" in reward_kinds()
    assert describe_spec("length:7", "reward") == "longer than 7"
    assert load_reward("length:7", CPU).traits.name == "length:7"
    assert LengthSpec.loaded == [CPU]
    for spec, role, words in (
        ("lenght", "reward", "Did you mean 'length'"),
        ("length:x", "reward", "must be a number"),
        ("length:7", "policy", "is a reward model, not a policy"),
        ("zzzz", "reward", r"Use one of: .*length\[:SHORTEST\]"),
    ):
        with pytest.raises(UsageError, match=words):
            parse_spec(spec, role)


@given(st.text(max_size=12), st.none() | st.text(max_size=12))
def test_a_spec_is_taken_apart_at_its_first_colon(head: str, rest: str | None) -> None:
    head = head.replace(":", "")
    whole = head if rest is None else f"{head}:{rest}"
    assert take_apart(whole) == SpecText(whole, head, rest)


@given(st.sampled_from(POLICY_KINDS + REWARD_KINDS), st.text("azAZ09:,/.#[]{}-~ \0é", max_size=20))
def test_whatever_is_typed_is_a_model_or_one_clear_line(kind: type[ModelSpec[object]], tail: str) -> None:
    word = kind.syntax[0].partition(":")[0].partition("[")[0]
    for spec in (word + tail, f"{word}:{tail}", tail):
        for role in ("policy", "reward"):
            try:
                assert parse_spec(spec, role).spec == spec
            except AgentRMError as error:
                assert "\n" not in str(error)


def test_a_spec_is_recognised_once_on_the_way_to_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_model(tiny_policy_model(), TOKENIZER, tmp_path / "policy")
    recognised: list[str] = []
    for kind in POLICY_KINDS:
        plain = kind.parse.__func__  # type: ignore[attr-defined]

        def parse(cls: type, text: SpecText, plain: object = plain) -> object:
            found = plain(cls, text)  # type: ignore[operator]
            recognised.extend([text.whole] if found else [])
            return found

        monkeypatch.setattr(kind, "parse", classmethod(parse))
    load_reward(f"implicit:{folder},{folder}", CPU)
    load_policy(str(folder), CPU)
    assert recognised == [str(folder)] * 3


def test_folders_are_checked_when_they_are_named(tmp_path: Path) -> None:
    policy = save_model(tiny_policy_model(), TOKENIZER, tmp_path / "policy")
    reward = save_model(tiny_reward_model(), TOKENIZER, tmp_path / "reward")
    many = save_model(tiny_reward_model(labels=3), TOKENIZER, tmp_path / "many")
    missing = save_model(tiny_reward_model(), TOKENIZER, tmp_path / "missing")
    (missing / "agentrm.json").write_text('{"likelihood": 0.5, "likelihood_model": "language"}')
    half = save_model(tiny_policy_model(), TOKENIZER, tmp_path / "half")
    (half / "agentrm.json").write_text('{"reference": "before"}')
    assert parse_spec(str(policy), "policy").folder == policy
    for spec, error, words in (
        (str(policy), UsageError, "holds a policy, not a reward model"),
        (f"judge:{reward}", UsageError, "holds a reward model, not a policy"),
        (f"implicit:{policy},{reward}", UsageError, "holds a reward model, not a policy"),
        (str(many), UsageError, "3 outputs"),
        (str(missing), DataError, "language: there is no such model folder"),
        (str(half), DataError, "before: there is no such model folder"),
    ):
        with pytest.raises(error, match=words):
            parse_spec(spec, "reward")


def test_what_needs_no_weights_has_nothing_to_say(tmp_path: Path) -> None:
    script = tmp_path / "script.txt"
    script.write_text("Action: go")
    models = [load_policy(spec) for spec in ("human", "expert", "scripted", f"scripted:{script}")]
    assert [model.notice for model in (*models, load_reward("random"))] == [""] * 5


def test_a_prefix_cache_that_is_off_reaches_every_model_that_reads_through_it(tmp_path: Path) -> None:
    cached = save_model(tiny_policy_model(), TOKENIZER, tmp_path / "cached")
    scaled = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    plain = save_model(tiny_policy_model(rope_parameters=scaled), TOKENIZER, tmp_path / "plain")
    why = transformers_policy(tiny_policy_model(rope_parameters=scaled), TOKENIZER).notice
    assert "prefix cache off for LlamaForCausalLM" in why
    assert load_policy(str(cached), CPU).notice == ""
    assert load_policy(str(plain), CPU).notice == why
    assert load_reward(f"judge:{plain}", CPU).notice == why
    assert load_reward(f"implicit:{cached},{plain}", CPU).notice == why
    assert load_reward(f"implicit:{plain},{plain}", CPU).notice == why


@pytest.mark.parametrize("aggregate", ["sum", "mean", "min", "last"])
def test_a_value_of_a_whole_path_says_so(aggregate: str, tmp_path: Path) -> None:
    folder = save_model(tiny_policy_model(), TOKENIZER, tmp_path / "policy")
    traits = load_reward(f"implicit:{folder},{folder},{aggregate}", CPU).traits
    assert traits.unit == ("step" if aggregate == "last" else "trajectory")
    assert load_reward("random").traits.unit == "step"
    assert load_reward(f"judge:{folder}", CPU).traits.unit == "trajectory"


def test_what_a_model_was_trained_on_is_known_when_it_is_loaded(tmp_path: Path) -> None:
    policy = save_model(tiny_policy_model(), TOKENIZER, tmp_path / "policy")
    reward = save_model(tiny_reward_model(), TOKENIZER, tmp_path / "reward")
    for folder in (policy, reward):
        (folder / "agentrm.json").write_text('{"environments": ["maze", "pddl"]}')
    models = [load_policy(str(policy), CPU)]
    models += [load_reward(spec, CPU) for spec in (str(reward), f"implicit:{policy},{policy}", f"judge:{policy}")]
    assert [model.traits.environments for model in models] == [("maze", "pddl")] * 4
    assert RewardTraits("random").environments == load_policy("scripted").traits.environments == ()


def test_a_tokenizer_that_is_larger_than_the_embedding_is_refused(tmp_path: Path) -> None:
    larger = tiny_tokenizer()
    larger.add_tokens(["<door>", "<key>"])
    folder = save_model(tiny_policy_model(), larger, tmp_path / "policy")
    with pytest.raises(DataError, match=r"policy: its tokenizer has 302 tokens, its embedding 300 rows"):
        load_policy(str(folder), CPU)
    template = tiny_tokenizer()
    template.add_special_tokens({"additional_special_tokens": ["<|turn|>"]})
    template.chat_template = str(template.chat_template).replace("<|start|>", "<|turn|>")
    folder = save_model(tiny_reward_model(), template, tmp_path / "reward")
    with pytest.raises(DataError, match="301 tokens, its embedding 300 rows"):
        load_reward(str(folder), CPU)
    idle = tiny_tokenizer()
    idle.add_special_tokens({"additional_special_tokens": ["<|never|>"]})
    reward = load_reward(str(save_model(tiny_reward_model(), idle, tmp_path / "idle")), CPU)
    assert reward.score([ScoreGroup(((Message("user", "a <|never|> b"), Message("assistant", "c")),))])


@pytest.mark.llama_cpp
def test_a_shortened_window_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = export_gguf(make_policy(tmp_path / "policy"), tmp_path / "model.gguf").file
    whole = gguf_policy(file, CPU)
    assert (whole.traits.context_length, whole.notice) == (512, "")
    limited = gguf_policy(file, LoadOptions(device="cpu", threads=1, cache_bytes=256 * 256))
    assert limited.traits.context_length == 256
    assert "model.gguf reads 256 tokens of the 512 that it was trained for" in limited.notice
    monkeypatch.setattr("agentrm_models.llama_cpp.opening.LONGEST_CONTEXT", 300)
    shortened = load_reward(f"judge:{file}", CPU)
    assert shortened.traits.context_length == 300
    assert "300 tokens of the 512" in shortened.notice
    for model in (whole, limited, shortened):
        model.close()
