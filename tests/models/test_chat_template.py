"""Chat templates are other people's programs: they render as Transformers renders them, and end whatever they hold."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import TEMPLATE, tiny_tokenizer

from agentrm_models.chat import ChatEncoder
from agentrm_models.chat_template import ChatTemplate, RefusingTemplateError
from agentrm_models.errors import AgentRMError, DataError
from agentrm_models.messages import Message

ROWS = [
    {"role": "system", "content": "Play."},
    {"role": "user", "content": "Goal: the red key. é 鍵"},
    {"role": "assistant", "content": "Thought: none.\nAction: look"},
    {"role": "user", "content": "You see <b>nothing</b>."},
]

ORDINARY = (
    TEMPLATE,
    "{% for m in messages %}{% generation %}{{ m.content | trim }}{% endgeneration %}{% endfor %}",
    "{% for m in messages if m.role != 'user' %}{{ loop.index }}/{{ loop.length }}{{ loop.last }}{% else %}-"
    "{% endfor %}",
    "{% macro turn(m, n=2) -%}[{{ m.role ~ ':' ~ m['content'] }}{{ '!' * n }}]{%- endmacro %}"
    "{% for m in messages %}{{ turn(m) }}{% if loop.first %}{% continue %}{% endif %}{% endfor %}",
    "{% set ns = namespace(last=-1, text='') %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.last = loop.index0 %}{% endif %}"
    "{% set ns.text = ns.text + m.content[:3] %}{% endfor %}{{ ns.last }}{{ ns.text }}",
    "{{ messages | tojson }}{{ messages[0] | tojson(indent=2) }}{{ bos_token }}"
    "{{ messages | map(attribute='role') | join(', ') }}",
    "{% for m in messages[::-1] %}{{ m.content.split('\n')[-1].upper() }}"
    "{{ m.content.replace('e', 'E') }}{% break %}{% endfor %}",
    "{{ dict(a=1).items() | list }}{{ messages | length }}{{ '%s-%03d' % ('x', 7) }}"
    "{{ tools is none }}{{ missing is defined }}",
    "{% if add_generation_prompt %}{{ messages | selectattr('role', 'eq', 'user') | list | length }}{% endif %}",
    "{% for m in messages recursive %}{{ m.role if m is mapping }}{% endfor %}"
    "{{ range(3) | sum }}{{ 7 % 3 }}{{ 2 ** 5 }}",
    "{% set s %}{% for m in messages %}{{ m.role }},{% endfor %}{% endset %}{{ s | title }}"
    "{{ cycler('a', 'b').next() }}{% filter upper %}x{% endfilter %}",
)


@pytest.mark.parametrize("source", ORDINARY, ids=range(len(ORDINARY)))
@pytest.mark.parametrize("ask", [False, True])
def test_a_template_renders_as_the_library_renders_it(source: str, ask: bool) -> None:
    tokenizer = tiny_tokenizer(source)
    expected = tokenizer.apply_chat_template(ROWS, tokenize=False, add_generation_prompt=ask)
    template = ChatTemplate(source, tokenizer.special_tokens_map, "model")
    assert template.render(ROWS, ask) == template.render(ROWS, ask) == expected


ENDLESS = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{{ range(99999) | sum }}{% endfor %}",
    "{% for a in range(99999) %}{% if 'b' in range(99999) | list %}{% endif %}{% endfor %}",
    "{% macro m(n) %}{{ m(n + 1) }}{{ m(n + 1) }}{% endmacro %}{% macro k(n) %}"
    "{% if n < 40 %}{{ k(n + 1) }}{{ k(n + 1) }}"
    "{% endif %}{% endmacro %}{{ k(0) }}",
    "{{ 'x' * 10**10 }}",
    "{{ [0] * 10**10 }}",
    "{{ 10**(10**10) }}",
    "{% set ns = namespace(n=3) %}{% for a in range(99) %}{% set ns.n = ns.n * ns.n %}{% endfor %}{{ ns.n }}",
    "{% set ns = namespace(s='ab') %}{% for a in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    "{% set ns = namespace(s='ab') %}{% for a in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    "{% set ns = namespace(s='ab') %}{% for a in range(99) %}{% set ns.s = ns.s.replace('a', ns.s) %}{% endfor %}",
    "{% set ns = namespace(s='ab') %}{% for a in range(99) %}{% set ns.s = ns.s | replace('a', ns.s) %}{% endfor %}",
    "{% set ns = namespace(s='ab') %}{% for a in range(99) %}{% set ns.s = [ns.s, ns.s] | join(ns.s) %}{% endfor %}",
    "{% set ns = namespace(l=[1]) %}{% for a in range(99) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
    "{{ 'x' | center(10**10) }}{{ 'x'.rjust(10000000000) }}",
    "{{ '%10000000000d' % 1 }}",
    "{{ '%*d' % (10000000000, 1) }}",
    "{{ '{:>10000000000}'.format(1) }}",
    "{% set big = 'x' * 9999999 %}{% for a in range(99999) %}{{ big }}{% endfor %}",
    "{% set s %}{% for a in range(99999) %}" + "x" * 9_999 + "{% endfor %}{% endset %}",
)


@pytest.mark.parametrize("source", ENDLESS, ids=range(len(ENDLESS)))
def test_one_that_never_ends_is_one_line_in_bounded_time(source: str) -> None:
    with pytest.raises(DataError, match="folder: its chat template makes") as caught:
        ChatTemplate(source, {}, "folder").render(ROWS, True)
    assert str(caught.value).isprintable()


def test_the_encoder_says_so_when_it_is_made() -> None:
    with pytest.raises(DataError, match="its chat template makes more than"):
        ChatEncoder(tiny_tokenizer(ENDLESS[0]))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ 1/0 }}", "ZeroDivisionError: division by zero"),
        ("{{ raise_exception('only \x1b[31m users') }}", r"only \\x1b\[31m users"),
        ("{{ messages[9].role.x }}", "refuses"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
        ("{{ messages.append(1) }}{{ ''.__class__ }}", "refuses"),
        ("{{ broken", "its chat template is broken"),
        ("{% for %}", "its chat template is broken"),
        ("{% import 'os' as os %}", "refuses"),
        ("{{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}", "cannot be compiled"),
        ("x" * 1_000_001, "has 1,000,001 characters"),
        ("{% generation %}", "is broken"),
    ],
    ids=range(11),
)
def test_one_that_is_wrong_is_one_line_with_the_reason(source: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        ChatEncoder(tiny_tokenizer(source)).ids((Message("user", "hello"),), add_generation_prompt=True)
    assert str(caught.value).isprintable()


PARTS = ("{% for a in messages %}", "{% endfor %}", "{{ a.content }}", "{{ a ~ a }}", "{{ 9 ** 9 }}", "{% if a %}")
PARTS += ("{% endif %}", "{% set a = messages * 9 %}", "text", "{{ a | join(a) }}", "{{ a.x.y }}", "{% break %}")


@given(st.lists(st.sampled_from(PARTS), max_size=12))
@settings(max_examples=200, deadline=None)
def test_whatever_a_template_holds_it_gives_a_text_or_an_error_in_words(parts: list[str]) -> None:
    try:
        text = ChatTemplate("".join(parts), {}, "model").render(ROWS, True)
    except (AgentRMError, RefusingTemplateError):
        return
    assert isinstance(text, str)
