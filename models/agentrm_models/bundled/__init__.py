"""The small trained models that work offline: one folder each, found by looking, described by their own files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from agentrm_models.errors import DataError, UsageError
from agentrm_models.folder_settings import FolderSettings, read_settings
from agentrm_models.spelling import nearest

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


def role_name(role: ModelRole) -> str:
    """The role in the words of messages."""
    return "policy" if role == "policy" else "reward model"


class _Config(msgspec.Struct):
    architectures: list[str] = []


class _AdapterConfig(msgspec.Struct):
    task_type: str | None = None


_REWARD_CLASSES = ("SequenceClassification", "TokenClassification", "SequenceRegression", "RewardModel", "CriticModel")


def model_role(folder: Path) -> ModelRole | None:
    """Tell a policy from a reward model; None where there is no model.

    A reward model is what `config.json` calls a classifier or a reward model, a language model that is stored with its
    reference or with a reward head, or an adapter that was trained as a classifier.
    """
    settings = _settings(folder)
    if not (folder / "config.json").is_file():
        return _adapter_role(folder / "adapter_config.json")
    try:
        config = msgspec.json.decode((folder / "config.json").read_bytes(), type=_Config)
    except (OSError, msgspec.DecodeError, RecursionError):
        return None
    if any(part in name for name in config.architectures for part in _REWARD_CLASSES):
        return "reward"
    return "reward" if settings.reference or settings.head else "policy"


def _adapter_role(file: Path) -> ModelRole | None:
    try:
        config = msgspec.json.decode(file.read_bytes(), type=_AdapterConfig)
    except (OSError, msgspec.DecodeError, RecursionError):
        return None
    return "reward" if config.task_type in ("SEQ_CLS", "TOKEN_CLS") or _settings(file.parent).head else "policy"


def trained_on(folder: Path) -> tuple[str, ...]:
    """The environments that a model folder's `agentrm.json` names; empty where it names none."""
    return _settings(folder).environments


def _settings(folder: Path) -> FolderSettings:
    try:
        return read_settings(folder)
    except DataError:
        return FolderSettings()


def bundled_models(root: Path | None = None) -> list[BundledModel]:
    """List what is shipped, sorted by name.

    A name is a folder with a `config.json`, or a folder with a `policy` and a `reward` folder inside, which then
    share the name.
    """
    found = []
    for folder in sorted(path for path in (root or HERE).iterdir() if path.is_dir()):
        for place in (folder, folder / "policy", folder / "reward"):
            role = model_role(place)
            if role is not None:
                size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
                found.append(BundledModel(folder.name, role, place, size, trained_on(place)))
    return found


def find_bundled(name: str, role: ModelRole) -> BundledModel:
    """The model of this name and role.

    Raises:
        UsageError: There is none; the message offers the nearest name.
    """
    models = bundled_models()
    fitting = [model for model in models if model.role == role]
    for model in fitting:
        if model.name == name:
            return model
    known = f"Known: {', '.join(model.spec for model in fitting)}." if fitting else "None is shipped with this version."
    if any(model.name == name for model in models):
        raise UsageError(f"bundled:{name} is not a {role_name(role)}", known)
    near = nearest(name, [model.name for model in fitting])
    raise UsageError(
        f"unknown bundled {role_name(role)} {name[:80]!r}", f"Did you mean 'bundled:{near}'?" if near else known
    )
