"""The server of llama-cpp-python against our own llama.cpp backend: greedy replies and their log-probabilities.

Skipped where the extra `llama-server` is not installed: `make test-extras EXTRAS=llama-server`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from running import free_port, running

from agentrm_models.bundled import bundled_models
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Conversation, Message
from agentrm_models.policies.base import Candidate, Decoding, NoiseKey, Policy, ProposeRequest
from agentrm_models.specs import load_policy

CPU = LoadOptions(device="cpu", threads=1)
PACKAGES = ("llama_cpp", "fastapi", "sse_starlette", "starlette_context", "pydantic_settings")
EXACT = ("--logits_all", "true", "--type_k", "0", "--type_v", "0", "--flash_attn", "false")
"""Log-probabilities on request, and keys and values in float32 as ours."""

MISSING = [name for name in PACKAGES if find_spec(name) is None]

pytestmark = [
    pytest.mark.llama_cpp,
    pytest.mark.skipif(bool(MISSING), reason=f"llama-cpp-python's server needs {', '.join(MISSING)}"),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    from agentrm_models.llama_cpp.gguf_export import export_gguf

    file = tmp_path_factory.mktemp("gguf") / "policy.gguf"
    export_gguf(next(model.folder for model in bundled_models() if model.role == "policy"), file)
    port, log = free_port(), tmp_path_factory.mktemp("log") / "server.log"
    address = ("--host", "127.0.0.1", "--port", str(port))
    options = (*address, "--n_ctx", "1024", "--n_threads", "1", *EXACT)
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(file), *options]
    with running(command, port, "/v1/models", log, {}) as url:
        yield url, file


def talk(number: int) -> Conversation:
    return (
        Message("system", "You play a game."),
        Message("user", f"Buy a red shirt, size {number}, price lower than 30 dollars."),
        Message("assistant", "Thought: I search.\nAction: search[red shirt]"),
        Message("user", f"Page 1: [B0{number}] red shirt, 12 dollars."),
    )


def greedy(policy: Policy, number: int) -> Candidate:
    decoding = Decoding(temperature=0.0, max_tokens=5)
    return policy.propose([ProposeRequest(talk(number), 1, decoding, NoiseKey(0, "t", str(number)))])[0][0]


def test_greedy_replies_and_their_log_probabilities_are_those_of_our_backend(
    served: tuple[str, Path],
) -> None:
    """Unless a request says otherwise, this server penalises repetitions by 1.1."""
    url, file = served
    theirs, ours = load_policy(f"{url}/v1", CPU), load_policy(str(file), CPU)
    differences = []
    for number in range(6):
        mine, other = greedy(ours, number), greedy(theirs, number)
        assert mine.text == other.text and mine.text
        assert mine.tokens == other.tokens == 5  # this server leaves the end-of-turn token's out
        differences.append(abs(mine.log_probability - other.log_probability))
    print(f"\n6 greedy replies alike; log-probabilities of replies at most {max(differences):.2e} apart")
    assert max(differences) <= 1e-2
