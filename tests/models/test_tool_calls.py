"""Every way in which the common models write calls, as published in their templates and manuals."""

from __future__ import annotations

import json

import pytest

from agentrm_models.functions import Function, OneFunction
from agentrm_models.messages import Call
from agentrm_models.tool_calls import call_end, find_calls

WEATHER = Function(
    "get_weather",
    "The weather of a city.",
    {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]},
)
OFFERED = (WEATHER, *OneFunction().offered)
ARGUMENTS = {"city": "Paris", "days": 3}
JSON = '{"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}'

WRITTEN = {
    "Hermes, Qwen 2.5 and 3": f"<tool_call>\n{JSON}\n</tool_call>",
    "Granite 3.1": f"<tool_call>[{JSON}]",
    "Qwen3-Coder": "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n3\n"
    "</parameter>\n</function>\n</tool_call>",
    "Qwen3-Coder, without its outer tag": "<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
    "<parameter=days>\n3\n</parameter>\n</function>",
    "Mistral, list": f"[TOOL_CALLS] [{JSON}]",
    "Mistral, name and arguments": '[TOOL_CALLS]get_weather{"city": "Paris", "days": 3}',
    "Mistral, [ARGS]": '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris", "days": 3}',
    "Mistral, [CALL_ID]": '[TOOL_CALLS]get_weather[CALL_ID]abc123def[ARGS]{"city": "Paris", "days": 3}',
    "Llama 3.1": '{"name": "get_weather", "parameters": {"city": "Paris", "days": 3}}',
    "Llama 3.1, python_tag": '<|python_tag|>{"type": "function", "name": "get_weather", '
    '"parameters": {"city": "Paris", "days": 3}}',
    "Llama 3.1, its own tools": '<|python_tag|>get_weather.call(city="Paris", days=3)',
    "Llama 3.1, function tag": '<function=get_weather>{"city": "Paris", "days": 3}</function>',
    "Llama 4, pythonic": '[get_weather(city="Paris", days=3)]',
    "Granite 3": f"<|tool_call|>[{JSON}]",
    "DeepSeek V3": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
    '{"city": "Paris", "days": 3}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    "DeepSeek V3.1": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
    '{"city": "Paris", "days": 3}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    "DeepSeek V3.2": '<｜DSML｜function_calls>\n<｜DSML｜invoke name="get_weather">\n'
    '<｜DSML｜parameter name="city" string="true">Paris</｜DSML｜parameter>\n'
    '<｜DSML｜parameter name="days" string="false">3</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>',
    "GLM 4.5": "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n"
    "<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>",
    "Kimi K2": "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
    '<|tool_call_argument_begin|>{"city": "Paris", "days": 3}<|tool_call_end|><|tool_calls_section_end|>',
    "MiniMax M2": '<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Paris</parameter>\n'
    '<parameter name="days">3</parameter>\n</invoke>\n</minimax:tool_call>',
    "gpt-oss, recipient in the channel": "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>"
    '{"city": "Paris", "days": 3}<|call|>',
    "gpt-oss, recipient in the role": "<|start|>assistant to=functions.get_weather<|channel|>commentary json<|message|>"
    '{"city": "Paris", "days": 3}',
    "gpt-oss, marks dropped": 'commentary to=functions.get_weather json{"city": "Paris", "days": 3}',
    "Phi-4-mini": f"functools[{JSON}]",
    "Phi-4-mini, tags": f"<|tool_call|>[{JSON}]<|/tool_call|>",
    "Gemma 3": '```tool_code\nprint(get_weather(city="Paris", days=3))\n```',
    "Gemma 3, an argument without a name": '```tool_code\nget_weather("Paris", days=3)\n```',
    "FunctionGemma": "<start_function_call>call:get_weather{city:<escape>Paris<escape>,days:3}<end_function_call>",
    "Command R": '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "get_weather", '
    '"parameters": {"city": "Paris", "days": 3}}]<|END_ACTION|>',
    "Nemotron": f"<TOOLCALL>[{JSON}]</TOOLCALL>",
    "fenced JSON": f"```json\n{JSON}\n```",
    "inside a function record": '{"type": "function", "function": ' + JSON + "}",
    "arguments as a text": '{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\", \\"days\\": 3}"}',
}


@pytest.mark.parametrize("before", ["", "Paris it is.\n"], ids=["alone", "thought"])
@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_published_forms_are_read_with_the_thought_before_them(text: str, before: str) -> None:
    found = find_calls(before + text, OFFERED)

    assert found is not None
    assert [call.name for call in found.calls] == ["get_weather"]
    assert json.loads(found.calls[0].arguments) == ARGUMENTS
    assert found.thought == before.strip()


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_a_call_that_is_still_being_written_ends_once_and_with_its_last_argument(text: str) -> None:
    ends = {call_end(text[:length], OFFERED) for length in range(len(text) + 1)} - {None}
    first = min(length for length in range(len(text) + 1) if call_end(text[:length], OFFERED) is not None)
    early = find_calls(text[:first], OFFERED)

    assert len(ends) == 1
    assert early is not None and json.loads(early.calls[0].arguments) == ARGUMENTS


ONE, TWO = (json.dumps({"name": "act", "arguments": {"action": word}}) for word in ("one", "two"))


@pytest.mark.parametrize(
    "text",
    [
        f"<tool_call>\n{ONE}\n</tool_call>\n<tool_call>\n{TWO}\n</tool_call>",
        f"[TOOL_CALLS] [{ONE}, {TWO}]",
        f"{ONE}; {TWO}",
        '[act(action="one"), act(action="two")]',
        '[TOOL_CALLS]act{"action": "one"}[TOOL_CALLS]act{"action": "two"}',
        '<|channel|>commentary to=functions.act<|message|>{"action": "one"}<|call|>'
        '<|start|>assistant<|channel|>commentary to=functions.act<|message|>{"action": "two"}<|call|>',
        "<function=act>\n<parameter=action>\none\n</parameter>\n</function>\n"
        "<function=act>\n<parameter=action>\ntwo\n</parameter>\n</function>",
    ],
)
def test_several_calls_are_all_found_in_their_order(text: str) -> None:
    found = find_calls(text, OFFERED)

    assert found is not None
    assert [json.loads(call.arguments)["action"] for call in found.calls] == ["one", "two"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Thought: I look around.\nAction: look",
        "I read about functools and <tool_call> tags.",
        "The list [1, 2] and the record {} are no calls.",
        '{"city": "Paris"}',
        "[see below](link)",
        "f(x) = 3",
        "<tool_call>",
        "[TOOL_CALLS]",
        "<|channel|>final<|message|>It rains.",
    ],
)
def test_what_is_no_call_is_left_alone(text: str) -> None:
    assert find_calls(text, OFFERED) is None
    assert call_end(text, OFFERED) is None


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ('<tool_call>{"name": "act", "arguments": {"action": x}}</tool_call>', Call("act", '{"action": x}}')),
        ('<tool_call>{"name": "act", "arguments": {"action": "go', Call("act", '{"action": "go')),
        ('[TOOL_CALLS]act{"action": "go', Call("act", '{"action": "go')),
        ("[act(action=place)]", Call("act", "act(action=place)")),
    ],
)
def test_broken_arguments_are_kept_as_they_were_written(text: str, call: Call) -> None:
    found = find_calls(text, OFFERED)

    assert found is not None and found.calls == (call,)


def test_values_between_tags_have_the_types_of_the_schema() -> None:
    schema = {
        "a": {"type": "string"},
        "b": {"type": "array", "items": {"type": "integer"}},
        "c": {"type": "boolean"},
        "d": {"anyOf": [{"type": "string"}, {"type": "number"}]},
    }
    function = Function("f", "", {"type": "object", "properties": schema})
    parts = "".join(
        f"<parameter={key}>\n{value}\n</parameter>\n"
        for key, value in zip("abcd", ("7", "[1, 2]", "True", "x"), strict=True)
    )

    found = find_calls(f"<tool_call>\n<function=f>\n{parts}</function>\n</tool_call>", [function])

    assert found is not None
    assert json.loads(found.calls[0].arguments) == {"a": "7", "b": [1, 2], "c": True, "d": "x"}


@pytest.mark.parametrize(
    "deep",
    ['<tool_call>{"name": "act", "arguments": ' + "[" * 50_000, "[act(action=" + "(" * 50_000],
    ids=["JSON", "Python"],
)
def test_depth_without_end_is_no_crash(deep: str) -> None:
    found = find_calls(deep, OFFERED)

    assert found is None or found.calls[0].name == "act"


@pytest.mark.parametrize(
    "filling", [" ", "\n", "<tool_call>", "to=", "assistant ", "<|channel|>", "{", "[{", "a:1", "`", "<parameter=x>"]
)
@pytest.mark.parametrize("beginning", ["", "<tool_call>", "<tool_call>act", "[TOOL_CALLS]", "<function=act>", "to=act"])
def test_long_texts_that_nearly_are_calls_take_little_work(beginning: str, filling: str) -> None:
    find_calls(beginning + filling * (20_000 // len(filling)), OFFERED)
