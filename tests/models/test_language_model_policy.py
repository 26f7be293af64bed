"""One generation loop over two backends: the replies of a seed are fixed, whatever computes them."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import pytest
from tiny_llama import make_policy
from tiny_models import tiny_policy_model, tiny_tokenizer

from agentrm_models.llama_cpp.gguf_export import export_gguf
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Conversation, Message
from agentrm_models.policies.base import Decoding, NoiseKey, ProposeRequest
from agentrm_models.policies.gguf import gguf_policy
from agentrm_models.policies.language_model import LanguageModelPolicy
from agentrm_models.policies.transformers import transformers_policy


def conversation(*texts: str) -> Conversation:
    return tuple(Message("assistant" if place % 2 else "user", text) for place, text in enumerate(texts))


SHORT = conversation("Goal: find the key. You see a red key.")
STEPS = ((f"Action: go {step}", "You see a red key and a blue door.") for step in range(14))
LONG = conversation("Goal.", *(text for step in STEPS for text in step))


def ask(
    chat: Conversation,
    n: int,
    node: str,
    temperature: float = 1.0,
    max_tokens: int = 10,
    first: int = 0,
    **more: object,
) -> ProposeRequest:
    noise = NoiseKey(3, "maze:1", node, first)
    return ProposeRequest(chat, n, Decoding(temperature, 0.9, max_tokens), noise, **more)  # type: ignore[arg-type]


REQUESTS = [
    ask(SHORT, 3, "0"),
    ask(LONG, 2, "1", first=4),
    ask(SHORT, 3, "2", 0.8, exclude=("",)),
    ask(SHORT, 1, "3", 0.0, 6),
    ask(SHORT, 1, "4", max_tokens=400, whole_turn=True),
]
"""Several candidates; a window that overflows, with numbers that go on; actions sampled anew; argmax; a full window."""


Replies: TypeAlias = list[list[tuple[str, int, float]]]
"""Of each request the text, tokens and log-probability of its candidates."""


def check(
    policy: LanguageModelPolicy, expected: Replies, full_window: tuple[int, float], cost: tuple[int, ...]
) -> None:
    """Play all requests; of the last one, whose reply fills the window, only its length is written down."""
    *groups, (whole,) = policy.propose(REQUESTS)
    assert [[(reply.text, reply.tokens) for reply in group] for group in groups] == [
        [reply[:2] for reply in group] for group in expected
    ]
    likelihoods = [reply.log_probability for group in groups for reply in group]
    assert likelihoods == pytest.approx([reply[2] for group in expected for reply in group], abs=0.02)
    assert (whole.tokens, whole.log_probability) == pytest.approx(full_window, abs=0.1)
    usage = policy.usage
    assert (usage.tokens_unique, usage.tokens_generated, usage.dropped_observations) == cost


TRANSFORMERS = [
    [
        ("P\ufffdc\ufffd g\u0206\ufffd\ufffd9", 10, -56.08),
        ("!Th\ufffd re a\x17l\ufffdgh\ufffd", 10, -56.31),
        ("\ufffd the2\ufffdbreen\ufffd'\ufffd\ufffd", 10, -56.06),
    ],
    [
        ("&\ufffd4\ufffd@\ufffdcA\x0eT", 10, -56.44),
        ("E(h`W\ufffd\ufffd*\ufffdsta", 10, -57.78),
    ],
    [
        ("E#X\ufffd&o\ufffd\ufffd\x13@", 10, -56.98),
        ("\ufffdtc\ufffd\ufffdA\ufffd\ufffd\ufffd2", 10, -56.2),
        ("\ufffd\x15ioar\ufffdtio\x07\ufffdio", 10, -56.77),
    ],
    [
        ("\ufffd\x11\x11\x11\x11\ufffd", 6, -30.5),
    ],
]

GGUF = [
    [
        ("\\\ufffd\ufffdalos\ufffdgo\ufffd\ufffd%", 10, -44.64),
        ("$\ufffd\u672c\ufffd c'v\ufffdj\ufffd itred", 10, -41.38),
        ("\ufffdee9\ufffdt Don\x0f.\ufffd\ufffd", 10, -42.15),
    ],
    [
        ("*\ufffdF\x0c:\x0evW\ufffdj", 10, -52.52),
        ("d/|}b\ufffd\ufffd4 c coin", 10, -51.73),
    ],
    [
        ('X/\ufffd\ufffd"\ufffdz\x02ouc', 10, -48.76),
        ("\n\ufffdption\ufffdV\x0b\ufffd\x109", 10, -43.77),
        ("\x18\ufffd Donw|\ufffd coin red\ufffd (", 10, -50.53),
    ],
    [
        ("\ufffd:edTh{;", 6, -19.13),
    ],
]


def test_transformers_replies_are_those_of_the_seed() -> None:
    model = tiny_policy_model(max_position_embeddings=256).double()
    policy = transformers_policy(model, tiny_tokenizer(), cache_bytes=1 << 26)
    check(policy, TRANSFORMERS, (221, -1243.67), (500, 393, 12))


@pytest.mark.llama_cpp
def test_gguf_replies_are_those_of_the_seed(tmp_path: Path) -> None:
    file = export_gguf(make_policy(tmp_path / "policy"), tmp_path / "model.gguf", "f32").file
    policy = gguf_policy(file, LoadOptions(threads=1, cache_bytes=256 * 512), exact=True)
    check(policy, GGUF, (219, -1109.7), (507, 395, 12))
    policy.close()
    with pytest.raises(RuntimeError, match="closed"):
        policy.propose(REQUESTS[:1])
