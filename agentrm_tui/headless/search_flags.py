"""The command line's flags of the search algorithms, made from their settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from agentrm_models.errors import UsageError
from agentrm_tui.runs.search_fields import SearchField, fields_of, flags, settings_of
from agentrm_tui.search.registry import ALGORITHMS, SearchSettings


def search_options() -> list[click.Parameter]:
    """`--search`, and one flag for each setting, in the order of the algorithms."""
    names = ", ".join(f"{name} ({kind.summary})" for name, kind in ALGORITHMS.items())
    chosen = click.Option(
        ["--search", "algorithm"], type=click.Choice([*ALGORITHMS]), default="beam", show_default=True, help=f"{names}."
    )
    return [chosen, *(_option(field, owners) for field, owners in flags().values())]


def search_from(algorithm: str, typed: Mapping[str, Any]) -> tuple[SearchSettings, list[str]]:
    """The settings that flags describe, and a line for each flag that has no meaning for this algorithm.

    Raises:
        UsageError: A value that the algorithm does not take.
    """
    values = {name: typed.get(name) for name in flags()}
    own = {field.name for field in fields_of(algorithm)}
    foreign = [flags()[name] for name, value in values.items() if value is not None and name not in own]
    notices = [
        f"{field.flag} has no meaning for {algorithm}, only for {', '.join(owners)}" for field, owners in foreign
    ]
    return settings_of(algorithm, values), notices


def _option(field: SearchField, owners: tuple[str, ...]) -> click.Option:
    defaults = {owner: _default(owner, field.name) for owner in owners}
    same = len(set(defaults.values())) == 1
    shown = defaults[owners[0]] if same else ", ".join(f"{owner} {default}" for owner, default in defaults.items())
    ending = f" [{shown}]" if shown and field.kind != "switch" else ""
    words = f"{', '.join(owners)}: {field.words}.{ending}"
    if field.kind == "switch":
        return click.Option([field.flag, field.name], is_flag=True, default=None, help=words)
    return click.Option([field.flag, field.name], callback=_reader(field), metavar=_metavar(field), help=words)


def _default(owner: str, name: str) -> str:
    return next(field.write(field.default) for field in fields_of(owner) if field.name == name)


def _metavar(field: SearchField) -> str:
    match field.kind:
        case "choice":
            return "|".join(field.choices)
        case "grid":
            return "W1xW2"
        case "whole":
            return "N"
        case _:
            return "X"


def _reader(field: SearchField) -> Any:
    def read(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Any:
        try:
            return None if value is None else field.read(value)
        except UsageError as error:
            raise click.BadParameter(str(error).removeprefix(f"{field.flag}: ")) from None

    return read
