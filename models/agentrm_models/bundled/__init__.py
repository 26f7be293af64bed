"""The small trained models that work offline: one folder each, found by looking, described by their own files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from agentrm_models.errors import DataError
from agentrm_models.folder_settings import FolderSettings, read_settings

ModelRole: TypeAlias = Literal["policy", "reward"]

HERE = Path(__file__).parent


class BundledModel(NamedTuple):
    """A model that ships with the package.

    Attributes:
        name: What follows `bundled:` in a spec.
        role: What it can be used as.
        folder: Where its weights, tokenizer and model card are.
        size_bytes: Size of all its files.
        environments: Names of the environments it was trained on; empty where its folder does not say.
    """

    name: str
    role: ModelRole
    folder: Path
    size_bytes: int
    environments: tuple[str, ...] = ()

    @property
    def spec(self) -> str:
        """The spec that loads it."""
        return f"bundled:{self.name}"


class _Config(msgspec.Struct):
    architectures: list[str] = []


def model_role(folder: Path) -> ModelRole | None:
    """Tell a policy from a reward model; None where there is no model.

    A reward model is what `config.json` calls a classifier, or a language model that is stored with its reference.
    """
    try:
        config = msgspec.json.decode((folder / "config.json").read_bytes(), type=_Config)
    except (OSError, msgspec.DecodeError):
        return None
    if any(name.endswith(("ForSequenceClassification", "ForTokenClassification")) for name in config.architectures):
        return "reward"
    return "reward" if _settings(folder).reference else "policy"


def trained_on(folder: Path) -> tuple[str, ...]:
    """The environments that a model folder's `agentrm.json` names; empty where it names none."""
    return _settings(folder).environments


def _settings(folder: Path) -> FolderSettings:
    try:
        return read_settings(folder)
    except DataError:
        return FolderSettings()


def bundled_models(root: Path = HERE) -> list[BundledModel]:
    """List what is shipped, sorted by name.

    A name is a folder with a `config.json`, or a folder with a `policy` and a `reward` folder inside, which then
    share the name.
    """
    found = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        for place in (folder, folder / "policy", folder / "reward"):
            role = model_role(place)
            if role is not None:
                size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
                found.append(BundledModel(folder.name, role, place, size, trained_on(place)))
    return found
