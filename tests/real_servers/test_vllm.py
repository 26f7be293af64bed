"""A real vLLM on the CPU against Transformers: `/classify`, `/pooling` and the policy, in float32.

Skipped unless `AGENTRM_VLLM` names vLLM's program, which `make test-extras EXTRAS=vllm` installs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from running import VLLM_VARIABLES, free_port, running, vllm
from small_models import make_folder

from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Conversation, Message
from agentrm_models.policies.base import Decoding, NoiseKey, Policy, ProposeRequest
from agentrm_models.rewards.base import ScoreGroup
from agentrm_models.rewards.explicit import ExplicitReward
from agentrm_models.specs import load_policy, load_reward

PROGRAM = os.environ.get("AGENTRM_VLLM", "")
CPU = LoadOptions(device="cpu", threads=1)
NEAR = 1e-3

pytestmark = pytest.mark.skipif(not PROGRAM, reason="AGENTRM_VLLM does not name a vLLM")


def talk(steps: int, goal: str) -> Conversation:
    turns = [Message("system", "You play a game."), Message("user", goal)]
    for step in range(steps):
        turns += [Message("user", f"You see {step + 3} boxes and a door (closed).")] * bool(step)
        turns.append(Message("assistant", f"Thought: I look <|im_end|>\nAction: open door {step}"))
    return tuple(turns)


GROUPS = [ScoreGroup(tuple(talk(steps, f"take red key {number}") for steps in (1, 2, 5))) for number in range(8)]


def flat(groups: Sequence[Sequence[float]]) -> list[float]:
    return [value for group in groups for value in group]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = make_folder(tmp_path_factory.mktemp("reward"), outputs=1)
    port, log = free_port(), tmp_path_factory.mktemp("log") / "vllm.log"
    with running(vllm(PROGRAM, folder, port), port, "/v1/models", log, VLLM_VARIABLES) as url:
        yield url, folder


@pytest.mark.parametrize("option", ["", "&api=classify", "&api=pooling"])
def test_a_served_classifier_gives_the_raw_values_of_transformers(classifier: tuple[str, Path], option: str) -> None:
    url, folder = classifier
    reward = load_reward(f"{url}/v1#folder={folder}{option}", CPU)
    found, wanted = flat(reward.score(GROUPS)), flat(ExplicitReward.load(folder, CPU).score(GROUPS))
    difference = max(abs(one - other) for one, other in zip(found, wanted, strict=True))
    print(
        f"\n{reward.notice}: {len(wanted)} values from {min(wanted):.3f} to {max(wanted):.3f}, {difference:.2e} apart"
    )
    assert difference <= NEAR and max(wanted) - min(wanted) > 100 * NEAR
    assert not [notice for notice in reward.new_notices() if notice.loud]
    assert reward.traits.context_length == 1_024
    reward.close()


@pytest.mark.parametrize("option", ["api=classify", "api=pooling"])
def test_the_server_renders_the_same_tokens(classifier: tuple[str, Path], option: str) -> None:
    """Without a folder; what a person wrote holds no control token here, which only our own rendering keeps plain."""
    url, folder = classifier
    groups = [ScoreGroup(((*talk(1, "go left")[:2], Message("assistant", "Action: go left")),))]
    reward = load_reward(f"{url}/v1#{option}", CPU)
    assert flat(reward.score(groups)) == pytest.approx(flat(ExplicitReward.load(folder, CPU).score(groups)), abs=NEAR)


def test_what_is_too_long_loses_observations_as_with_the_local_model(classifier: tuple[str, Path]) -> None:
    url, folder = classifier
    groups = [ScoreGroup((talk(60, "go left"),))]
    reward, local = load_reward(f"{url}#folder={folder}", CPU), ExplicitReward.load(folder, CPU)
    assert flat(reward.score(groups)) == pytest.approx(flat(local.score(groups)), abs=NEAR)
    assert reward.usage.dropped_observations == local.usage.dropped_observations > 0


def test_probabilities_are_turned_back(classifier: tuple[str, Path]) -> None:
    """vLLM as it answers others: a sigmoid over the one output."""
    url, folder = classifier
    from agentrm_models.rewards.served.apis import APIS
    from agentrm_models.rewards.served.reward import ServedReward
    from agentrm_models.rewards.served.values import Values

    reward = ServedReward(f"{url}#folder={folder}&values=probabilities", CPU)
    reward._values = Values(dict.fromkeys(APIS["classify"].switches[0], True), "probabilities")
    found, wanted = flat(reward.score(GROUPS)), flat(ExplicitReward.load(folder, CPU).score(GROUPS))
    pairs = [(one, other) for one, other in zip(found, wanted, strict=True) if abs(other) < 6]
    assert pairs and max(abs(one - other) for one, other in pairs) <= 1e-2


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = make_folder(tmp_path_factory.mktemp("policy"))
    port, log = free_port(), tmp_path_factory.mktemp("log") / "vllm.log"
    with running(vllm(PROGRAM, folder, port), port, "/v1/models", log, VLLM_VARIABLES) as url:
        yield url, folder


def greedy(policy: Policy, number: int) -> tuple[str, float, int]:
    decoding = Decoding(temperature=0.0, max_tokens=12)
    conversation = (Message("system", "You play a game."), Message("user", f"take red key {number}"))
    request = ProposeRequest(conversation, 1, decoding, NoiseKey(0, "t", str(number)))
    candidate = policy.propose([request])[0][0]
    return candidate.text, candidate.log_probability, candidate.tokens


def test_a_served_policy_writes_what_transformers_writes(speaker: tuple[str, Path]) -> None:
    url, folder = speaker
    served, local = load_policy(f"{url}/v1", CPU), load_policy(str(folder), CPU)
    differences = []
    for number in range(8):
        mine, theirs = greedy(local, number), greedy(served, number)
        assert mine[0].rstrip("\ufffd") == theirs[0].rstrip("\ufffd")  # a character that the limit cut in two
        differences.append(abs(mine[1] - theirs[1]))
    print(f"\n8 greedy replies alike; log-probabilities of replies at most {max(differences):.2e} apart")
    assert max(differences) <= NEAR


def test_the_local_policy_is_the_library_s(speaker: tuple[str, Path]) -> None:
    """So that the two above are not compared with a fault that they share."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _, folder = speaker
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    messages = [{"role": m.role, "content": m.content} for m in talk(1, "take red key 0")[:2]]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False)])
    with torch.inference_mode():
        written = model.generate(ids, do_sample=False, max_new_tokens=12)[0, ids.shape[1] :]
    request = ProposeRequest(
        talk(1, "take red key 0")[:2], 1, Decoding(temperature=0.0, max_tokens=12), NoiseKey(0, "t", "0")
    )
    mine = load_policy(str(folder), CPU).propose([request])[0][0].text
    assert tokenizer.decode(written, skip_special_tokens=True).startswith(mine) and mine
