"""How each kind of server is asked for the outputs of a classifier, and how its answers are read.

Requests and answers as the servers' own documentation describes them: vLLM `/classify` and `/pooling`, SGLang
`/classify`, Text Embeddings Inference `/predict`, llama-server `/rerank` and `/embeddings`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from agentrm_models.errors import DataError
from agentrm_models.messages import Conversation
from agentrm_models.spelling import shown_name

ApiName: TypeAlias = Literal["classify", "pooling", "sglang", "predict", "rerank", "embeddings"]


class Scored(NamedTuple):
    """A conversation as a server is given it.

    Attributes:
        messages: What is left of it.
        ids: Its tokens, where its tokenizer is at hand.
        text: The same as text.
        dropped: Observations left out.
    """

    messages: Conversation
    ids: tuple[int, ...] = ()
    text: str = ""
    dropped: int = 0


class Answer(NamedTuple):
    """What a server says.

    Attributes:
        rows: The outputs of each text.
        tokens: How many tokens it read; 0 where it does not tell.
    """

    rows: list[list[float]]
    tokens: int


Switch: TypeAlias = dict[str, bool]
"""The parameter that asks for raw values."""


class Api(NamedTuple):
    """One way to ask.

    Attributes:
        server: What such servers are called.
        path: Behind the server's root.
        form: What it is given: tokens, or text that it tokenises itself.
        body: The request for these texts; with `chats` and no tokens, for one conversation.
        chats: Whether it renders conversations itself.
        switches: Parameters that ask for raw values, each tried where the one before changes nothing; the opposite
            value asks for probabilities.
    """

    name: ApiName
    server: str
    path: str
    form: Literal["ids", "text"]
    body: Callable[[str, Sequence[Scored]], dict[str, Any]]
    chats: bool = False
    switches: tuple[Switch, ...] = ()


def _vllm(model: str, items: Sequence[Scored]) -> dict[str, Any]:
    """Tokens, or one conversation that the server renders; nothing is added, and nothing is cut off."""
    if items[0].ids:
        return {"model": model, "input": [list(item.ids) for item in items], "add_special_tokens": False}
    messages = [{"role": message.role, "content": message.content} for message in items[0].messages]
    return {"model": model, "messages": messages, "add_generation_prompt": False, "add_special_tokens": False}


def _sglang(model: str, items: Sequence[Scored]) -> dict[str, Any]:
    return {"model": model, "input_ids": [list(item.ids) for item in items]}


def _tei(model: str, items: Sequence[Scored]) -> dict[str, Any]:
    return {"inputs": [[item.text] for item in items], "truncate": False}


def _rerank(model: str, items: Sequence[Scored]) -> dict[str, Any]:
    return {"model": model, "query": "", "documents": [item.text for item in items], "top_n": len(items)}


def _embeddings(model: str, items: Sequence[Scored]) -> dict[str, Any]:
    return {"model": model, "input": [list(item.ids) for item in items], "embd_normalize": -1}


_VLLM_SWITCHES: tuple[Switch, ...] = ({"use_activation": False}, {"activation": False}, {"softmax": False})

APIS: dict[ApiName, Api] = {
    api.name: api
    for api in (
        Api("classify", "vLLM", "/classify", "ids", _vllm, True, _VLLM_SWITCHES),
        Api("pooling", "vLLM", "/pooling", "ids", _vllm, True, _VLLM_SWITCHES),
        Api("sglang", "SGLang", "/classify", "ids", _sglang),
        Api("predict", "Text Embeddings Inference", "/predict", "text", _tei, False, ({"raw_scores": True},)),
        Api("rerank", "llama-server", "/rerank", "text", _rerank),
        Api("embeddings", "llama-server", "/embeddings", "ids", _embeddings),
    )
}


def read_answer(content: bytes, count: int, where: str, labels: Sequence[str]) -> Answer:
    """The outputs of so many texts, in their order, whatever order the server gave them in.

    Args:
        where: Server and path, for messages.
        labels: Names of the outputs, for servers that sort them by their scores.

    Raises:
        DataError: An answer is missing, doubled, of another length, or not finite.
    """
    try:
        found: Any = json.loads(content)
    except (ValueError, RecursionError):
        raise DataError(f"{where} answers with what is no JSON: {_shown(content)}") from None
    entries = found
    if isinstance(found, dict):
        entries = next((found[key] for key in ("data", "results", "embedding") if key in found), None)
        entries = [found] if entries is not None and not _is_list_of_entries(entries) else entries
    if not isinstance(entries, list):
        raise DataError(f"{where} answers with no scores: {_shown(content)}", "Name its API with #api=….")
    if len(entries) != count:
        raise DataError(f"{where} gave {len(entries)} scores for {count} texts")
    rows: list[list[float] | None] = [None] * count
    for place, entry in enumerate(entries):
        index = entry.get("index", place) if isinstance(entry, dict) else place
        if type(index) is not int or not 0 <= index < count or rows[index] is not None:
            raise DataError(f"{where} numbers its scores wrongly: {shown_name(repr(index))} of {count}")
        rows[index] = _row(entry, where, labels)
    widths = {len(row) for row in rows if row is not None}
    if len(widths) != 1:
        raise DataError(f"{where} gave scores with different numbers of outputs: {sorted(widths)}")
    return Answer([row for row in rows if row is not None], _tokens(found))


def _is_list_of_entries(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict | list) for entry in value)


def _row(entry: object, where: str, labels: Sequence[str]) -> list[float]:
    """One text's outputs: of values for every token those of the last one."""
    value = entry
    if isinstance(entry, dict):
        keys = ("probs", "data", "embedding", "relevance_score", "score")
        value = next((entry[key] for key in keys if key in entry), None)
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        return _labelled(value, where, labels)
    while isinstance(value, list) and value and isinstance(value[-1], list):
        value = value[-1]
    row = value if isinstance(value, list) else [value]
    if not row:
        raise DataError(f"{where} gave a score without a number")
    return [_number(each, where) for each in row]


def _labelled(entries: list[dict[str, Any]], where: str, labels: Sequence[str]) -> list[float]:
    """Scores with labels, which servers sort by score: put into the order of the outputs."""
    if len(entries) == 1:
        return [_number(entries[0].get("score"), where)]
    scores = {str(entry.get("label")): _number(entry.get("score"), where) for entry in entries}
    order = list(labels) or sorted(scores)
    if sorted(order) != sorted(scores):
        raise DataError(f"{where} names other outputs than its model has: {', '.join(map(shown_name, scores))}")
    return [scores[label] for label in order]


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        shown = "nothing" if value is None else shown_name(repr(value))
        raise DataError(f"{where} gave {shown} as a score", "Its weights or its answer are damaged.")
    return float(value)


def _tokens(found: object) -> int:
    """Tokens that a server says it read; SGLang says so for each text."""
    counts: list[object] = []
    if isinstance(found, dict):
        usage = found.get("usage") or found.get("meta_info")
        counts = [usage.get("prompt_tokens")] if isinstance(usage, dict) else []
    elif isinstance(found, list):
        infos = [entry.get("meta_info") for entry in found if isinstance(entry, dict)]
        counts = [info.get("prompt_tokens") for info in infos if isinstance(info, dict)]
    return sum(count for count in counts if isinstance(count, int))


def _shown(content: bytes) -> str:
    return shown_name(content[:100].decode("utf-8", "replace"))
