from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import save_model, tiny_policy_model, tiny_reward_model, tiny_tokenizer

from agentrm_models.chat import ChatEncoder
from agentrm_models.errors import DataError, InterruptedRun, UsageError
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Conversation, Message
from agentrm_models.policies.base import Decoding, NoiseKey, ProposeRequest
from agentrm_models.policies.transformers import load_transformers_policy, transformers_policy
from agentrm_models.replies import action_of
from agentrm_models.usage import Progress

TOKENIZER = tiny_tokenizer()
FAMILIES = ("llama", "qwen2", "gpt2", "gpt_neo", "mistral")


def conversation(*texts: str) -> Conversation:
    return tuple(Message("assistant" if k % 2 else "user", text) for k, text in enumerate(texts))


CHATS = (
    conversation("Goal: find the key. You see a red key."),
    conversation("Goal: find the key. You see a red key.", "Action: go to the red key", "You see a blue door."),
    conversation("Goal: pick up the green ball. Nothing here."),
)


def ask(chat: Conversation, n: int = 1, node: str = "0", **decoding: float) -> ProposeRequest:
    settings = {"temperature": 1.0, "top_p": 1.0, "max_tokens": 12} | decoding
    return ProposeRequest(chat, n, Decoding(**settings), NoiseKey(3, "maze:1", node))  # type: ignore[arg-type]


def generated(model: object, chat: Conversation, max_tokens: int) -> str:
    encoder = ChatEncoder(TOKENIZER)
    ids = torch.tensor([encoder.ids(chat, True)])
    found = model.generate(  # type: ignore[attr-defined]
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=max_tokens
    )
    return encoder.decode(found[0, ids.shape[1] :].tolist())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy_generation_equals_generate(family: str, use_cache: bool) -> None:
    model = tiny_policy_model(family)
    policy = transformers_policy(model, TOKENIZER, use_cache=use_cache, stop_after_action=False)
    found = policy.propose([ask(chat, temperature=0, max_tokens=24) for chat in CHATS])
    assert [candidates[0].text for candidates in found] == [generated(model, chat, 24) for chat in CHATS]


@pytest.mark.parametrize("family", FAMILIES)
def test_candidates_do_not_depend_on_what_is_asked_together(family: str) -> None:
    requests = [ask(chat, n, node=str(n)) for chat, n in zip(CHATS, (3, 1, 4), strict=True)]
    model = tiny_policy_model(family).double()
    together = transformers_policy(model, TOKENIZER).propose(requests)
    policy = transformers_policy(model, TOKENIZER)
    alone = [policy.propose([request])[0] for request in requests[::-1]][::-1]
    uncached = transformers_policy(model, TOKENIZER, use_cache=False).propose(requests)
    assert [len(candidates) for candidates in together] == [3, 1, 4]
    assert len({candidate.text for candidates in together for candidate in candidates}) > 4
    for other in (alone, uncached):
        for left, right in zip(together, other, strict=True):
            assert [(one.text, one.tokens) for one in left] == [(one.text, one.tokens) for one in right]
            assert [one.log_probability for one in left] == pytest.approx([one.log_probability for one in right])


def test_first_candidate_continues_the_numbering() -> None:
    policy = transformers_policy(tiny_policy_model(), TOKENIZER)
    request = ask(CHATS[0], 4)
    all_four = policy.propose([request])[0]
    later = ProposeRequest(CHATS[0], 2, request.decoding, NoiseKey(3, "maze:1", "0", first_candidate=2))
    assert [one.text for one in policy.propose([later])[0]] == [one.text for one in all_four[2:]]


def test_log_probability_is_that_of_the_reply_at_temperature_one() -> None:
    model = tiny_policy_model()
    policy = transformers_policy(model, TOKENIZER, stop_after_action=False)
    encoder = ChatEncoder(TOKENIZER)
    prompt = encoder.ids(CHATS[1], True)
    checked = 0
    for one in policy.propose([ask(CHATS[1], 60, temperature=0.7, max_tokens=6)])[0]:
        reply = encoder.ids((*CHATS[1], Message("assistant", one.text)))[len(prompt) :]
        if one.tokens != 6 or len(reply) != 8:
            continue  # the text does not tokenise to the ids that were sampled, or the end of turn was sampled
        ids = torch.tensor([prompt + reply[:6]])
        with torch.inference_mode():
            table = torch.log_softmax(model(ids).logits[0].double(), -1)
        expected = sum(float(table[len(prompt) + k - 1, token]) for k, token in enumerate(reply[:6]))
        assert one.log_probability == pytest.approx(expected, abs=1e-3)
        checked += 1
    assert checked > 1


def test_several_candidates_at_temperature_zero_are_refused() -> None:
    policy = transformers_policy(tiny_policy_model(), TOKENIZER)
    with pytest.raises(UsageError, match="Temperature 0"):
        policy.propose([ask(CHATS[0], 2, temperature=0)])


def test_excluded_actions_are_sampled_again_and_at_last_accepted() -> None:
    policy = transformers_policy(tiny_policy_model(), TOKENIZER)
    request = ask(CHATS[0], 3)
    before = policy.propose([request])[0]
    excluding = ProposeRequest(CHATS[0], 3, request.decoding, request.noise, exclude=("",))
    after = policy.propose([excluding])[0]
    assert {action_of(one.text) for one in after} == {""}
    assert not {one.text for one in before} & {one.text for one in after}


def test_the_ledger_counts_tokens_once() -> None:
    policy = transformers_policy(tiny_policy_model(), TOKENIZER, use_cache=False)
    encoder = ChatEncoder(TOKENIZER)
    found = policy.propose([ask(CHATS[0], 1, max_tokens=5)])[0][0]
    prompt = len(encoder.ids(CHATS[0], True))
    assert policy.usage.tokens_generated == found.tokens
    assert policy.usage.tokens_unique == prompt + found.tokens - 1
    assert policy.usage.tokens_computed == prompt + found.tokens - 1
    assert policy.usage.requests == 1
    policy.propose([ask(CHATS[0], 1, max_tokens=5)])
    assert policy.usage.tokens_unique == prompt + found.tokens - 1


def test_progress_is_called_at_each_token_and_may_stop() -> None:
    policy = transformers_policy(tiny_policy_model(), TOKENIZER)
    seen: list[Progress] = []

    def stop_at_three(progress: Progress) -> None:
        seen.append(progress)
        if progress.done == 3:
            raise InterruptedRun("stopped")

    with pytest.raises(InterruptedRun):
        policy.propose([ask(CHATS[0], 3)], stop_at_three)
    assert [progress.done for progress in seen] == [0, 1, 2, 3]
    again = policy.propose([ask(CHATS[0], 3)])
    fresh = transformers_policy(tiny_policy_model(), TOKENIZER).propose([ask(CHATS[0], 3)])
    assert [one.text for one in again[0]] == [one.text for one in fresh[0]]


def test_a_full_context_is_cut_and_counted() -> None:
    policy = transformers_policy(tiny_policy_model(max_position_embeddings=128), TOKENIZER)
    assert policy.traits.context_length == 128
    texts = ["Goal."]
    for step in range(12):
        texts += [f"Action: go {step}", "You see a red key and a blue door."]
        policy.propose([ask(conversation(*texts), 2, max_tokens=8)])
    assert policy.usage.dropped_observations > 0
    assert policy.usage.tokens_unique > 0


def test_a_reply_ends_with_the_window() -> None:
    for family in ("llama", "gpt2"):
        size = {"n_positions": 64} if family == "gpt2" else {"max_position_embeddings": 64}
        policy = transformers_policy(tiny_policy_model(family, **size), TOKENIZER, stop_after_action=False)
        found = policy.propose([ask(conversation("Goal."), 2, max_tokens=500)])[0]
        assert all(0 < one.tokens < 64 for one in found)


def test_folders_load_with_their_prompt_and_digest(tmp_path: Path) -> None:
    model = tiny_policy_model()
    folder = save_model(model.half(), TOKENIZER, tmp_path / "policy")
    (folder / "agentrm.json").write_text('{"prompt": "short"}')
    policy = load_transformers_policy(folder, LoadOptions(device="cpu"), name="mine")
    assert policy.traits.name == "mine"
    assert policy.traits.prompt == "short"
    assert len(policy.traits.digest) == 16
    alike = transformers_policy(model.float(), TOKENIZER)
    found, expected = (one.propose([ask(CHATS[0], 2)])[0] for one in (policy, alike))
    assert [one.text for one in found] == [one.text for one in expected]


def test_folders_that_are_wrong_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such model folder"):
        load_transformers_policy(tmp_path / "nowhere")
    folder = save_model(tiny_policy_model(), TOKENIZER, tmp_path / "policy")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cut off"):
        load_transformers_policy(folder)
    weights.unlink()
    (folder / "pytorch_model.bin").write_bytes(whole)
    with pytest.raises(DataError, match="never read"):
        load_transformers_policy(folder)
    weights.write_bytes(whole)
    (folder / "agentrm.json").write_text('{"prompt": "long"}')
    with pytest.raises(DataError, match=r"agentrm\.json: .*'long'.*prompt"):
        load_transformers_policy(folder)
    (folder / "agentrm.json").unlink()
    (folder / "config.json").write_text("{}")
    with pytest.raises(DataError, match="policy"):
        load_transformers_policy(folder)
    reward = save_model(tiny_reward_model(), TOKENIZER, tmp_path / "reward")
    with pytest.raises(DataError, match="reward model"):
        load_transformers_policy(reward)
    with pytest.raises(UsageError, match="--device abacus"):
        load_transformers_policy(folder, LoadOptions(device="abacus"))
