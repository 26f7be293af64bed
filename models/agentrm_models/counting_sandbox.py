"""Jinja's sandbox in which everything that takes time or memory is counted against a budget."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from jinja2 import Environment, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from agentrm_models.template_budget import Budget, check_arguments, check_operation

_CALL = 4
"""Steps that a call counts as: it takes so much longer than a round of a loop."""

_ROUNDS, _MEASURED = "agentrm_rounds", "agentrm_measured"


class GenerationBlocks(Extension):
    """`{% generation %}` marks what an assistant wrote; it writes nothing itself."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        """The block's body as it is."""
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class CountingSandbox(ImmutableSandboxedEnvironment):
    """A sandbox that spends a budget for each round of a loop, call, filter, operation and value written."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, budget: Budget, **options: Any) -> None:
        super().__init__(**options, finalize=budget.written, optimized=False)
        self._budget = budget
        self._in_macros = 0
        self.filters = {name: self._counted(name, function) for name, function in self.filters.items()}
        self.filters |= {_ROUNDS: budget.rounds, _MEASURED: budget.measure}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """Parse a template, its loops and concatenations wrapped in filters that count them."""
        template = super()._parse(source, name, filename)
        self._in_macros = sum(map(_characters, template.find_all((nodes.Macro, nodes.CallBlock))))
        for loop in template.find_all(nodes.For):
            cost = nodes.Const(_characters(loop), lineno=loop.lineno)
            loop.iter = nodes.Filter(loop.iter, _ROUNDS, [cost], [], None, None, lineno=loop.lineno)
        _measure_concatenations(template)
        return template

    def call(self, context: Context, function: Any, /, *arguments: Any, **named: Any) -> Any:
        """Call a function of the template, a macro or a method."""
        self._budget.spend(_CALL, self._in_macros)
        name, owner = getattr(function, "__name__", ""), getattr(inspect.unwrap(function), "__self__", None)
        self._budget.use(owner, 0)
        check_arguments(name, owner, (*arguments, *named.values()))
        return self._budget.measure(super().call(context, function, *arguments, **named))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Apply an operator whose result may be larger than what it is given."""
        check_operation(operator, left, right)
        self._budget.spend(1)
        return self._budget.measure(super().call_binop(context, operator, left, right))

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        takes_context = hasattr(function, "jinja_pass_arg")

        @wraps(function)
        def filtered(*arguments: Any, **named: Any) -> Any:
            value, *rest = arguments[1:] if takes_context else arguments
            self._budget.use(value, 1)
            check_arguments(name, value, (*rest, *named.values()))
            return self._budget.measure(function(*arguments, **named))

        return filtered


def _characters(node: nodes.Node) -> int:
    """Characters that a part of a template writes by itself."""
    return sum(len(data.data) for data in node.find_all(nodes.TemplateData))


def _measure_concatenations(node: nodes.Node) -> None:
    for field, value in node.iter_fields():
        children = value if isinstance(value, list) else [value]
        for place, child in enumerate(children):
            if isinstance(child, nodes.Node):
                _measure_concatenations(child)
            if isinstance(child, nodes.Concat):
                measured = nodes.Filter(child, _MEASURED, [], [], None, None, lineno=child.lineno)
                if isinstance(value, list):
                    value[place] = measured
                else:
                    setattr(node, field, measured)
