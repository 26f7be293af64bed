"""Families of models, as policies and as reward models, give what the library's own forward pass gives.

`benchmarks/families.py` looks at all of them and writes the page; these are the ones people have, and the odd ones.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import transformers as hf
from tiny_models import save_model, tiny_tokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import families
import family_models
from family_models import build

from agentrm_models.chat import ChatEncoder
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Message
from agentrm_models.policies.base import Decoding, NoiseKey, ProposeRequest
from agentrm_models.policies.registry import parse_policy
from agentrm_models.policies.transformers import transformers_policy
from agentrm_models.rewards.base import ScoreGroup
from agentrm_models.rewards.explicit import ExplicitReward
from agentrm_models.trie import backends
from agentrm_models.trie.backends import choose_backend
from agentrm_models.trie.cached import CachedBackend
from agentrm_models.trie.states import architecture_of

hf.utils.logging.set_verbosity_error()
torch.set_num_threads(1)
TOKENIZER = families.plain_tokenizer()

POLICIES = {
    **dict.fromkeys(("apertus", "bert-generation", "bitnet", "cohere", "ernie4_5", "gemma", "glm", "gpt2"), "cached"),
    **dict.fromkeys(("gpt_neox", "granite", "granitemoe", "hunyuan_v1_dense", "llama", "nanochat"), "cached"),
    **dict.fromkeys(
        ("olmo2", "opt", "phi", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "smollm3", "stablelm"), "cached"
    ),
    **dict.fromkeys(("bart", "bloom", "codegen", "cohere2", "deepseek_v32", "diffllama", "doge", "falcon"), "fallback"),
    **dict.fromkeys(("falcon_h1", "gemma2", "gemma3_text", "gemma3n_text", "gpt_neo", "gpt_oss", "gptj"), "fallback"),
    **dict.fromkeys(
        ("hy_v4", "jamba", "lfm2", "llama4_text", "mamba", "mamba2", "mistral", "mpt", "nemotron_h"), "fallback"
    ),
    **dict.fromkeys(("olmo3", "openai-gpt", "phi3", "phimoe", "qwen3_next", "recurrent_gemma", "roberta"), "fallback"),
    **dict.fromkeys(("nemotron_h", "rwkv", "starcoder2", "zamba2"), "fallback"),
    **dict.fromkeys(("cpmant", "xlm", "xlnet"), "refused"),
}
REWARDS = {
    **dict.fromkeys(("gemma", "glm", "gpt2", "llama", "opt", "phi", "qwen2", "qwen3", "qwen3_moe"), "cached"),
    **dict.fromkeys(("bart", "bert", "bloom", "canine", "deberta-v2", "doge", "falcon", "fnet", "gemma2"), "fallback"),
    **dict.fromkeys(("gemma3_text", "gpt_oss", "jamba", "longformer", "mistral", "modernbert-decoder"), "fallback"),
    **dict.fromkeys(("mpt", "nystromformer", "phimoe", "qwen3_next", "roberta", "t5", "xlnet", "yoso"), "fallback"),
}
PACKED = {"cohere", "gemma", "glm", "gpt2", "granite", "llama", "olmo2", "opt", "phi", "qwen2", "qwen3", "qwen3_moe"}
NOT_PACKED = {"bloom", "falcon", "gemma2", "gemma3_text", "mamba", "mistral", "mpt", "phimoe", "phi3", "gpt_oss"}


def check(role: str, family: str, outcome: str) -> None:
    row = families.examine(role, family, TOKENIZER)
    assert row.outcome == outcome, row
    assert bool(row.why) == (outcome != "cached")
    if family in PACKED | NOT_PACKED:
        assert (not row.packed) == (family in PACKED), row


@pytest.mark.parametrize(("family", "outcome"), POLICIES.items())
def test_policies_give_the_librarys_logits(family: str, outcome: str) -> None:
    check("policy", family, outcome)


@pytest.mark.parametrize(("family", "outcome"), REWARDS.items())
def test_reward_models_give_the_librarys_logits(family: str, outcome: str) -> None:
    check("reward", family, outcome)


@pytest.mark.parametrize("role", ["policy", "reward"])
def test_a_path_that_is_wrong_only_in_long_texts_is_told(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep sees what it is for: without the look at the masks, a window that only these know of is lost."""
    monkeypatch.setattr(backends, "check_reach", lambda parts: None)
    assert families.examine(role, "phimoe", TOKENIZER).outcome == "WRONG"


def ask(n: int, max_tokens: int, temperature: float = 1.0) -> ProposeRequest:
    decoding = Decoding(temperature, 1.0, max_tokens)
    return ProposeRequest((Message("user", "go"),), n, decoding, NoiseKey(1, "task", "0"))


@pytest.mark.parametrize("family", ["granite", "cohere", "falcon", "mpt", "bloom", "mamba", "qwen3_next", "gemma2"])
def test_samples_follow_the_librarys_own_probabilities(family: str) -> None:
    """Chi-square of 400 first tokens, each known by its log-probability, which is the library's."""
    tokenizer = tiny_tokenizer(size=262)
    model = build("policy", family, vocab_size=len(tokenizer))
    ids = ChatEncoder(tokenizer).ids((Message("user", "go"),), True)
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0, -1].double()
    temperature, n = float(logits.std()), 400
    policy = transformers_policy(model, tokenizer, stop_after_action=False)
    found = torch.tensor([one.log_probability for one in policy.propose([ask(n, 1, temperature)])[0]])
    away = (found[:, None].double() - logits.log_softmax(-1)).abs()
    assert float(away.amin(1).max()) < 1e-4
    seen = torch.bincount(away.argmin(1), minlength=len(logits)).double()
    expected = n * (logits / temperature).softmax(-1)
    likely = expected >= 5
    squares = ((seen - expected)[likely] ** 2 / expected[likely]).sum()
    squares += (seen - expected)[~likely].sum() ** 2 / expected[~likely].sum()
    freedom = int(likely.sum())
    assert freedom >= 4
    assert float(squares) < freedom + 4 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("family", ["falcon", "mpt", "bloom"])
def test_folders_without_a_prefix_cache_say_so_as_policy_and_as_reward_model(family: str, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    for role in ("policy", "reward"):
        model = build(role, family, vocab_size=len(tokenizer))
        save_model(model, tokenizer, tmp_path / role)
    policy = parse_policy(str(tmp_path / "policy")).load(LoadOptions(device="cpu"))
    assert policy.notice.startswith("prefix cache off for ")
    [replies] = policy.propose([ask(2, 6)])
    assert len(replies) == 2
    reward = ExplicitReward.load(tmp_path / "reward", LoadOptions(device="cpu"))
    assert reward.notice.startswith("prefix cache off for ")
    chats = tuple(
        (Message("user", "go"), Message("assistant", text)) for text in ("Action: left", "Action: to the key")
    )
    encoder = ChatEncoder(tokenizer)
    with torch.inference_mode():
        expected = [model(torch.tensor([encoder.ids(chat)])).logits[0, 0].item() for chat in chats]
    assert reward.score([ScoreGroup(chats)])[0] == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("family", ["llama", "granite", "gpt2"])
def test_sixteen_bit_families_keep_their_cache(family: str) -> None:
    for role in ("policy", "reward") if family in family_models.KINDS["reward"][1] else ("policy",):
        backend, notice = choose_backend(architecture_of(build(role, family).to(torch.bfloat16)), 0, True)
        assert isinstance(backend, CachedBackend), notice


@pytest.mark.parametrize("family", ["phimoe", "mistral", "gemma3_text", "diffllama"])
def test_sixteen_bits_hide_no_window(family: str) -> None:
    backend, notice = choose_backend(architecture_of(build("policy", family).to(torch.bfloat16)), 0, True)
    assert not isinstance(backend, CachedBackend) and notice
