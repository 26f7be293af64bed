"""The endpoint through the openai package, as harnesses use it: plain, streamed, asynchronous, with its errors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai", reason="openai is not installed: make test-extras EXTRAS=serve")
pytest.importorskip("uvicorn")

import openai
from fake_serving import SECONDS, Serving, serving

KEY = "a-key-of-many-letters"
HELLO = [{"role": "user", "content": "Hello."}]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "run.jsonl", key=KEY) as found:
        yield found


def client_of(served: Serving, key: str = KEY, **options: Any) -> Any:
    http = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(base_url=f"{served.base}/v1", api_key=key, timeout=SECONDS, http_client=http, **options)


def test_a_completion_is_read(served: Serving) -> None:
    answer = client_of(served).chat.completions.create(
        model="fake",
        messages=[{"role": "developer", "content": "Be brief."}, *HELLO],
        n=2,
        temperature=1.0,
        max_completion_tokens=50,
        seed=3,
        extra_body={"agentrm": {"candidates": True, "n": 8}},
    )
    told = answer.model_extra["agentrm"]
    assert len(answer.choices) == 2
    assert answer.choices[0].message.content == told["candidates"][0]["content"]
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert told["samples"] == 8


def test_a_stream_is_read(served: Serving) -> None:
    client = client_of(served)
    whole = client.chat.completions.create(model="fake", messages=HELLO, seed=5)
    stream = client.chat.completions.create(
        model="fake", messages=HELLO, seed=5, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage


def test_the_streaming_helper_collects_the_answer(served: Serving) -> None:
    with client_of(served).chat.completions.stream(model="fake", messages=HELLO, seed=5) as stream:
        for _ in stream:
            pass
        found = stream.get_final_completion()
    assert found.choices[0].message.content.startswith("I say ")


def test_many_asynchronous_conversations_are_episodes_of_their_own(served: Serving) -> None:
    async def converse(client: Any, number: int) -> str:
        messages: list[dict[str, str]] = [{"role": "user", "content": f"Task {number % 3}."}]
        episodes = set()
        for step in range(4):
            answer = await client.chat.completions.create(model="fake", messages=messages, extra_body={"agentrm": {}})
            episodes.add(answer.model_extra["agentrm"]["episode"])
            reply = answer.choices[0].message.content
            messages += [{"role": "assistant", "content": reply}, {"role": "user", "content": f"Step {step}."}]
        (episode,) = episodes
        return str(episode)

    async def converse_all() -> list[str]:
        http = openai.DefaultAsyncHttpxClient(trust_env=False)
        async with openai.AsyncOpenAI(base_url=f"{served.base}/v1", api_key=KEY, http_client=http) as client:
            return await asyncio.gather(*(converse(client, number) for number in range(9)))

    episodes = asyncio.run(converse_all())
    assert sorted(episodes) == [str(number) for number in range(9)]


def test_models_are_listed(served: Serving) -> None:
    client = client_of(served)
    assert [model.id for model in client.models.list()] == ["fake"]
    assert client.models.retrieve("fake").id == "fake"


def test_errors_are_those_that_the_package_knows(served: Serving) -> None:
    client = client_of(served, max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        client_of(served, "another-key-of-letters").models.list()
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt", messages=HELLO)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model="fake", messages=HELLO, presence_penalty=1.0)
    assert (wrong.value.param, wrong.value.code) == ("presence_penalty", "unsupported_parameter")


def test_an_error_in_a_stream_is_raised(tmp_path: Path) -> None:
    from fake_chat import FakeChat

    def fail(requests: Any) -> None:
        raise RuntimeError("no luck")

    with serving(tmp_path / "run.jsonl", FakeChat(fail)) as served:
        stream = client_of(served, max_retries=0).chat.completions.create(model="fake", messages=HELLO, stream=True)
        with pytest.raises(openai.APIError, match="no luck"):
            list(stream)
