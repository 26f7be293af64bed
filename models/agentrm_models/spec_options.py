"""What stands behind `#` in the spec of a model folder: `FOLDER#key=value&key=value`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

from agentrm_models.errors import UsageError
from agentrm_models.spelling import did_you_mean
from agentrm_models.typed_path import typed_path


class SpecOptions(NamedTuple):
    """A spec without its options, and these.

    Attributes:
        name: What stands before the first `#`.
        values: The options by key; `%26` in a value is `&`.
    """

    name: str
    values: dict[str, str]


def take_options(spec: str, known: Sequence[str]) -> SpecOptions:
    """Split a spec at its first `#`, unless the whole is the name of a folder or file.

    Raises:
        UsageError: An option is not known, given twice, or has no value.
    """
    name, mark, text = spec.partition("#")
    if not mark or typed_path(spec).exists():
        return SpecOptions(spec, {})
    values: dict[str, str] = {}
    for part in text.split("&"):
        key, equals, value = part.partition("=")
        if key not in known:
            raise UsageError(f"{spec[:80]!r}: there is no option {key[:40]!r}", did_you_mean(key, known, "Options"))
        if not equals or key in values:
            raise UsageError(f"{spec[:80]!r}: {key} {'is given twice' if equals else 'has no value'}")
        values[key] = unquote(value)
    return SpecOptions(name, values)
