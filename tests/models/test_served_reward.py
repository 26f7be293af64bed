"""Reward models behind servers: every API gives the local model's numbers, and what cannot be right is named."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_http import FakeTime
from fake_rewards import FakeRewardServer, Kind, serving_rewards
from tiny_models import save_model, tiny_reward_model, tiny_tokenizer

from agentrm_models.errors import AgentRMError, DataError, UsageError
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Conversation, Message
from agentrm_models.rewards.base import ScoreGroup
from agentrm_models.rewards.explicit import ExplicitReward
from agentrm_models.rewards.served.reward import ServedReward
from agentrm_models.rewards.served.values import LARGEST_LOG_ODDS, find_values, log_odds
from agentrm_models.specs import load_reward

CPU = LoadOptions(device="cpu")
KINDS: tuple[tuple[Kind, str], ...] = (
    ("vllm", ""),
    ("vllm", "api=pooling"),
    ("sglang", ""),
    ("tei", ""),
    ("llama", "api=rerank"),
    ("llama", "api=embeddings"),
)


def talk(steps: int = 2, goal: str = "find the red key") -> Conversation:
    turns = [Message("system", "You play."), Message("user", goal)]
    for step in range(steps):
        turns += [Message("user", f"You see door {step}.")] * bool(step)
        turns.append(Message("assistant", f"Thought: I look\nAction: open door {step}"))
    return tuple(turns)


GROUPS = [ScoreGroup((talk(1), talk(2))), ScoreGroup(tuple(talk(3, f"find ball {n}") for n in range(20)))]


def said(reward: ServedReward) -> str:
    return " | ".join([reward.notice, *(notice.text for notice in reward.new_notices())])


def hashed(ids: Sequence[int], place: int = 0) -> float:
    """A number between -3 and 3 that every id changes."""
    digest = blake2b(repr((place, list(ids))).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 2**32 * 6 - 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = tiny_tokenizer()
    model = tiny_reward_model(vocabulary=len(tokenizer))
    return save_model(model, tokenizer, tmp_path_factory.mktemp("reward"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer and without weights."""
    path: Path = tmp_path_factory.mktemp("bare")
    tiny_tokenizer().save_pretrained(path)
    return path


def logits_of(folder: Path) -> Callable[[Sequence[int]], list[float]]:
    from transformers import AutoModelForSequenceClassification

    model: Any = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    model.config.pad_token_id = None

    def outputs(ids: Sequence[int]) -> list[float]:
        with torch.inference_mode():
            row: list[float] = model(input_ids=torch.tensor([list(ids)])).logits[0].tolist()
        return row

    return outputs


@pytest.mark.parametrize(("kind", "option"), KINDS)
def test_every_api_gives_the_numbers_of_the_local_model(kind: Kind, option: str, folder: Path) -> None:
    local = ExplicitReward.load(folder, CPU)
    with serving_rewards(kind, logits_of(folder), tiny_tokenizer()) as server:
        reward = ServedReward(f"{server.address}/v1#folder={folder}&{option}".rstrip("&"), CPU)
        assert "otherwise" not in said(reward) and "compared" not in said(reward)
        found, wanted = reward.score(GROUPS), local.score(GROUPS)
        assert [len(group) for group in found] == [2, 20]
        assert [*found[0], *found[1]] == pytest.approx([*wanted[0], *wanted[1]], abs=1e-4)
        assert reward.usage.requests == 1 and reward.usage.tokens_computed > 0
        reward.close()


def test_without_a_folder_vllm_renders_the_messages(folder: Path) -> None:
    with serving_rewards("vllm", logits_of(folder), tiny_tokenizer()) as server:
        reward = load_reward(f"{server.address}/v1#rm", CPU)
        assert reward.score(GROUPS)[0] == pytest.approx(ExplicitReward.load(folder, CPU).score(GROUPS)[0], abs=1e-4)
        assert all(body["add_generation_prompt"] is False for _, body in server.asked)


@pytest.mark.parametrize("kind", ["sglang", "tei", "llama"])
def test_a_server_that_takes_text_needs_a_folder(kind: Kind) -> None:
    with serving_rewards(kind, lambda ids: [1.0], None) as server, pytest.raises(UsageError, match="folder=PATH"):
        ServedReward(server.address)


@pytest.mark.parametrize("knows", ["use_activation", "activation", "softmax"])
def test_raw_values_are_asked_for_by_the_name_the_server_knows(knows: str, bare: Path) -> None:
    with serving_rewards("vllm", lambda ids: [0.5 + hashed(ids) / 10], tiny_tokenizer()) as server:
        server.knows = knows
        reward = ServedReward(f"{server.address}#folder={bare}")
        values = reward.score(GROUPS)[1]
        assert "probabilities" not in said(reward)
        assert all(0.2 <= value <= 0.8 for value in values) and server.asked[-1][1][knows] is False


def test_probabilities_are_noticed_and_inverted(folder: Path, bare: Path) -> None:
    small = logits_of(folder)
    with serving_rewards("vllm", lambda ids: [small(ids)[0] / 4], tiny_tokenizer()) as server:
        server.always_probabilities = True
        assert "may be probabilities" in said(ServedReward(f"{server.address}#folder={bare}"))
        inverted = ServedReward(f"{server.address}#folder={bare}&values=probabilities")
        assert "log-odds" in said(inverted)
        wanted = [value / 4 for value in ExplicitReward.load(folder, CPU).score(GROUPS)[0]]
        assert inverted.score(GROUPS)[0] == pytest.approx(wanted, abs=1e-4)
        taken = ServedReward(f"{server.address}#folder={bare}&values=raw")
        assert "probabilities" not in said(taken) and all(0 < value < 1 for value in taken.score(GROUPS)[0])


def test_the_folder_tells_that_values_are_probabilities(folder: Path) -> None:
    with serving_rewards("vllm", logits_of(folder), tiny_tokenizer()) as server:
        server.always_probabilities = True
        reward = ServedReward(f"{server.address}#folder={folder}", CPU)
        assert "log-odds are the folder's raw values" in said(reward)
        wanted = ExplicitReward.load(folder, CPU).score(GROUPS)[0]
        assert reward.score(GROUPS)[0] == pytest.approx(wanted, abs=1e-3)


def test_another_model_is_named(folder: Path) -> None:
    with serving_rewards("vllm", lambda ids: [hashed(ids)], tiny_tokenizer()) as server:
        reward = ServedReward(f"{server.address}#folder={folder}", CPU)
        loud = [notice.text for notice in reward.new_notices() if notice.loud]
        assert len(loud) == 1 and "in place of" in loud[0] and "another model" in loud[0]


def test_one_of_several_outputs_by_name_or_number(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    model = tiny_reward_model(vocabulary=len(tokenizer), labels=3)
    model.config.id2label = {0: "bad", 1: "good", 2: "odd"}
    path = save_model(model, tokenizer, tmp_path)
    with serving_rewards("vllm", logits_of(path), tokenizer) as server:
        with pytest.raises(UsageError, match="one of: bad, good, odd"):
            ServedReward(f"{server.address}#folder={path}", CPU)
        with pytest.raises(UsageError, match=r"no output 'god'.*good"):
            ServedReward(f"{server.address}#folder={path}&output=god", CPU)
        with pytest.raises(UsageError, match="gives 3 outputs"):
            ServedReward(server.address, CPU)
        named = ServedReward(f"{server.address}#folder={path}&output=good", CPU)
        numbered = ServedReward(f"{server.address}#output=1", CPU)
        wanted = [logits_of(path)(ids)[1] for ids in server.texts(server.asked[0][1])]
        assert "otherwise" not in said(named) and wanted
        assert named.score(GROUPS)[0] == pytest.approx(numbered.score(GROUPS)[0], abs=1e-5)


def test_outputs_that_are_sorted_by_score_are_told_apart_by_their_labels(bare: Path) -> None:
    with serving_rewards("tei", lambda ids: [hashed(ids), hashed(ids, 1)], tiny_tokenizer()) as server:
        good = ServedReward(f"{server.address}#folder={bare}&output=good").score(GROUPS)[1]
        bad = ServedReward(f"{server.address}#folder={bare}&output=bad").score(GROUPS)[1]
        assert any(x > y for x, y in zip(good, bad, strict=True)) and any(x < y for x, y in zip(good, bad, strict=True))
        ids = [server.tokenizer.encode(text) for (text,) in server.asked[-1][1]["inputs"]]
        assert bad[-len(ids) :] == pytest.approx([hashed(each) for each in ids])


@pytest.mark.parametrize("tells", [True, False])
def test_overlong_conversations_lose_their_oldest_observations(tells: bool, bare: Path) -> None:
    long = talk(30)
    with serving_rewards("vllm", lambda ids: [hashed(ids)], tiny_tokenizer()) as server:
        server.longest, server.tells_window = 300, tells
        reward = ServedReward(f"{server.address}#folder={bare}")
        values = reward.score([ScoreGroup((long, talk(1)))])[0]
        assert all(map(math.isfinite, values)) and reward.usage.dropped_observations > 3
        short = reward.usage.dropped_observations
        reward.score([ScoreGroup((talk(1),))])
        assert reward.usage.dropped_observations == short


def test_a_server_that_cuts_texts_is_noticed(bare: Path) -> None:
    with serving_rewards("vllm", lambda ids: [hashed(ids)], tiny_tokenizer()) as server:
        server.longest, server.tells_window, server.cuts = 100, False, True
        reward = ServedReward(f"{server.address}#folder={bare}")
        reward.score([ScoreGroup((talk(30),))])
        assert "cuts texts off" in said(reward)


def test_answers_in_another_order_are_put_right(bare: Path) -> None:
    with serving_rewards("vllm", lambda ids: [hashed(ids)], tiny_tokenizer()) as server:
        spec = f"{server.address}#folder={bare}"
        wanted = ServedReward(spec).score(GROUPS)
        server.change = lambda answer: {**answer, "data": answer["data"][::-1]}
        assert ServedReward(spec).score(GROUPS) == wanted


def _entry(change: Callable[[dict[str, Any]], Any]) -> Callable[[Any], Any]:
    return lambda answer: {**answer, "data": [change(answer["data"][0]), *answer["data"][1:]]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_entry(lambda entry: {**entry, "probs": [math.nan]}), "gave nan as a score"),
        (_entry(lambda entry: {**entry, "probs": [None]}), "gave nothing as a score"),
        (_entry(lambda entry: {**entry, "probs": []}), "without a number"),
        (_entry(lambda entry: {"index": 0}), "gave nothing as a score"),
        (_entry(lambda entry: {**entry, "index": 1}), "numbers its scores wrongly"),
        (_entry(lambda entry: {**entry, "index": 99}), "numbers its scores wrongly"),
        (_entry(lambda entry: {**entry, "probs": [1.0, 2.0]}), "different numbers of outputs"),
        (lambda answer: {**answer, "data": answer["data"][:-1]}, "gave 3 scores for 4 texts"),
        (lambda answer: "words", "answers with no scores"),
        (lambda answer: {"data": "x"}, "scores for 4 texts"),
    ],
)
def test_answers_that_cannot_be_used_are_refused_by_name(change: Callable[[Any], Any], words: str, bare: Path) -> None:
    with serving_rewards("vllm", lambda ids: [hashed(ids)], tiny_tokenizer()) as server:
        server.change = change
        with pytest.raises(DataError, match=words) as raised:
            ServedReward(f"{server.address}#folder={bare}")
        assert server.address in str(raised.value)


def test_a_busy_server_is_waited_for(bare: Path) -> None:
    with serving_rewards("vllm", lambda ids: [hashed(ids)], tiny_tokenizer()) as server:
        reward = ServedReward(f"{server.address}#folder={bare}", clock=FakeTime().clock)
        server.busy = [429, 503, 429]
        shown: list[str] = []
        reward.score(GROUPS, lambda progress: shown.append(progress.held_up))
        assert not server.busy


def test_a_server_that_says_nothing_needs_the_name_of_its_api(bare: Path) -> None:
    with serving_rewards("mute", lambda ids: [hashed(ids)], tiny_tokenizer()) as server:
        with pytest.raises(UsageError, match="#api=classify"):
            ServedReward(server.address)
        server.kind = "vllm"
        assert ServedReward(f"{server.address}#api=classify&folder={bare}").score(GROUPS)


def test_the_name_of_the_model_is_checked() -> None:
    served = serving_rewards("vllm", lambda ids: [1.5], tiny_tokenizer())
    with served as server, pytest.raises(UsageError, match=r"no model 'rn'.*rm"):
        ServedReward(f"{server.address}#rn")


def test_the_key_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789abcdef")
    with serving_rewards("vllm", lambda ids: [hashed(ids)], tiny_tokenizer()) as server:
        ServedReward(server.address)
        assert set(server.keys) == {"Bearer sk-0123456789abcdef"}


def test_a_folder_that_reads_otherwise_is_no_silent_matter(tmp_path: Path, folder: Path) -> None:
    """The same weights behind a server whose template is another one."""
    other = tiny_tokenizer("{% for m in messages %}{{ m['content'] }}<|end|>{% endfor %}")
    with serving_rewards("vllm", logits_of(folder), other) as server:
        reward = ServedReward(server.address, CPU)
        mine = ServedReward(f"{server.address}#folder={folder}", CPU)
        assert reward.score(GROUPS)[0] != mine.score(GROUPS)[0]
        assert "renders conversations itself" in reward.notice and "is given the ids" in mine.notice


def test_log_odds_are_bounded_and_exact_between() -> None:
    assert log_odds(1.0) == LARGEST_LOG_ODDS == -log_odds(0.0)
    for value in (-12.0, -0.3, 0.0, 4.0):
        assert log_odds(1 / (1 + math.exp(-value))) == pytest.approx(value, abs=1e-6)


def test_a_softmax_is_known_by_its_sum() -> None:
    assert find_values(lambda switch: [[0.2, 0.8], [0.6, 0.4]], ({"use_activation": False},)).kind == "probabilities"
    assert find_values(lambda switch: [[0.2, 0.9], [0.6, 0.4]], ()).kind == "unknown"
    assert find_values(lambda switch: [[0.2], [1.3]], ()).kind == "raw"


def test_an_error_of_the_server_is_one_line() -> None:
    def failing(server: FakeRewardServer) -> None:
        server.answer = lambda path, body: (500, {"error": "out of\nmemory"})  # type: ignore[method-assign]

    with serving_rewards("vllm", lambda ids: [1.0], tiny_tokenizer()) as server:
        failing(server)
        with pytest.raises(AgentRMError, match="out of") as raised:
            ServedReward(server.address)
        assert "\n" not in str(raised.value)
