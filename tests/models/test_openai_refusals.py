"""What servers mean by their refusals, in the words of many."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentrm_models.http_failures import StatusError, error_text
from agentrm_models.policies.openai_refusals import PARAMETERS, Meaning, read_refusal


def meaning(body: object, status: int = 400, without: str = "") -> Meaning:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    refusal = StatusError("POST", status, error_text(content), body=content)
    return read_refusal(refusal, [name for name in PARAMETERS if name != without])


def says(message: str, **more: Any) -> Meaning:
    return meaning({"error": {"message": message, **more}})


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'.",
            "max_tokens",
        ),
        ("max_tokens is deprecated, please use max_completion_tokens instead", "max_tokens"),
        ("Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1)", "temperature"),
        ("invalid temperature: only 1 is allowed for this model", "temperature"),
        ("temperature must be 1 when thinking is enabled", "temperature"),
        ("`temperature` is deprecated for this model.", "temperature"),
        ("Unrecognized request argument supplied: seed", "seed"),
        ("Setting a seed is not available on this backend", "seed"),
        ("property 'seed' is unsupported", "seed"),
        ("Stop sequences are not supported by this endpoint", "stop"),
        ("stop words are disabled", "stop"),
        ("n > 1 is not supported", "n"),
        ("n must be 1", "n"),
        ("Only one completion choice is allowed, got n=5", "n"),
        ("This endpoint cannot return multiple choices", "n"),
        ("Invalid value for 'n': must be 1", "n"),
        ("This model does not support log probabilities", "logprobs"),
        ("You are not allowed to request logprobs from this model", "logprobs"),
        ("top_p is not supported", "top_p"),
        ("`top_p` must be > 0.0 and < 1.0", "top_p"),
        ("nucleus sampling is unavailable", "top_p"),
        ("Unknown field 'seed'. Allowed fields are: model, messages, temperature, max_tokens, stop", "seed"),
        ("Unsupported parameters: seed, logprobs", "logprobs seed"),
        ("`temperature` and `top_p` cannot both be specified for this model. Please use only one.", "top_p"),
        ("logprobs are not supported together with n > 1", "logprobs"),
        ("Only one choice per request is supported", "n"),
        ("n: Input should be less than or equal to 1", "n"),
        ("best_of must be 1 when n is greater", "n"),
        ("Requested sample logprobs of 1, which is greater than max allowed: 0", "logprobs"),
        ("Completions.create() got an unexpected keyword argument 'seed'", "seed"),
        ('json: unknown field "seed"', "seed"),
        ("reasoning models use fixed temperature", "temperature"),
        ("Argument not supported on this model: max_tokens", "max_tokens"),
        ("sampling parameters are not supported by reasoning models", "top_p temperature"),
        ("something else is wrong", ""),
        ("temperature must be between 0 and 2", ""),
        ("max_tokens is too large: 64. This model has at most 16 completion tokens", ""),
        ("stopped by the content filter", ""),
    ],
)
def test_a_sentence_names_parameters(message: str, named: str) -> None:
    assert says(message) == Meaning(parameters=tuple(named.split()))


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"error": {"message": "Bad request", "param": "seed", "code": "unsupported_parameter"}}, "seed"),
        ({"error": {"message": "", "param": "max_tokens"}}, "max_tokens"),
        ({"error": {"param": "n", "type": "invalid_request_error"}}, "n"),
        ({"detail": [{"type": "extra_forbidden", "loc": ["body", "stop"], "msg": "Extra inputs"}]}, "stop"),
        (
            {"detail": [{"loc": ["body", "seed"], "msg": "x"}, {"loc": ["body", "top_p"], "msg": "y"}]},
            "seed top_p",
        ),
        ({"code": "unsupported_parameter", "field": "logprobs"}, "logprobs"),
        ({"errors": {"seed": ["Unknown field."]}}, "seed"),
        ({"error": {"message": "Use another one", "param": "body.temperature"}}, "temperature"),
        ({"error": {"message": "x", "param": "user"}}, ""),
        (b"<html>Bad Request</html>", ""),
        (b"", ""),
    ],
)
def test_a_field_names_parameters(body: object, named: str) -> None:
    assert meaning(body, 422) == Meaning(parameters=tuple(named.split()))


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 4159 tokens (4095 in the messages,"
        " 64 in the completion). Please reduce the length of the messages or completion.",
        "'max_tokens' or 'max_completion_tokens' is too large: 64. This model's maximum context length is 4096 tokens"
        " and your request has 4090 input tokens",
        "Input tokens exceed the configured limit of 272000 tokens.",
        "prompt is too long: 214315 tokens > 200000 maximum",
        "Input is too long for requested model.",
        "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4100 `inputs` tokens; inputs are too long",
        "The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).",
        "the request exceeds the available context size, try increasing it",
        "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
        "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
        "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
        "too many tokens: total number of tokens in the prompt cannot exceed 4081",
        "context window exceeds limit (2013)",
        "Prompt exceeds max length",
        "Your request exceeded model token limit: 8192",
        "Messages too long",
        "Requested tokens (600) exceed context window of 512",
        "Input validation error: `inputs` must have less than 4096 tokens. Given: 5000",
        "The total number of tokens (5000) is above the limit of 4096",
        "Range of input length should be [1, 30720]",
        "history is longer than this model can read",
        "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
        "input is too large to process. increase the physical batch size",
        "n_ctx exceeded: too many tokens in the prompt",
    ],
)
def test_a_sentence_speaks_of_the_window(message: str) -> None:
    assert says(message) == Meaning(window=True)


@pytest.mark.parametrize("code", ["context_length_exceeded", "exceed_context_size_error", "string_above_max_length"])
def test_a_code_speaks_of_the_window(code: str) -> None:
    assert says("Bad request", code=code) == says("Bad request", type=code) == Meaning(window=True)
    assert meaning(b"", 413) == Meaning(window=True)


@pytest.mark.parametrize(
    "message",
    [
        "System role not supported",
        "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
        "Conversation roles must alternate user/assistant/user/assistant/...",
        "Only user and assistant roles are supported!",
        "system messages are not allowed",
        "Invalid role: 'system'",
        "Template error: unknown role system",
        "messages[0].role must be one of user, assistant",
        "First message must be from user",
        "Developer instruction is not enabled for this model",
        "Invalid value: 'system'. Supported values are: 'user' and 'assistant'.",
    ],
)
def test_a_sentence_refuses_the_system_role(message: str) -> None:
    assert says(message) == Meaning(system=True)
    assert meaning({"error": {"message": message}}, 500) == Meaning(system=True)


def test_a_temperature_of_zero_may_be_too_low() -> None:
    assert says("`temperature` must be strictly positive") == Meaning(raised=True)
    assert says("temperature has to be greater than 0") == Meaning(raised=True)


def test_only_what_the_request_has_can_be_refused() -> None:
    message = {"error": {"message": "seed and stop are not supported", "param": "seed"}}
    assert meaning(message, without="seed").parameters == ("stop",)
    assert meaning({"error": "seed"}, 401) == meaning({"error": "seed"}, 503) == Meaning()
    assert meaning(b"[" * 9_000 + b'"seed"', 500).parameters == ("seed",)
