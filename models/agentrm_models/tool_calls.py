"""Calls in what a model wrote: the ways in which chat models of 2024 to 2026 write them as text.

A call begins with a mark or at the beginning of a line; what follows is read by what it looks like:

```
JSON        {"name": …, "arguments": {…}}, or a list of such records       Hermes, Qwen, Mistral, Llama, Granite, Phi-4
name, JSON  NAME{…}, NAME[ARGS]{…}, NAME<｜tool▁sep｜>{…}                   Mistral, DeepSeek, Kimi, harmony (gpt-oss)
tags        <function=NAME><parameter=KEY>…, NAME<arg_key>…<arg_value>…,
            <invoke name="NAME"><parameter name="KEY">…                    Qwen3-Coder, Llama, GLM, MiniMax, DeepSeek
Python      [NAME(key=value), …], NAME(key=value)                          Llama 4, Gemma
```

Sources: the chat templates in these models' repositories, and the formats that vLLM's and SGLang's manuals describe.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from agentrm_models.call_payloads import Payload, read_json, read_python, read_tags
from agentrm_models.functions import Function
from agentrm_models.messages import Call

_MARKS = (
    "<tool_call>",
    "<tool_calls>",
    "<TOOLCALL>",
    "<|tool_call|>",
    "<|tool_call>",
    "[TOOL_CALLS]",
    "<|python_tag|>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    "<|tool_calls_section_begin|>",
    "<|tool_call_begin|>",
    "<|START_ACTION|>",
    "<|action_start|>",
    "<start_function_call>",
    "<minimax:tool_call>",
    "<｜DSML｜function_calls>",
    "<｜DSML｜tool_calls>",
    "<function_calls>",
    "functools",
)
"""Texts with which calls begin."""

CALL_TOKENS = re.compile(
    r"tool|function|python_tag|action|plugin|arg_|invoke|parameter|DSML|escape|constrain|channel|message|start|call"
    r"|[\[<]\|?/?(?:ARGS|CALL_ID)",
    re.IGNORECASE,
)
"""Found in the names of special tokens that belong to calls: decoding must not drop them."""

CLOSING = frozenset("}])>`")
"""Characters in which calls end: no other character can complete one."""

_HARMONY = re.compile(
    r"(?:<\|start\|>)?(?:assistant\s*+)?(?:<\|channel\|>\s*+)?(?:(?:commentary|analysis)\s*+)?"
    r"to=(?P<name>[\w.\-]++)[^{}]{0,120}+(?=\{)"
)
_BEGIN = re.compile("|".join(re.escape(mark) for mark in _MARKS))
_SKIPPED = re.compile(
    rf"(?:\s|{_BEGIN.pattern}|<\|plugin\|>|```(?:json|tool_code|python)?(?=\s)|call:(?=[\w.\-]++\{{))*+"
)
_TAGGED = re.compile(r"<function=|<(?:｜DSML｜)?invoke\s")
_NAMED = re.compile(
    r"(?:function<｜tool▁sep｜>)?(?P<name>[A-Za-z_][\w.\-]*+)(?::\d++)?"
    r"(?:\[CALL_ID\][\w\-]*|\[ARGS\]|<｜tool▁sep｜>|<\|tool_call_argument_begin\|>|```json\s|\s)*+(?=[{(]|<arg_key>)"
)
_NAME_ALONE = re.compile(r"(?P<name>[A-Za-z_][\w.\-]*+)\s*+(?=</tool_call>)")
_BARE = re.compile(
    r"(?:\A|(?<=\n))[ \t]*(?:```(?:json|tool_code|python)?\s+)?"
    r'(?=\{\s*"(?:name|parameters|arguments|type|function|tool_name)"\s*:'
    r'|\[\s*\{\s*"(?:name|parameters|arguments|type|function|tool_name)"\s*:'
    r"|\[\s*[A-Za-z_][\w.]*\(|<function=|<(?:｜DSML｜)?invoke\s)"
)
_FENCED_PYTHON = re.compile(r"(?:\A|(?<=\n))[ \t]*```tool_code\s+(?=\S)")
_BETWEEN = re.compile(r"(?:\s|;|</?tool_calls?>|<[^<>\n]{0,40}(?:end|call)[^<>\n]{0,10}>)*")
_RECORDS = re.compile(r"\[\s*\{")
_PAIRS = re.compile(r"(\w+):(?:<escape>(.*?)<escape>|([^,{}]*))", re.DOTALL)
_THOUGHT_RESIDUE = re.compile(
    r"<\|channel\|>(?:analysis|commentary|final)?|<\|(?:start|message|end|return|call)\|>(?:assistant)?"
    r"|<\|(?:im_start|im_end|eom_id|eot_id|START_ACTION|python_tag)\|>|```(?:json|tool_code|python)?\s*\Z"
)


class Found(NamedTuple):
    """Calls in a text.

    Attributes:
        thought: What stands before the first call, without control tokens.
        calls: In their order; the first one is what a search step takes.
        end: Where the first call, or the list that it is in, has ended; None where the text breaks off inside it.
    """

    thought: str
    calls: tuple[Call, ...]
    end: int | None


def find_calls(text: str, functions: Sequence[Function]) -> Found | None:
    """The calls of a reply; None where there is none.

    A call that the text breaks off in, or whose JSON is broken, is one too: its arguments are what was written.

    Args:
        functions: Those that were offered; their schemas say what values between tags are.
    """
    beginning = _first(text, functions)
    if beginning is None:
        return None
    start, payload = beginning
    calls, place = list(payload.calls), payload.end
    while place is not None:
        more = _next(text, place, functions)
        if more is None:
            break
        calls.extend(more.calls)
        place = more.end
    return Found(_THOUGHT_RESIDUE.sub("", text[:start]).strip(), tuple(calls), payload.end)


def call_end(text: str, functions: Sequence[Function]) -> int | None:
    """Where the first call of a reply that is still being written has ended; None while it has not."""
    beginning = _first(text, functions)
    return beginning[1].end if beginning and beginning[1].calls else None


def _first(text: str, functions: Sequence[Function]) -> tuple[int, Payload] | None:
    """The first place where a call begins and something that can be read follows."""
    places = [(found.start(), found.end(), "") for found in _BEGIN.finditer(text)]
    places += [(found.start(), found.end(), found["name"]) for found in _HARMONY.finditer(text)]
    places += [(found.start(), found.end(), "") for found in _BARE.finditer(text)]
    places += [(found.start(), found.end(), "") for found in _FENCED_PYTHON.finditer(text)]
    for start, end, name in sorted(places):
        payload = _named(text, end, name) if name else _payload(text, end, functions)
        if payload is not None:
            return start, payload
    return None


def _next(text: str, place: int, functions: Sequence[Function]) -> Payload | None:
    """A further call right behind one that has ended."""
    between = _BETWEEN.match(text, place)
    at = between.end() if between else place
    harmony = _HARMONY.match(text, at)
    if harmony:
        return _named(text, harmony.end(), harmony["name"])
    if at >= len(text) or not (_BEGIN.match(text, at) or text[at] in "{<" or _BEGIN.search(text, place, at)):
        return None
    return _payload(text, at, functions)


def _payload(text: str, place: int, functions: Sequence[Function]) -> Payload | None:
    """What follows the beginning of a call, by what it looks like."""
    skipped = _SKIPPED.match(text, place)
    at = skipped.end() if skipped else place
    if text.startswith("{", at) or _RECORDS.match(text, at):
        return read_json(text, at)
    if _TAGGED.match(text, at):
        return read_tags(text, at, functions)
    if text.startswith("[", at):
        return read_python(text, at, functions)
    named = _NAMED.match(text, at) or _NAME_ALONE.match(text, at)
    if named is None:
        return None
    if text.startswith("{", named.end()):
        return _named(text, named.end(), named["name"])
    if text.startswith("(", named.end()):
        return read_python(text, at, functions)
    return read_tags(text, at, functions)


def _named(text: str, place: int, name: str) -> Payload:
    """A call whose name stands before its arguments."""
    name = name.removeprefix("functions.")
    try:
        value, end = json.JSONDecoder(strict=False).raw_decode(text, place)
    except (ValueError, RecursionError):
        return _written_otherwise(text, place, name)
    return Payload((Call(name, json.dumps(value, ensure_ascii=False)),), end)


def _written_otherwise(text: str, place: int, name: str) -> Payload:
    """Arguments that are no JSON: `{key:<escape>value<escape>}` (FunctionGemma), or whatever was written."""
    pairs: dict[str, Any] = {}
    for key, words, other in _PAIRS.findall(text[place:]):
        pairs[key] = words or _scalar(other)
    end = text.find("}", place)
    if pairs and "<escape>" in text[place:] and end >= 0:
        return Payload((Call(name, json.dumps(pairs, ensure_ascii=False)),), text.rfind("}") + 1)
    return Payload((Call(name, text[place:].strip()),), None)


def _scalar(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
