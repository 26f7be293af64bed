"""Chat templates: programs that came with a model, rendered in a sandbox that bounds their time and their memory.

A template is Jinja with the names that Transformers gives it. Jinja's sandbox keeps it from files and from Python's
inside; the budget here keeps one that loops, recurses or multiplies from never coming to an end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from agentrm_models.errors import DataError
from agentrm_models.template_budget import Budget, OverBudgetError
from agentrm_models.terminal_text import on_one_line

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATE_DATE = "2024-07-26"
"""What templates are told is today: prompts must not change from one day to the next."""

SOURCE_LIMIT = 1_000_000
"""Characters of a template."""


class RefusingTemplateError(Exception):
    """A template that cannot render a conversation, by its own words or by a fault in it."""


class ChatTemplate:
    """A compiled template.

    Args:
        source: The template.
        names: What else it can read: special tokens by name, as `bos_token`.
        model: Whose template it is, for messages.

    Raises:
        DataError: It is too long, or not written in Jinja.
    """

    def __init__(self, source: str, names: Mapping[str, Any], model: str) -> None:
        self._model = model
        self._names = dict(names)
        self._budget = Budget()
        self._template = _compile(source, self._budget, model)

    def render(
        self,
        rows: Sequence[Mapping[str, Any]],
        add_generation_prompt: bool,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> str:
        """The text of a conversation.

        Args:
            tools: Functions that are offered, as records with a JSON schema.

        Raises:
            RefusingTemplateError: The template refuses these messages.
            DataError: It takes more than its budget.
        """
        self._budget.renew()
        values = {**self._names, "messages": rows, "add_generation_prompt": add_generation_prompt}
        try:
            return self._template.render(tools=tools, documents=None, **values)
        except OverBudgetError as error:
            raise DataError(f"{self._model}: its chat template makes {error}", "Use another model.") from None
        except MemoryError:
            raise
        except Exception as error:  # whatever a program of someone else's raises
            words = on_one_line(str(error)[:200])
            raise RefusingTemplateError(words if _by_itself(error) else f"{type(error).__name__}: {words}") from None


def _by_itself(error: Exception) -> bool:
    from jinja2 import TemplateError

    return isinstance(error, TemplateError)


def _compile(source: str, budget: Budget, model: str) -> Template:
    from jinja2 import TemplateError, TemplateSyntaxError

    if len(source) > SOURCE_LIMIT:
        raise DataError(
            f"{model}: its chat template has {len(source):,} characters", f"At most {SOURCE_LIMIT:,} are read."
        )
    try:
        template: Template = _sandbox(budget).from_string(source)
        return template
    except TemplateSyntaxError as error:
        cause = f"{model}: its chat template is broken: {on_one_line(str(error.message)[:200])} (line {error.lineno})"
        raise DataError(cause, "Use another model, or correct its template.") from None
    except (TemplateError, RecursionError, SyntaxError, ValueError, MemoryError) as error:
        cause = f"{model}: its chat template cannot be compiled: {on_one_line(str(error)[:200])}"
        raise DataError(cause, "Use another model, or correct its template.") from None


def _sandbox(budget: Budget) -> Any:
    """Jinja's sandbox with the names of chat templates, in which loops, calls, filters and results are counted."""
    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols

    from agentrm_models.counting_sandbox import CountingSandbox, GenerationBlocks

    def raise_exception(message: str) -> NoReturn:
        raise TemplateError(message)

    def to_json(
        value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    sandbox = CountingSandbox(budget, trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlocks, loopcontrols])
    sandbox.filters["tojson"] = to_json
    sandbox.globals["dict"] = lambda *values, **named: dict(*values, **named)
    sandbox.globals["raise_exception"] = raise_exception
    sandbox.globals["strftime_now"] = lambda layout: datetime.fromisoformat(TEMPLATE_DATE).strftime(layout)
    return sandbox
