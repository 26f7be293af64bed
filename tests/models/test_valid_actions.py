"""Valid actions weighed by a model: the library's own likelihoods, chosen or sampled by them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from tiny_llama import make_policy
from tiny_models import tiny_policy_model, tiny_tokenizer

from agentrm_models.chat import ChatEncoder
from agentrm_models.errors import DataError, InterruptedRun, UsageError
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Conversation, Message
from agentrm_models.policies.base import Candidate, Decoding, NoiseKey, ProposeRequest
from agentrm_models.policies.language_model import LanguageModelPolicy
from agentrm_models.policies.reply_likelihood import ReplyQuestion
from agentrm_models.policies.scripted import ScriptedPolicy
from agentrm_models.policies.transformers import load_transformers_policy, transformers_policy
from agentrm_models.policies.valid_actions import among_valid_actions
from agentrm_models.usage import Progress

TOKENIZER = tiny_tokenizer()
ACTIONS = ("go to the red key", "go to the blue door", "pick up the green ball", "look", "pick up the red key and go")
CHATS: tuple[Conversation, ...] = (
    (Message("user", "Goal: find the key. You see a red key."),),
    (
        Message("user", "Goal: find the key. You see a red key."),
        Message("assistant", "Action: go to the red key"),
        Message("user", "You see a blue door."),
    ),
)


def ask(chat: Conversation = CHATS[0], n: int = 1, temperature: float = 1.0, **changes: Any) -> ProposeRequest:
    request = ProposeRequest(chat, n, Decoding(temperature), NoiseKey(3, "maze:1", "0"), valid_actions=ACTIONS)
    return msgspec.structs.replace(request, **changes)


def by_the_library(model: Any, tokenizer: Any, chat: Conversation, action: str) -> tuple[float, int]:
    """Sum of the log-probabilities of `Action: …` and the end of its turn, and their number, by the model itself."""
    encoder = ChatEncoder(tokenizer)
    prompt = encoder.ids(chat, True)
    reply = [*tokenizer.encode(f"Action: {action}", add_special_tokens=False), encoder.end_of_turn]
    with torch.inference_mode():
        logs = model(torch.tensor([prompt + reply])).logits[0].double().log_softmax(-1)
    return sum(logs[len(prompt) - 1 + place, token].item() for place, token in enumerate(reply)), len(reply)


def best(model: Any, tokenizer: Any, chat: Conversation, actions: tuple[str, ...] = ACTIONS) -> list[str]:
    sums = {action: by_the_library(model, tokenizer, chat, action) for action in actions}
    return sorted(actions, key=lambda action: -sums[action][0] / sums[action][1])


def actions_of(candidates: list[Candidate]) -> list[str]:
    return [candidate.text.removeprefix("Action: ") for candidate in candidates]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neo"])
@pytest.mark.parametrize("use_cache", [True, False])
def test_likelihoods_are_those_of_the_library_and_the_best_is_chosen(family: str, use_cache: bool) -> None:
    model = tiny_policy_model(family)
    policy = among_valid_actions(transformers_policy(model, TOKENIZER, use_cache=use_cache))
    for found, chat in zip(policy.propose([ask(chat, 5, temperature=0) for chat in CHATS]), CHATS, strict=True):
        assert actions_of(found) == best(model, TOKENIZER, chat)
        for candidate, action in zip(found, actions_of(found), strict=True):
            total, tokens = by_the_library(model, TOKENIZER, chat, action)
            assert candidate.log_probability == pytest.approx(total, abs=1e-3)
            assert candidate.tokens == tokens


def test_all_actions_are_one_pass_and_a_history_is_read_once() -> None:
    policy = among_valid_actions(transformers_policy(tiny_policy_model(), TOKENIZER))
    encoder = ChatEncoder(TOKENIZER)
    policy.propose([ask(CHATS[0], 5)])
    replies = [[*TOKENIZER.encode(f"Action: {action}", add_special_tokens=False), 2] for action in ACTIONS]
    distinct = {tuple(reply[:end]) for reply in replies for end in range(1, len(reply) + 1)}
    history = encoder.ids(CHATS[0], True)
    first = policy.usage
    assert first.tokens_computed == len(history) + len(distinct)
    assert first.tokens_unique == first.tokens_computed
    assert (first.tokens_generated, first.requests) == (0, 1)
    policy.propose([ask(CHATS[1], 5)])
    longer = encoder.ids(CHATS[1], True)
    assert policy.usage.tokens_computed - first.tokens_computed <= len(longer) - len(history) + len(distinct) + 2


def test_steps_in_the_place_of_logs_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_policy_model()
    told = transformers_policy(model, TOKENIZER)
    stepped = transformers_policy(model, TOKENIZER)

    class OnlySteps:
        def __init__(self, backend: Any) -> None:
            self.outputs, self.decode, self.computed = backend.outputs, backend.decode, 0

    monkeypatch.setattr(stepped, "_backend", OnlySteps(stepped._backend))
    questions = [ReplyQuestion(chat, tuple(f"Action: {action}" for action in ACTIONS)) for chat in CHATS]
    questions.insert(1, ReplyQuestion(CHATS[0], ()))
    left, right = told.likelihoods(questions), stepped.likelihoods(questions)
    assert [len(found) for found in right] == [5, 0, 5]
    for one, other in zip(left, right, strict=True):
        assert [found.tokens for found in one] == [found.tokens for found in other]
        assert [found.log_probability for found in one] == pytest.approx(
            [found.log_probability for found in other], abs=1e-3
        )


@pytest.mark.llama_cpp
def test_llama_cpp_weighs_as_transformers_does(tmp_path: Path) -> None:
    from agentrm_models.llama_cpp.gguf_export import export_gguf
    from agentrm_models.policies.gguf import gguf_policy

    folder = make_policy(tmp_path / "policy")
    file = export_gguf(folder, tmp_path / "model.gguf", "f32").file
    many = tuple(f"take the red key {number}" for number in range(90))  # more than there are sequences
    request = ask(CHATS[1], 90, temperature=0, valid_actions=many)
    left = among_valid_actions(load_transformers_policy(folder))
    right = among_valid_actions(gguf_policy(file, LoadOptions(threads=1), exact=True))
    [one], [other] = left.propose([request]), right.propose([request])
    by_action = {candidate.text: candidate for candidate in other}
    assert len(by_action) == 90
    for candidate in one:
        assert by_action[candidate.text].tokens == candidate.tokens
        assert by_action[candidate.text].log_probability == pytest.approx(candidate.log_probability, abs=2e-3)


def test_samples_are_drawn_by_likelihood() -> None:
    policy = among_valid_actions(transformers_policy(tiny_policy_model(), TOKENIZER))
    [ranked] = policy.propose([ask(n=5, temperature=0)])
    requests = [ask(temperature=0.7, noise=NoiseKey(seed, "maze:1", "0")) for seed in range(600)]
    drawn = Counter(text for [candidate] in policy.propose(requests) for text in actions_of([candidate]))
    odds = torch.tensor([candidate.log_probability / candidate.tokens / 0.7 for candidate in ranked]).double()
    expected = (odds.softmax(0) * 600).tolist()
    observed = [drawn[action] for action in actions_of(ranked)]
    distance = sum((seen - wanted) ** 2 / wanted for seen, wanted in zip(observed, expected, strict=True))
    assert distance < 18.5  # chi-square with 4 degrees of freedom: one in a thousand


def test_samples_are_distinct_until_all_were_taken_and_depend_on_the_key_alone() -> None:
    policy = among_valid_actions(transformers_policy(tiny_policy_model(), TOKENIZER))
    five, twelve = policy.propose([ask(n=5), ask(n=12)])
    assert sorted(actions_of(five)) == sorted(ACTIONS)
    assert sorted(Counter(actions_of(twelve)).values()) == [2, 2, 2, 3, 3]
    other = among_valid_actions(transformers_policy(tiny_policy_model(), TOKENIZER, use_cache=False))
    assert actions_of(other.propose([ask(n=3)])[0]) == actions_of(five)[:3]
    later = ask(n=5, noise=NoiseKey(3, "maze:1", "0", first_candidate=5))
    assert actions_of(policy.propose([later])[0]) != actions_of(five)


def test_excluded_actions_are_left_out_unless_there_are_no_others() -> None:
    policy = among_valid_actions(transformers_policy(tiny_policy_model(), TOKENIZER))
    [found] = policy.propose([ask(n=2, exclude=ACTIONS[:3])])
    assert sorted(actions_of(found)) == sorted(ACTIONS[3:])
    [again] = policy.propose([ask(n=2, exclude=ACTIONS)])
    assert len(again) == 2
    assert policy.propose([ask(valid_actions=())]) == [[]]


def test_what_cannot_be_said_on_one_line_is_no_candidate() -> None:
    policy = among_valid_actions(transformers_policy(tiny_policy_model(), TOKENIZER))
    odd = ("look", "say a\nb", "x" * 3000, "  ", "look")
    [found] = policy.propose([ask(n=1, temperature=0, valid_actions=odd)])
    assert actions_of(found) == ["look"]


def test_a_policy_that_tells_no_likelihood_is_refused() -> None:
    with pytest.raises(UsageError, match="scripted does not tell how likely"):
        among_valid_actions(ScriptedPolicy())


def test_an_action_longer_than_the_window_is_refused() -> None:
    policy = among_valid_actions(transformers_policy(tiny_policy_model(max_position_embeddings=64), TOKENIZER))
    with pytest.raises(DataError, match="does not fit the window"):
        policy.propose([ask(valid_actions=("go " * 200,))])


def test_a_stop_reaches_the_caller() -> None:
    policy = among_valid_actions(transformers_policy(tiny_policy_model(), TOKENIZER))

    def stop(progress: Progress) -> None:
        raise InterruptedRun("stopped")

    with pytest.raises(InterruptedRun):
        policy.propose([ask()], stop)


def test_it_wants_valid_actions_and_keeps_the_name() -> None:
    inner = transformers_policy(tiny_policy_model(), TOKENIZER, name="tiny")
    assert isinstance(inner, LanguageModelPolicy)
    policy = among_valid_actions(inner)
    assert policy.traits == inner.traits._replace(wants_valid_actions=True)
