"""What is learnt from trajectories with reasoning, where a template takes it out of earlier replies."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from agentrm_models.errors import DataError
from agentrm_trainer.data.examples import Example, encode_trajectories
from agentrm_trainer.data.reward_data import _with_turns
from agentrm_trainer.data.trajectories import Trajectory, Turn

PLAIN = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
STRIPPING = PLAIN.replace("{{ m.content }}", "{{ m.content.split('</think>')[-1] }}")
REWRITING = PLAIN.replace("{{ m.content }}", "{{ m.content if loop.last else m.content.split('</think>')[-1] }}")
LOSING = PLAIN.replace("{{ m.content }}", "{{ m.content if m.role == 'user' else '' }}")
REPLIES = ("<think>far</think>Action: go", "Action: stop")
TURNS = (Turn("user", "Goal."), Turn("assistant", REPLIES[0]), Turn("user", "A key."), Turn("assistant", REPLIES[1]))


def tokenizer_with(template: str) -> Any:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: place for place, letter in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>")
    tokenizer.chat_template = template
    return tokenizer


def learnt(tokenizer: Any, example: Example) -> str:
    return str(tokenizer.decode(example.ids[example.learnt]))


def encoded(template: str, turns: tuple[Turn, ...] = TURNS, context: int = 500) -> tuple[Any, list[Example]]:
    tokenizer = tokenizer_with(template)
    trajectory = Trajectory("maze", "maze-4:1", "maze-4", "x", 1.0, 2, turns)
    return tokenizer, encode_trajectories(tokenizer, [trajectory], context)[0]


def test_one_example_holds_all_replies_where_the_template_keeps_them() -> None:
    tokenizer, (example,) = encoded(PLAIN)
    assert learnt(tokenizer, example) == "".join(f"{reply}<|end|>" for reply in REPLIES)


@pytest.mark.parametrize("template", [STRIPPING, REWRITING], ids=["always", "earlier turns"])
def test_each_reply_is_learnt_as_it_was_written_after_what_the_model_is_shown(template: str) -> None:
    tokenizer, examples = encoded(template)
    assert [learnt(tokenizer, example) for example in examples] == [f"{reply}<|end|>" for reply in REPLIES]
    assert "far" not in tokenizer.decode(examples[1].ids)
    assert examples[1].read.any() or template is REWRITING
    unlearnt = (TURNS[0], Turn("assistant", REPLIES[0], train=False), *TURNS[2:])
    assert len(encoded(template, unlearnt)[1]) == 1
    assert encoded(template, context=10)[1] == []


def test_a_reply_follows_the_prompt_that_has_opened_reasoning() -> None:
    opening = STRIPPING.replace("<|assistant|>{% endif", "<|assistant|><think>{% endif")
    tokenizer, examples = encoded(opening)
    written = [learnt(tokenizer, example) for example in examples]
    assert written == ["far</think>Action: go<|end|>", "\n</think>\n\nAction: stop<|end|>"]
    assert all(tokenizer.decode(example.ids).count("<think>") == 1 for example in examples)


def test_a_template_that_leaves_replies_out_is_refused() -> None:
    with pytest.raises(DataError, match="leaves out what a reply says"):
        encoded(LOSING)


def test_an_implicit_reward_is_not_fitted_on_replies_that_are_not_there() -> None:
    conversation = Trajectory("maze", "t", "l", "x", 1.0, 2, TURNS).conversation
    ids, turns = _with_turns(tokenizer_with(PLAIN), conversation)
    assert len(turns) == 2 and turns[-1].stop == len(ids)
    with pytest.raises(DataError, match="earlier replies otherwise"):
        _with_turns(tokenizer_with(STRIPPING), conversation)
