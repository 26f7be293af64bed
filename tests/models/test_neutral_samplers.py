"""Samplers that servers add by themselves are switched off where the server is known."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_openai import FakeServer, fake_server
from test_openai_api import ask

from agentrm_models.policies.openai_api import OpenAIPolicy
from agentrm_models.policies.openai_dialect import NEUTRAL


@pytest.fixture
def server() -> Any:
    with fake_server() as started:
        yield started


def asked(server: FakeServer, owner: object, quirks: str = "") -> tuple[dict[str, Any], str]:
    server.models = [{"id": "small", "owned_by": owner}]
    policy = OpenAIPolicy(server.address + quirks)
    policy.propose([ask()])
    policy.propose([ask()])
    return server.asked[-1], " ".join(notice.text for notice in policy.new_notices())


@pytest.mark.parametrize("owner", sorted(NEUTRAL))
def test_known_servers(server: FakeServer, owner: str) -> None:
    body, notice = asked(server, owner)
    assert {name: body[name] for name in NEUTRAL[owner]} == NEUTRAL[owner] and not notice


@pytest.mark.parametrize(("owner", "quirks"), [("library", ""), (None, ""), (3, ""), ("vllm", "#small&neutral=no")])
def test_others_are_left_alone(server: FakeServer, owner: object, quirks: str) -> None:
    body, _ = asked(server, owner, quirks)
    assert not {name for known in NEUTRAL.values() for name in known} & set(body)


def test_log_probabilities_beside_others_go_with_log_probabilities(server: FakeServer) -> None:
    body, _ = asked(server, "me", "#small&logprobs=no")
    assert "top_logprobs" not in body and body["repeat_penalty"] == 1.0


def test_a_server_that_minds_them_keeps_its_own_and_that_is_told(server: FakeServer) -> None:
    refusal = (400, json.dumps({"error": {"message": "Extra inputs are not permitted"}}).encode())
    server.minds = lambda body: refusal if "min_p" in body else None
    body, notice = asked(server, "vllm")
    assert "top_k" not in body and "seed" in body
    assert "may sample in a way of its own" in notice
    assert sum("min_p" in earlier for earlier in server.asked) == 1
