"""Reads a pipeline's YAML: every mistake ends in one line that names file, line, key and the nearest right spelling."""

from __future__ import annotations

import math
import re
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
import yaml

from agentrm_models.errors import UsageError
from agentrm_models.spelling import did_you_mean, nearest
from agentrm_trainer.config import Config

RECIPES = Path(__file__).parent / "recipes"


_FROM_COMMAND_LINE = -1
"""Stands in place of a line for keys that an override gave."""


class _Loader(yaml.SafeLoader):
    """YAML that reads 1e-3 as a number, as YAML 1.2 does; 1.1 wants 1.0e-3 and takes anything else as text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


MOST_BYTES = 1 << 20
"""Of a file of settings; a larger one is something else."""

_MOST_KEYS = 20_000
"""Written or repeated by an alias; more is a mistake or an attack."""


class Place(NamedTuple):
    """Where each key of a configuration is written.

    Attributes:
        source: The file.
        lines: Line of each dotted key.
    """

    source: str
    lines: dict[str, int]

    def of(self, key: str) -> str:
        """`file, line N` of a key, or of the nearest key around it."""
        while key and key not in self.lines:
            key = key.rpartition(".")[0]
        line = self.lines.get(key)
        if line == _FROM_COMMAND_LINE:
            return "--set"
        return f"{self.source}, line {line}" if line else self.source


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that come with the package."""
    return tuple(sorted(file.stem for file in RECIPES.glob("*.yaml")))


class ConfigFile(NamedTuple):
    """A configuration, and where its keys come from."""

    config: Config
    place: Place

    def gives(self, key: str) -> bool:
        """Whether somebody has written the key, or one inside or above it, rather than left its default."""
        return any(line == key or line.startswith(f"{key}.") for line in self.place.lines)


def read_config(source: str, overrides: Sequence[str] = ()) -> ConfigFile:
    """Read a recipe by name or a YAML file by path, then apply `key=value` overrides (dotted keys).

    Raises:
        UsageError: No such recipe, no YAML, an unknown key, a wrong type, a number that is not finite, or a wrong
            override.
    """
    path = find_config(source)
    place = Place(str(path), {})
    data = _parse(path, place.lines)
    if not isinstance(data, dict):
        raise UsageError(f"{path} is not a mapping of settings")
    _refuse_unknown(data, Config, "", place)
    for override in overrides:
        _override(data, override)
        key = override.partition("=")[0]
        for inner in [line for line in place.lines if line.startswith(f"{key}.")]:
            del place.lines[inner]
        place.lines[key] = _FROM_COMMAND_LINE
    try:
        config = msgspec.convert(data, Config, strict=True)
    except msgspec.ValidationError as error:
        raise _wrong_value(error, data, place) from None
    for key, value in _numbers(config, ""):
        if not math.isfinite(value):
            raise UsageError(f"{place.of(key)}: {key}: {value} is not a finite number", "Write a number.")
    return ConfigFile(config, place)


def _numbers(record: Any, key: str) -> Iterator[tuple[str, float]]:
    """Every floating-point value with its dotted key."""
    match record:
        case float():
            yield key, record
        case tuple():
            for number, item in enumerate(record):
                yield from _numbers(item, f"{key}.{number}")
        case msgspec.Struct():
            for name in record.__struct_fields__:
                yield from _numbers(getattr(record, name), f"{key}.{name}".lstrip("."))
        case _:
            pass


def find_config(source: str) -> Path:
    """The file of a recipe's name or of a path."""
    if (RECIPES / f"{source}.yaml").is_file():
        return RECIPES / f"{source}.yaml"
    path = Path(source)
    if path.is_file():
        return path
    near = nearest(source, recipe_names())
    hint = f"Did you mean {near!r}?" if near else f"Recipes: {', '.join(recipe_names())}."
    raise UsageError(f"--config {source[:200]!r} is neither a recipe nor a file", hint)


def _parse(path: Path, lines: dict[str, int]) -> Any:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise UsageError(f"{path} is no file of settings: it has {size} bytes", "Name another file.")
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=_Loader)
        data = yaml.load(text, Loader=_Loader)
        if root is not None:
            _note_lines(root, "", lines, path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "Name a file that you may read.") from None
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not UTF-8 text: {error.reason} at byte {error.start}", "Save it as UTF-8."
        ) from None
    except RecursionError:
        raise UsageError(f"{path}: not valid settings: nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{path}, line {line}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise UsageError(f"{path}: not valid YAML: {str(error).splitlines()[0][:200]}") from None
    return data


def _note_lines(node: yaml.Node, key: str, lines: dict[str, int], path: Path) -> None:
    """Remember where each key is written; YAML itself would silently take the last of two equal ones."""
    match node:
        case yaml.MappingNode(value=pairs):
            for name, value in pairs:
                inner = f"{key}.{name.value}" if key else str(name.value)
                line = name.start_mark.line + 1
                if inner in lines:
                    raise UsageError(
                        f"{path}, line {line}: key {inner[:120]!r} is there already in line {lines[inner]}"
                    )
                _count(lines, path)
                lines[inner] = line
                _note_lines(value, inner, lines, path)
        case yaml.SequenceNode(value=items):
            for number, item in enumerate(items):
                _count(lines, path)
                lines[f"{key}.{number}"] = item.start_mark.line + 1
                _note_lines(item, f"{key}.{number}", lines, path)
        case _:
            pass


def _count(lines: dict[str, int], path: Path) -> None:
    """Refuse a few lines of aliases that stand for millions of keys."""
    if len(lines) > _MOST_KEYS:
        raise UsageError(f"{path}: not valid settings: more than {_MOST_KEYS} keys")


def _refuse_unknown(data: Any, kind: type, key: str, place: Place) -> None:
    if not isinstance(data, dict):
        return
    hints = get_type_hints(kind)
    for name, value in data.items():
        inner = f"{key}.{name}" if key else str(name)
        if name not in hints:
            raise UsageError(f"{place.of(inner)}: unknown key {inner[:120]!r}", did_you_mean(str(name), tuple(hints)))
        section, many = _section(hints[name])
        if section is not None:
            for number, item in enumerate(value if many and isinstance(value, list) else [value]):
                _refuse_unknown(item, section, f"{inner}.{number}" if many else inner, place)


def _section(hint: Any) -> tuple[type | None, bool]:
    """The struct a hint stands for, and whether it stands for a sequence of them."""
    if isinstance(hint, type) and not isinstance(hint, types.GenericAlias) and issubclass(hint, msgspec.Struct):
        return hint, False
    if get_origin(hint) is tuple:
        return _section(get_args(hint)[0])[0], True
    return None, False


def _override(data: dict[str, Any], override: str) -> None:
    key, found, text = override.partition("=")
    if not found or not key:
        raise UsageError(f"--set {override[:120]!r} is not KEY=VALUE", "Write for example --set sft.max_minutes=5.")
    try:
        value = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError):
        raise UsageError(f"--set {key}: {text[:80]!r} is not a YAML value") from None
    *path, last = key.split(".")
    target: Any = data
    kind: Any = Config
    for name in path:
        target, kind = _descend(target, kind, name, key)
    if isinstance(target, list):
        target[_index(target, last, key)] = value
        return
    hints = get_type_hints(kind)
    if last not in hints:
        raise UsageError(f"--set: unknown key {key[:120]!r}", did_you_mean(last, tuple(hints)))
    target[last] = value


def _descend(target: Any, kind: Any, name: str, key: str) -> tuple[Any, Any]:
    if isinstance(target, list):
        return target[_index(target, name, key)], kind
    hints = get_type_hints(kind)
    if name not in hints:
        raise UsageError(f"--set: unknown key {key[:120]!r}", did_you_mean(name, tuple(hints)))
    section, many = _section(hints[name])
    if section is None:
        raise UsageError(f"--set: {name!r} in {key[:120]!r} has no keys inside")
    return target.setdefault(name, [] if many else {}), section


def _index(items: list[Any], name: str, key: str) -> int:
    if not (name.isascii() and name.isdigit() and int(name) < len(items)):
        raise UsageError(f"--set {key[:120]}: {name[:40]!r} is not a place in a list of {len(items)}")
    return int(name)


def _wrong_value(error: msgspec.ValidationError, data: Any, place: Place) -> UsageError:
    cause, _, at = str(error).partition(" - at `$")
    key = re.sub(r"\[(\d+|\.\.\.)\]", r".\1", at.rstrip("`")).lstrip(".")
    value, options = _value_at(data, key), _options(key)
    said = f" (it is {str(value)[:60]!r})" if key and not isinstance(value, dict | list) else ""
    remedy = did_you_mean(str(value), options) if options and isinstance(value, str) else ""
    return UsageError(f"{place.of(key)}: {key or 'the file'}: {cause[:1].lower()}{cause[1:]}{said}", remedy)


def _value_at(data: Any, key: str) -> Any:
    """What was written at a dotted key; the mapping itself where the way there is no way."""
    for name in filter(None, key.split(".")):
        if isinstance(data, dict) and name in data:
            data = data[name]
        elif isinstance(data, list) and name.isdigit() and int(name) < len(data):
            data = data[int(name)]
        else:
            return {}
    return data


def _options(key: str) -> tuple[str, ...]:
    """The words that a key may have; none where it is no choice of words."""
    hint: Any = Config
    for name in key.split("."):
        if get_origin(hint) is tuple or name.isdigit():
            hint = get_args(hint)[0] if get_origin(hint) is tuple else hint
            continue
        hint = get_type_hints(hint).get(name) if isinstance(hint, type) else None
        if hint is None:
            return ()
    return get_args(hint) if get_origin(hint) is Literal else ()
