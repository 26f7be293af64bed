"""Reward heads as data: each kind gives what its own library computes, on random models made here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from tiny_models import save_model, tiny_config, tiny_policy_model, tiny_reward_model, tiny_tokenizer
from tokenizers import AddedToken

from agentrm_models.errors import AgentRMError, DataError, UsageError
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Conversation, Message
from agentrm_models.rewards.base import RewardModel, ScoreGroup
from agentrm_models.rewards.explicit import ExplicitReward
from agentrm_models.rewards.heads.head import Place, RewardHead
from agentrm_models.specs import describe_spec, load_policy, load_reward, parse_spec

CPU = LoadOptions(device="cpu")
QUESTION = "Is it solved?"


def conversations(count: int, steps: int = 2) -> tuple[Conversation, ...]:
    history = [Message("user", "Goal: the red key.")]
    for step in range(steps):
        history += [Message("assistant", f"Action: go {step}"), Message("user", f"You see a blue door. {step}")]
    return tuple((*history, Message("assistant", f"Action: pick up {'the ball ' * k}")) for k in range(count))


ITEMS = conversations(4) + conversations(2, 4)


def scores(reward: RewardModel) -> list[float]:
    found = reward.score([ScoreGroup(ITEMS[:2]), ScoreGroup(ITEMS[2:])])
    return [value for group in found for value in group]


def chat(tokenizer: Any, item: Conversation, prompt: bool = False) -> torch.Tensor:
    """The ids of a conversation by the library's own template."""
    rows = [{"role": message.role, "content": message.content} for message in item]
    text = tokenizer.apply_chat_template(rows, tokenize=False, add_generation_prompt=prompt)
    return tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]


def different(values: list[float]) -> bool:
    return len({round(value, 5) for value in values}) == len(values)


def change(folder: Path, **changes: object) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return folder


# Sequence classifiers: Skywork has one output, the OpenHands critic 26 of which the first is success.


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
def test_the_only_output(family: str, tmp_path: Path) -> None:
    model, tokenizer = tiny_reward_model(family), tiny_tokenizer()
    reward = load_reward(str(save_model(model, tokenizer, tmp_path / "reward")), CPU)
    with torch.inference_mode():
        expected = [
            float(model.score(model.base_model(chat(tokenizer, item)).last_hidden_state)[0, -1]) for item in ITEMS
        ]
    assert scores(reward) == pytest.approx(expected, abs=1e-4)
    assert reward.traits.head == "the only output"
    assert reward.traits.unit == "step"


@pytest.fixture(scope="module")
def critic(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[float]]]:
    model, tokenizer = tiny_reward_model("qwen2", labels=26), tiny_tokenizer()
    model.config.id2label = {0: "success", **{at: f"rubric_{at}" for at in range(1, 26)}}
    model.config.label2id = {name: at for at, name in model.config.id2label.items()}
    folder = save_model(model, tokenizer, tmp_path_factory.mktemp("critic") / "critic")
    with torch.inference_mode():
        hidden = [model.model(chat(tokenizer, item)).last_hidden_state[0, -1] for item in ITEMS]
        return folder, [model.score(each).tolist() for each in hidden]


@pytest.mark.parametrize(("output", "column"), [("success", 0), ("0", 0), ("rubric_17", 17), ("25", 25)])
def test_one_output_of_several(critic: tuple[Path, list[list[float]]], output: str, column: int) -> None:
    folder, expected = critic
    reward = load_reward(f"{folder}#output={output}", CPU)
    assert scores(reward) == pytest.approx([row[column] for row in expected], abs=1e-4)
    name = "success" if column == 0 else f"rubric_{column}"
    assert reward.traits.head == f"output '{name}' of 26"
    assert reward.notice == ""
    assert reward.usage.tokens_computed == reward.usage.tokens_unique


def test_outputs_that_are_not_chosen_are_asked_for(critic: tuple[Path, list[list[float]]]) -> None:
    folder, _ = critic
    with pytest.raises(
        UsageError, match=r"26 outputs. Write FOLDER#output=NAME, one of: success \(0\), rubric_1 \(1\)"
    ):
        parse_spec(str(folder), "reward")
    with pytest.raises(UsageError, match=r"no output 'succes' among its 26. Did you mean 'success'"):
        parse_spec(f"{folder}#output=succes", "reward")
    for wrong in ("26", "-1", "1.0"):
        with pytest.raises(UsageError, match="there is no output"):
            parse_spec(f"{folder}#output={wrong}", "reward")


def test_a_folder_names_its_output_itself_and_a_spec_beats_it(critic: tuple[Path, list[list[float]]]) -> None:
    folder, expected = critic
    settings = folder / "agentrm.json"
    try:
        settings.write_text('{"head": {"output": "rubric_3"}}')
        reward = load_reward(str(folder), CPU)
        assert scores(reward) == pytest.approx([row[3] for row in expected], abs=1e-4)
        assert load_reward(f"{folder}#output=success", CPU).traits.head == "output 'success' of 26"
        other = load_reward(f"{folder}#output=success", CPU).traits.digest
        assert other != reward.traits.digest
        settings.write_text('{"head": {"output": 3}}')
        assert scores(load_reward(str(folder), CPU)) == pytest.approx([row[3] for row in expected], abs=1e-4)
        for wrong in ('{"head": {"kinds": 3}}', '{"head": {"kind": "no"}}', '{"head": 7}'):
            settings.write_text(wrong)
            with pytest.raises(DataError, match=r"agentrm\.json"):
                parse_spec(f"{folder}#output=0", "reward")
    finally:
        settings.unlink()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("outptu=0", "no option 'outptu'. Did you mean 'output'"),
        ("output", "output has no value"),
        ("output=0&output=1", "output is given twice"),
        ("head=yesno", "no head 'yesno'. Did you mean 'yes-no'"),
        ("normalise=maybe", "normalise is yes or no"),
        ("question=", "question is empty"),
        ("adapter=perhaps", "adapter is yes or no"),
        ("head=yes-no", "has no tokens to compare"),
        ("head=value-head", "there is no value_head and no v_head"),
    ],
)
def test_wrong_options_are_one_line(critic: tuple[Path, list[list[float]]], options: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse_spec(f"{critic[0]}#{options}", "reward")
    assert "\n" not in str(caught.value)


def test_a_folder_with_a_hash_in_its_name_is_a_folder(tmp_path: Path) -> None:
    folder = save_model(tiny_reward_model(), tiny_tokenizer(), tmp_path / "a#output=3")
    assert load_reward(str(folder), CPU).traits.head == "the only output"


# Token classifiers: TRL's process reward models.


def trl_folder(folder: Path, family: str = "qwen2", labels: int = 2, **names: object) -> tuple[Any, Any]:
    torch.manual_seed(3)
    config = tiny_config(family, 301)
    config.num_labels = labels
    model = hf.AutoModelForTokenClassification.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.mul_(6.0)
    save_model(model, tokenizer := tiny_tokenizer(), folder)
    change(folder, **names)
    return model, tokenizer


def trl_ids(tokenizer: Any, item: Conversation, step: str) -> torch.Tensor:
    """Each reply is followed by the separator; nothing stands behind the last one."""
    ids: list[int] = []
    for message in item:
        for text in (f"<|start|>{message.role}\n", message.content):
            ids += tokenizer(text, add_special_tokens=False)["input_ids"]
        if message.role == "assistant":
            ids += tokenizer(step, add_special_tokens=False)["input_ids"]
        ids += tokenizer("<|end|>\n", add_special_tokens=False)["input_ids"]
    return torch.tensor([ids[: len(ids) - len(tokenizer("<|end|>\n")["input_ids"])]])


@pytest.mark.parametrize("family", ["qwen2", "llama"])
@pytest.mark.parametrize("step", ["\n", "<|pad|>", " ки"])
def test_token_classifiers_are_read_at_the_separator(family: str, step: str, tmp_path: Path) -> None:
    model, tokenizer = trl_folder(tmp_path / "prm", family)
    spec = str(tmp_path / "prm") + ("" if step == "\n" else f"#step={step}")
    reward = load_reward(spec, CPU)
    with torch.inference_mode():
        logits = [model(trl_ids(tokenizer, item, step)).logits[0, -1] for item in ITEMS]
    expected = [float(each.softmax(-1)[1]) for each in logits]
    assert scores(reward) == pytest.approx(expected, abs=1e-5)
    assert different(expected)
    assert reward.usage.tokens_computed == reward.usage.tokens_unique
    assert reward.traits.head.startswith("probability of 'LABEL_1' at the step token")


def test_the_positive_label_is_known_by_its_name_or_asked_for(tmp_path: Path) -> None:
    names = {"id2label": {"0": "good", "1": "bad"}, "label2id": {"good": 0, "bad": 1}}
    trl_folder(tmp_path / "prm", **names)
    assert load_reward(str(tmp_path / "prm"), CPU).traits.head.startswith("probability of 'good'")
    plain, bad = (scores(load_reward(f"{tmp_path / 'prm'}{option}", CPU)) for option in ("", "#output=bad"))
    assert [one + other for one, other in zip(plain, bad, strict=True)] == pytest.approx([1.0] * len(ITEMS))
    trl_folder(tmp_path / "three", labels=3)
    with pytest.raises(UsageError, match=r"3 labels. Write FOLDER#output=NAME: LABEL_0 \(0\), LABEL_1 \(1\), LABEL_2"):
        parse_spec(str(tmp_path / "three"), "reward")
    assert len(scores(load_reward(f"{tmp_path / 'three'}#output=2", CPU))) == len(ITEMS)


# Code that came with the model: Qwen's process reward models have two outputs at <extra_0>.

REMOTE_CODE = """
from pathlib import Path
import torch
from transformers import Qwen2Config, Qwen2Model, Qwen2PreTrainedModel
from transformers.modeling_outputs import TokenClassifierOutput

Path(__file__).with_name("it_ran").touch()

class RandomForProcessRewardModel(Qwen2PreTrainedModel):
    config_class = Qwen2Config

    def __init__(self, config):
        super().__init__(config)
        self.model = Qwen2Model(config)
        width = config.hidden_size
        self.score = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, 2))
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, use_cache=None, **more):
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache).last_hidden_state
        return TokenClassifierOutput(logits=self.score(hidden))
"""


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Any, Any]:
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    space: dict[str, Any] = {"__file__": str(tmp_path / "here.py"), "__name__": "remote"}
    exec(REMOTE_CODE, space)
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken("<extra_0>", special=True)])
    torch.manual_seed(1)
    model = space["RandomForProcessRewardModel"](tiny_config("qwen2", len(tokenizer))).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.mul_(4.0)
    folder = save_model(model, tokenizer, tmp_path / "remote")
    (folder / "code.py").write_text(REMOTE_CODE)
    code = {"AutoModel": "code.RandomForProcessRewardModel"}
    return change(folder, auto_map=code, architectures=["RandomForProcessRewardModel"]), model, tokenizer


def test_code_of_a_folder_runs_only_where_it_is_trusted(remote: tuple[Path, Any, Any], tmp_path: Path) -> None:
    folder, model, tokenizer = remote
    (tmp_path / "it_ran").unlink()
    parse_spec(str(folder), "reward")
    with pytest.raises(
        UsageError, match=r"comes with its own code, which does not run\. If you trust it: --trust-remote"
    ):
        load_reward(str(folder), CPU)
    assert not list(tmp_path.rglob("it_ran"))
    reward = load_reward(str(folder), LoadOptions(device="cpu", trust_remote_code=True))
    assert list(tmp_path.rglob("it_ran"))
    with torch.inference_mode():
        logits = [model(trl_ids(tokenizer, item, "<extra_0>")).logits[0, -1] for item in ITEMS]
    expected = [float(each.softmax(-1)[1]) for each in logits]
    assert scores(reward) == pytest.approx(expected, abs=1e-5)
    assert different(expected)
    assert reward.traits.head == "probability of 'LABEL_1' at the step token '<extra_0>'"


def test_a_step_token_that_the_vocabulary_lacks_is_named(remote: tuple[Path, Any, Any]) -> None:
    folder, *_ = remote
    change(folder, architectures=["SomethingElse"])
    with pytest.raises(UsageError, match="comes with its own code, which does not say which number"):
        parse_spec(str(folder), "reward")
    assert "Transformers reward model" in describe_spec(f"{folder}#head=token-classifier", "reward")


# Language models: two tokens are compared after a step (Math-Shepherd, RLHFlow) or after a question (SWE-RM, R2E-Gym).


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["YES", "NO"])
    model = tiny_policy_model("llama", len(tokenizer), seed=2)
    return save_model(model, tokenizer, tmp_path_factory.mktemp("language") / "judge"), model, tokenizer


def share(model: Any, tokenizer: Any, ids: torch.Tensor, good: str, bad: str) -> float:
    columns = [tokenizer.convert_tokens_to_ids(token) for token in (good, bad)]
    with torch.inference_mode():
        return float(model(ids).logits[0, -1, columns].softmax(-1)[0])


def test_good_and_bad_at_the_step_token(language: tuple[Path, Any, Any]) -> None:
    folder, model, tokenizer = language
    reward = load_reward(f"{folder}#head=good-bad&step= ки", CPU)
    expected = [share(model, tokenizer, trl_ids(tokenizer, item, " ки"), "+", "-") for item in ITEMS]
    assert scores(reward) == pytest.approx(expected, abs=1e-5)
    assert different(expected)
    assert reward.usage.tokens_computed == reward.usage.tokens_unique
    assert reward.traits.head == "probability of '+' rather than '-' at the step token ' ки'"


def test_good_and_bad_as_the_answer_to_each_step(language: tuple[Path, Any, Any]) -> None:
    folder, model, tokenizer = language
    reward = load_reward(f"{folder}#head=good-bad", CPU)
    expected = []
    for item in ITEMS:
        steps = [f"{before.content} {reply.content}" for before, reply in zip(item[::2], item[1::2], strict=True)]
        rows: list[Message] = []
        for step in steps:
            rows += [Message("user", step), Message("assistant", "+")]
        expected.append(share(model, tokenizer, chat(tokenizer, tuple(rows[:-1]), True), "+", "-"))
    assert scores(reward) == pytest.approx(expected, abs=1e-5)
    assert different(expected)


@pytest.mark.parametrize("words", [("YES", "NO"), ("+", "-")])
def test_yes_or_no_after_a_question(language: tuple[Path, Any, Any], words: tuple[str, str]) -> None:
    folder, model, tokenizer = language
    chosen = "" if words == ("YES", "NO") else "&good=+&bad=-"
    reward = load_reward(f"{folder}#head=yes-no&question={QUESTION}{chosen}", CPU)
    asked = [(*item, Message("user", QUESTION)) for item in ITEMS]
    expected = [share(model, tokenizer, chat(tokenizer, item, True), *words) for item in asked]
    assert scores(reward) == pytest.approx(expected, abs=1e-5)
    assert different(expected)
    assert QUESTION in reward.traits.head


def test_questions_and_words_are_part_of_a_models_identity(language: tuple[Path, Any, Any]) -> None:
    folder, *_ = language
    options = ["question=A?", "question=B?", "question=A?&good=NO&bad=YES", "question=Who %26 what?"]
    rewards = [load_reward(f"{folder}#head=yes-no&{option}", CPU) for option in options]
    assert len({reward.traits.digest for reward in rewards}) == 4
    assert "'Who & what?'" in rewards[-1].traits.head
    first, turned = scores(rewards[0]), scores(rewards[2])
    assert [one + other for one, other in zip(first, turned, strict=True)] == pytest.approx([1.0] * len(ITEMS))


def test_what_cannot_be_known_of_a_language_model_is_asked_for(language: tuple[Path, Any, Any]) -> None:
    folder, *_ = language
    with pytest.raises(UsageError, match=r"holds a policy, not a reward model\..*#head=yes-no&question=…"):
        parse_spec(str(folder), "reward")
    for option, words in (("good=Yes!", "'Yes!' is .* tokens"), ("good=NO", "'NO' and 'NO' are the same token")):
        with pytest.raises(DataError, match=words):
            load_reward(f"{folder}#head=yes-no&{option}", CPU)
    assert load_policy(str(folder), CPU).traits.name == str(folder)
    with pytest.raises(UsageError, match="no option 'head'"):
        parse_spec(f"{folder}#head=yes-no", "policy")


def test_a_judge_folder_may_say_itself_that_it_is_one(language: tuple[Path, Any, Any], tmp_path: Path) -> None:
    _, model, tokenizer = language
    folder = save_model(model, tokenizer, tmp_path / "judge")
    (folder / "agentrm.json").write_text(json.dumps({"head": {"kind": "yes-no", "question": QUESTION}}))
    found = scores(load_reward(str(folder), CPU))
    assert found == pytest.approx(scores(load_reward(f"{language[0]}#head=yes-no&question={QUESTION}", CPU)))
    with pytest.raises(UsageError, match="holds a reward model, not a policy"):
        parse_spec(str(folder), "policy")


def test_compared_tokens_of_16_bit_models_do_not_tie() -> None:
    tokenizer = tiny_tokenizer()
    model = tiny_policy_model("qwen2", 301, seed=2)
    with torch.no_grad():
        rows = model.lm_head.weight
        rows[5] = rows[6] * 40
        rows[6] = rows[5] + torch.linspace(-0.02, 0.02, 32)
    head = RewardHead("compared", Place(question=QUESTION), columns=(5, 6), share=True)
    exact = scores(ExplicitReward(model, tokenizer, head=head))
    narrow = model.to(torch.bfloat16)
    asked = [chat(tokenizer, (*item, Message("user", QUESTION)), True) for item in ITEMS]
    with torch.inference_mode():
        tied = [float(narrow(ids).logits[0, -1, [5, 6]].double().softmax(-1)[0]) for ids in asked]
    assert len(set(tied)) < len(ITEMS)
    found = scores(ExplicitReward(narrow, tokenizer, head=head))
    assert different(found)
    assert found == pytest.approx(exact, abs=0.02)


# Value heads beside a backbone: OpenRLHF (with its mean and standard deviation), TRL, LLaMA-Factory.


def with_head(folder: Path, file: str = "model.safetensors", **tensors: torch.Tensor) -> Path:
    target = folder / file
    stored = load_file(target) if target.exists() else {}
    save_file(stored | {name.replace("__", "."): value for name, value in tensors.items()}, target, {"format": "pt"})
    return folder


def hidden_states(model: Any, tokenizer: Any) -> list[torch.Tensor]:
    with torch.inference_mode():
        return [model.model(chat(tokenizer, item)).last_hidden_state[0, -1] for item in ITEMS]


@pytest.fixture
def backbone(tmp_path: Path) -> tuple[Path, Any, Any]:
    model, tokenizer = tiny_policy_model("qwen2", 301, seed=5), tiny_tokenizer()
    return save_model(model, tokenizer, tmp_path / "backbone"), model, tokenizer


WEIGHT = torch.linspace(-1, 1, 32)[None]


@pytest.mark.parametrize("name", ["value_head", "score"])
@pytest.mark.parametrize("stored", ["buffers", "config", "both", "none", "switched off"])
def test_openrlhf_normalises_as_saved(name: str, stored: str, backbone: tuple[Path, Any, Any]) -> None:
    folder, model, tokenizer = backbone
    with_head(folder, **{f"{name}__weight": WEIGHT})
    change(folder, architectures=["RewardModel"])
    if stored in ("buffers", "both", "switched off"):
        with_head(folder, mean=torch.tensor([0.25]), std=torch.tensor([2.5]))
    if stored in ("config", "both"):
        change(folder, mean=0.25, std=2.5)
    if stored != "none":
        change(folder, normalize_reward=stored != "switched off")
    reward = load_reward(str(folder), CPU)
    raw = [float(WEIGHT[0] @ hidden) for hidden in hidden_states(model, tokenizer)]
    used = stored in ("buffers", "config", "both")
    expected = [(value - 0.25) / 2.5 for value in raw] if used else raw
    assert scores(reward) == pytest.approx(expected, abs=1e-4)
    assert different(expected)
    assert reward.traits.head == name + ", normalised by mean 0.25 and standard deviation 2.5" * used
    assert reward.usage.tokens_computed == reward.usage.tokens_unique
    assert scores(load_reward(f"{folder}#normalise=no", CPU)) == pytest.approx(raw, abs=1e-4)


NAN = float("nan")


@pytest.mark.parametrize(
    ("mean", "deviation", "words"),
    [
        ([0.0], [0.0], "never initialised"),
        ([NAN], [1.0], "never initialised"),
        ([3e38], [1.0], "never initialised"),
        ([0.0], [-1.0], "never initialised"),
        ([0.0], [1e-41], "never initialised"),
        ([0.0, 1.0], [1.0], "never initialised"),
        ([0.0], None, "the std were not saved"),
        (None, None, "the mean and the standard deviation were not saved"),
    ],
)
def test_a_mean_that_was_never_initialised_is_refused(
    mean: list[float] | None, deviation: list[float] | None, words: str, backbone: tuple[Path, Any, Any]
) -> None:
    folder, *_ = backbone
    numbers = {name: torch.tensor(value) for name, value in (("mean", mean), ("std", deviation)) if value}
    with_head(folder, value_head__weight=WEIGHT, **numbers)
    change(folder, architectures=["LLMForSequenceRegression"], normalize_reward=True)
    with pytest.raises(DataError, match=words):
        parse_spec(str(folder), "reward")
    assert load_reward(f"{folder}#normalise=no", CPU).traits.head == "value_head"


@pytest.mark.parametrize("file", ["model.safetensors", "value_head.safetensors"])
@pytest.mark.parametrize("biased", [True, False])
def test_trl_value_heads(file: str, biased: bool, backbone: tuple[Path, Any, Any]) -> None:
    folder, model, tokenizer = backbone
    bias = {"v_head__summary__bias": torch.tensor([0.75])} if biased else {}
    with_head(folder, file, v_head__summary__weight=WEIGHT, **bias)
    reward = load_reward(str(folder), CPU)
    expected = [float(WEIGHT[0] @ hidden) + 0.75 * biased for hidden in hidden_states(model, tokenizer)]
    assert scores(reward) == pytest.approx(expected, abs=1e-4)
    assert reward.traits.head == "v_head"
    with_head(folder, file, v_head__summary__weight=WEIGHT * 2, **bias)
    assert load_reward(str(folder), CPU).traits.digest != reward.traits.digest
    assert load_policy(str(folder), CPU).traits.digest


@pytest.mark.parametrize(
    "tensors",
    [
        {"v_head__0__weight": torch.ones(32, 32), "v_head__2__weight": WEIGHT},
        {"value_head__weight": torch.ones(3, 32)},
        {"value_head__weight": torch.ones(1, 31)},
        {"value_head__weight": WEIGHT, "v_head__summary__weight": WEIGHT + 1},
    ],
)
def test_other_value_heads_are_named(tensors: dict[str, torch.Tensor], backbone: tuple[Path, Any, Any]) -> None:
    folder = with_head(backbone[0], **tensors)
    with pytest.raises(DataError, match=r"not one linear layer with one output|has the shape") as caught:
        load_reward(str(folder), CPU)
    assert isinstance(caught.value, AgentRMError)
