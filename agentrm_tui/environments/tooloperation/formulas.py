"""Formulas: the seven operators over cells, and written expressions such as `=B2*C2` or `=SUM(B2:B5)+1`.

An expression is worked out once, when it is written; the cell then holds its value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from agentrm_tui.environments.tooloperation.grid import Position, Sheet, a1, number_text, read_a1, read_range
from agentrm_tui.environments.tools.answers import as_number
from agentrm_tui.environments.tools.signatures import RefusedError

Operator: TypeAlias = Literal["SUM", "AVERAGE", "COUNT", "MAX", "MIN", "MINUS", "PRODUCT"]

_OPERATORS: dict[str, Callable[[Sequence[float]], float]] = {
    "SUM": sum,
    "AVERAGE": lambda numbers: sum(numbers) / len(numbers),
    "COUNT": len,
    "MAX": max,
    "MIN": min,
    "MINUS": lambda numbers: numbers[0] - numbers[1],
    "PRODUCT": math.prod,
}
_TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d+)?)|([A-Za-z]{1,3}[1-9]\d*)|([A-Za-z]+)|([-+*/(),:]))", re.ASCII)
_MOST_TOKENS = 60
_LARGEST = 1e12


def apply_operator(sheet: Sheet, operator: str, cells: Sequence[Position]) -> float:
    """Work an operator out over the cells that hold numbers (MINUS: over exactly two cells).

    Raises:
        RefusedError: There are no numbers, or MINUS has not two of them.
    """
    numbers = [number for cell in cells if (number := as_number(sheet.value(cell))) is not None]
    if operator == "MINUS" and (len(numbers) != 2 or len(cells) != 2):
        raise RefusedError("MINUS needs two cells with numbers")
    if not numbers and operator != "COUNT":
        raise RefusedError(f"{operator} needs numbers, and {_listed(cells)} has none")
    return _checked(_OPERATORS[operator](numbers))


def evaluate(sheet: Sheet, text: str) -> str:
    """The text to put into a cell: an expression's value after `=`, anything else as it is.

    Raises:
        RefusedError: The expression is wrong or cannot be worked out.
    """
    if not text.startswith("="):
        return text
    return number_text(_Reader(sheet, text[1:]).read())


class _Reader:
    """Recursive descent over sums, products, signs and atoms."""

    def __init__(self, sheet: Sheet, text: str) -> None:
        self._sheet = sheet
        self._tokens = _tokens(text)
        self._at = 0

    def read(self) -> float:
        value = self._sum()
        if self._at < len(self._tokens):
            raise RefusedError(f"the formula has a misplaced {self._tokens[self._at]}")
        return _checked(value)

    def _sum(self) -> float:
        value = self._product()
        while self._next() in ("+", "-"):
            sign = 1 if self._take() == "+" else -1
            value += sign * self._product()
        return value

    def _product(self) -> float:
        value = self._atom()
        while self._next() in ("*", "/"):
            if self._take() == "*":
                value *= self._atom()
            elif (divisor := self._atom()) == 0:
                raise RefusedError("the formula divides by zero")
            else:
                value /= divisor
        return value

    def _atom(self) -> float:
        token = self._take()
        if token == "-":
            return -self._atom()
        if token == "(":
            value = self._sum()
            self._expect(")")
            return value
        if token[0].isdigit():
            return float(token)
        if token.upper() in _OPERATORS and self._next() == "(":
            return self._function(token.upper())
        if token[0].isalpha():
            return self._cell(token)
        raise RefusedError(f"the formula has a misplaced {token}")

    def _function(self, operator: str) -> float:
        self._expect("(")
        cells: list[Position] = []
        while True:
            first = self._take()
            if self._next() == ":":
                self._take()
                cells.extend(read_range(first, self._take()).cells())
            else:
                cells.append(read_a1("a cell", first))
            if self._next() != ",":
                break
            self._take()
        self._expect(")")
        return apply_operator(self._sheet, operator, cells)

    def _cell(self, token: str) -> float:
        position = read_a1("a cell", token)
        number = as_number(self._sheet.value(position))
        if number is None:
            raise RefusedError(f"{a1(position)} holds no number")
        return number

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._next()
        if not token:
            raise RefusedError("the formula is cut off")
        self._at += 1
        return token

    def _expect(self, wanted: str) -> None:
        if self._take() != wanted:
            raise RefusedError(f"the formula lacks {wanted}")


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    at, text = 0, text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or len(tokens) >= _MOST_TOKENS:
            raise RefusedError("the formula may hold numbers, cells, + - * / and functions such as SUM(B2:B5)")
        tokens.append(match.group(match.lastindex or 0))
        at = match.end()
    return tokens


def _checked(number: float) -> float:
    if not math.isfinite(number) or abs(number) > _LARGEST:
        raise RefusedError("the result is too large")
    return number


def _listed(cells: Sequence[Position]) -> str:
    return f"{a1(cells[0])} to {a1(cells[-1])}" if cells else "nothing"
