"""Answers that come in another shape than a record of JSON: streamed in parts, or with numbers that JSON has not."""

from __future__ import annotations

import json
from typing import Any

_ONCE = frozenset({"role", "id", "type", "name", "index", "model", "object", "finish_reason"})
"""Fields that a stream may repeat in each part; all other texts are continued."""

_DATA = "data:"


def plain_json(content: bytes) -> bytes:
    """The same answer as one record of standard JSON; as it was where it is neither a stream nor nearly JSON.

    Servers stream although nobody asked for it (`text/event-stream`, parts with `delta` in place of `message`), and
    Python's own writer puts NaN and Infinity where there should be null.
    """
    start = content[:64].lstrip()
    if start.startswith((b"data:", b"event:", b"id:", b"retry:", b":")):
        return _joined(content)
    if b"NaN" in content or b"Infinity" in content:
        try:
            return json.dumps(json.loads(content, parse_constant=lambda name: None)).encode()
        except (ValueError, RecursionError):
            return content
    return content


def _joined(content: bytes) -> bytes:
    """Put the parts of a stream together; parts that are no JSON, such as its end, are left out."""
    whole: dict[str, Any] = {}
    choices: dict[Any, dict[str, Any]] = {}
    lines = content.decode("utf-8", "replace").splitlines()
    for line in lines:
        if not line.startswith(_DATA):
            continue
        try:
            part = json.loads(line.removeprefix(_DATA), parse_constant=lambda name: None)
        except (ValueError, RecursionError):
            continue
        if not isinstance(part, dict):
            continue
        for choice in part.pop("choices", None) or ():
            if isinstance(choice, dict):
                choice["message"] = choice.pop("delta", None) or choice.get("message") or {}
                _merge(choices.setdefault(choice.get("index"), {}), choice)
        whole |= {key: value for key, value in part.items() if value is not None}
    if not whole and not choices:
        return content
    if choices or "error" not in whole:
        whole["choices"] = list(choices.values())
    return json.dumps(whole).encode()


def _merge(whole: dict[str, Any], part: dict[str, Any]) -> None:
    """Continue a record by the next part of it: texts and lists grow, records inside are continued themselves."""
    for key, value in part.items():
        before = whole.get(key)
        if value is None:
            continue
        if isinstance(before, dict) and isinstance(value, dict):
            _merge(before, value)
        elif isinstance(before, str) and isinstance(value, str):
            whole[key] = (before or value) if key in _ONCE else before + value
        elif isinstance(value, list):
            whole[key] = _continued(before if isinstance(before, list) else [], value)
        else:
            whole[key] = value


def _continued(before: list[Any], more: list[Any]) -> list[Any]:
    """A list that a part goes on with: entries with an index (tool calls) continue the one of that index."""
    for item in more:
        index = item.get("index") if isinstance(item, dict) else None
        same = next((old for old in before if isinstance(old, dict) and old.get("index") == index), None)
        if index is None or same is None:
            before.append(item)
        else:
            _merge(same, item)
    return before
