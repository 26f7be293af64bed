"""The three shapes of a written call: JSON records, tags around keys and values, and Python's own calls."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from agentrm_models.functions import Function
from agentrm_models.messages import Call

PYTHON_LIMIT = 20_000
"""Characters of a call in Python's form that are read."""

_NAME_KEYS = ("name", "tool_name")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "input", "tool_input")
_QUOTED_NAME = re.compile(r'"(?:name|tool_name)"\s*:\s*"([^"\n]*)"')
_RAW_ARGUMENTS = re.compile(r'"(?:arguments|parameters)"\s*:\s*')
_AFTER_BROKEN = re.compile(r"</tool_calls?>|</TOOLCALL>|<\|/tool_call\|>|<\|im_end\|>|<｜tool▁call▁end｜>")
_FUNCTION_TAG = re.compile(r"<function=\s*(?P<name>[^>\s]+?)\s*>")
_INVOKE_TAG = re.compile(r'<(?:｜DSML｜)?invoke\s+name="?(?P<name>[^">]+)"?\s*>')
_PARAMETER = re.compile(
    r'<(?:｜DSML｜)?parameter(?:=\s*(?P<key>[^>\s]+?)\s*|\s+name="?(?P<name>[^">]+)"?[^>]*)>(?P<value>.*?)'
    r"(?:</(?:｜DSML｜)?parameter>|(?=<(?:｜DSML｜)?parameter[=\s]|</function>|</(?:｜DSML｜)?invoke>))",
    re.DOTALL,
)
_END_TAG = re.compile(r"</function>|</(?:｜DSML｜)?invoke>")
_ARGUMENT_PAIR = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)
_GLM_NAME = re.compile(r"\s*(?P<name>[A-Za-z_][\w.\-]*)")


class Payload(NamedTuple):
    """Calls read at a place; `end` is where they have ended, None where the text breaks off or is broken inside."""

    calls: tuple[Call, ...]
    end: int | None


def read_json(text: str, place: int) -> Payload | None:
    """A record or a list of records; of a broken one, what can be told of its name and its arguments."""
    try:
        value, end = json.JSONDecoder(strict=False).raw_decode(text, place)
    except (ValueError, RecursionError):
        return _broken(text, place)
    records = value if isinstance(value, list) else [value]
    calls = tuple(call for record in records if (call := _from_record(record)) is not None)
    return Payload(calls, end) if calls else None


def read_tags(text: str, place: int, functions: Sequence[Function]) -> Payload | None:
    """`<function=…>` with parameters or JSON, `<invoke name=…>`, or GLM's `NAME<arg_key>…<arg_value>…`."""
    opening = _FUNCTION_TAG.match(text, place) or _INVOKE_TAG.match(text, place)
    if opening is None:
        return _read_pairs(text, place, functions)
    name = opening["name"].removeprefix("functions.")
    closing = _END_TAG.search(text, opening.end())
    body = text[opening.end() : closing.start() if closing else len(text)]
    end = closing.end() if closing else None
    if body.lstrip().startswith("{"):
        return Payload((Call(name, body.strip()),), end)
    values = {(found["key"] or found["name"]): found["value"] for found in _PARAMETER.finditer(body + "</function>")}
    return Payload((_typed_call(name, values, functions),), end)


def read_python(text: str, place: int, functions: Sequence[Function]) -> Payload | None:
    """A list of Python calls, or one call, perhaps inside `print(…)`; the schema names arguments without a name."""
    end = _balanced(text, place)
    source = text[place : end if end is not None else len(text)].strip()
    if end is None or len(source) > PYTHON_LIMIT:
        name = re.match(r"\[?\s*([A-Za-z_][\w.]*)\(", source)
        return Payload((Call(_function_name(name[1]), source),), None) if name else None
    try:
        parsed = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    written = parsed.elts if isinstance(parsed, ast.List) else [parsed]
    calls = tuple(call for each in written if (call := _from_python(each, functions)) is not None)
    return Payload(calls, end) if calls and len(calls) == len(written) else None


def _from_record(record: Any) -> Call | None:
    """A call from `{"name": …, "arguments": …}` and its relatives, also inside `{"function": …}`."""
    if not isinstance(record, dict):
        return None
    inner = record.get("function")
    if isinstance(inner, dict):
        record = inner
    elif isinstance(inner, str) and "name" not in record:
        record = {**record, "name": inner}
    name = next((record[key] for key in _NAME_KEYS if isinstance(record.get(key), str)), None)
    if name is None:
        return None
    arguments: Any = next((record[key] for key in _ARGUMENT_KEYS if key in record), {})
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return Call(name.removeprefix("functions."), written)


def _broken(text: str, place: int) -> Payload | None:
    """JSON that cannot be read: the arguments are what stands in their place, up to a mark that ends the call."""
    name = _QUOTED_NAME.search(text, place)
    if name is None:
        return None
    closing = _AFTER_BROKEN.search(text, place)
    stop = closing.start() if closing else len(text)
    arguments = _RAW_ARGUMENTS.search(text, place, stop)
    raw = text[arguments.end() : stop].strip() if arguments else text[name.end() : stop].strip()
    return Payload((Call(name[1].removeprefix("functions."), raw),), closing.end() if closing else None)


def _read_pairs(text: str, place: int, functions: Sequence[Function]) -> Payload | None:
    name = _GLM_NAME.match(text, place)
    if name is None:
        return None
    closing = text.find("</tool_call>", name.end())
    stop = closing if closing >= 0 else len(text)
    values = dict(_ARGUMENT_PAIR.findall(text[name.end() : stop]))
    call = _typed_call(name["name"], {key.strip(): value for key, value in values.items()}, functions)
    return Payload((call,), closing + len("</tool_call>") if closing >= 0 else None)


def _typed_call(name: str, values: dict[str, str], functions: Sequence[Function]) -> Call:
    """A call whose values are texts between tags: the schema says which of them are texts."""
    function = next((function for function in functions if function.name == name), None)
    typed = {key: _typed(value, function.schema_of(key) if function else {}) for key, value in values.items()}
    return Call(name, json.dumps(typed, ensure_ascii=False))


def _typed(value: str, schema: dict[str, Any]) -> Any:
    """A value between tags, without the line breaks that stand around it."""
    value = value.removeprefix("\n").removesuffix("\n")
    kinds = {schema.get("type"), *(each.get("type") for each in schema.get("anyOf", ()) if isinstance(each, dict))}
    if kinds <= {"string", None} and "enum" not in schema:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return {"true": True, "false": False, "none": None}.get(value.strip().lower(), value)


def _balanced(text: str, place: int) -> int | None:
    """Where the bracket that opens first is closed again, texts in quotation marks left aside."""
    depth, quote, skip = 0, "", False
    for at in range(place, len(text)):
        letter = text[at]
        if skip:
            skip = False
        elif quote:
            skip = letter == "\\"
            quote = "" if letter == quote else quote
        elif letter in "\"'" and depth:
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
            if depth <= 0:
                return at + 1
    return None


def _from_python(node: ast.expr, functions: Sequence[Function]) -> Call | None:
    """A call with literal arguments."""
    if not isinstance(node, ast.Call):
        return None
    name = _function_name(ast.unparse(node.func))
    if name == "print" and len(node.args) == 1 and isinstance(node.args[0], ast.Call):
        return _from_python(node.args[0], functions)
    function = next((function for function in functions if function.name == name), None)
    keys = list(function.parameters.get("properties", {})) if function else []
    try:
        values = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg}
        unnamed = [ast.literal_eval(each) for each in node.args]
        named = dict(zip([key for key in keys if key not in values], unnamed, strict=False))
        if len(named) < len(unnamed):
            named = {f"argument{number}": value for number, value in enumerate(unnamed, 1)}
        return Call(name, json.dumps({**named, **values}, ensure_ascii=False))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return Call(name, ast.unparse(node))


def _function_name(name: str) -> str:
    """A name without a namespace, or the `.call` of Llama's own tools."""
    return name.removeprefix("functions.").removeprefix("default_api.").removesuffix(".call")
