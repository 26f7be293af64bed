"""Folders of Transformers models: where they are, and every way one can be wrong that shows without loading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from agentrm_models.bundled import ModelRole, find_bundled, model_role, role_name
from agentrm_models.checkpoint_files import checkpoint_files
from agentrm_models.errors import DataError, UsageError
from agentrm_models.folder_settings import read_settings
from agentrm_models.hub import HubName
from agentrm_models.kinds import SpecText
from agentrm_models.load_options import LoadOptions
from agentrm_models.typed_path import typed_path
from agentrm_models.weight_files import check_config, check_safetensors


@dataclass(frozen=True)
class ModelFolder:
    """A Transformers model of one role: a folder here, or a repository that becomes one when it is fetched.

    Attributes:
        role: What the folder has to hold.
        words: What the folder is, in words.
        here: The folder; None as long as it is only on the hub.
        hub: Its name on the hub, if that is how it was named.
    """

    role: ModelRole
    words: str
    here: Path | None = None
    hub: HubName | None = None

    @classmethod
    def find(cls, text: SpecText, role: ModelRole) -> ModelFolder | None:
        """What `bundled:NAME`, `hf:ORG/REPO` or a path names; None where the spec is none of these.

        Raises:
            UsageError: No such bundled model or hub name, or the folder holds a model of the other role.
            DataError: The folder holds no model that can be read.
        """
        if text.head == "bundled" and text.rest is not None:
            model = find_bundled(text.rest, role)
            size = f"{model.size_bytes / 1e6:.1f} MB"
            return cls(role, f"bundled {role_name(role)}, {size}, no download", check_folder(model.folder, role))
        if hub := HubName.parse(text):
            if hub.file:
                only = (
                    "only a .gguf file can be named" if role == "policy" else "a reward model is the whole repository"
                )
                raise UsageError(f"{text.whole[:80]!r}: {only}", "Write hf:ORG/REPO.")
            return cls(role, f"{role_name(role)} {hub.repository} from the Hugging Face hub", hub=hub)
        path = typed_path(text.whole)
        if not text.whole or not path.is_dir():
            return None
        return cls(role, f"Transformers {role_name(role)} in {path}", check_folder(path, role))

    def fetch(self, options: LoadOptions) -> Path:
        """The folder, downloaded where it is not here.

        Raises:
            UsageError: The repository holds a model of the other role.
            DataError: The download failed, or the repository holds no model that can be read.
        """
        if self.here is not None:
            return self.here
        assert self.hub is not None
        return check_folder(self.hub.fetch(options.trust_remote_code), self.role)


def check_folder(folder: Path, role: ModelRole) -> Path:
    """Give the folder back if it holds a whole model of this role.

    Raises:
        UsageError: It holds a model of the other role.
        DataError: It holds none, or what it holds is incomplete, cut off or of another kind.
    """
    found = model_role(folder)
    if found is None:
        raise DataError(f"{folder} holds no model: its config.json is missing or cannot be read")
    if found != role:
        raise UsageError(f"{folder} holds a {role_name(found)}, not a {role_name(role)}")
    settings = read_settings(folder)
    weight_files(folder, "policy" if settings.reference else role)
    for part in (settings.reference, settings.language):
        if role == "reward" and part:
            weight_files(folder / part, "policy")
    return folder


def weight_files(folder: Path, purpose: ModelRole) -> list[Path]:
    """The files that a folder's model is loaded from, each checked against its own header.

    Args:
        purpose: `policy` needs a language model, `reward` a sequence classifier with one output.

    Raises:
        DataError: The folder is missing, incomplete, cut off or of another kind.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such model folder")
    _check_architecture(folder, purpose)
    weights = checkpoint_files(folder)
    for file in weights:
        check_safetensors(file)
    check_config(folder / "config.json", weights)
    return weights


class _Config(msgspec.Struct):
    architectures: list[str] | None = None
    num_labels: int | None = None
    id2label: dict[str, Any] | None = None


def _check_architecture(folder: Path, purpose: ModelRole) -> None:
    file = folder / "config.json"
    try:
        config = msgspec.json.decode(file.read_bytes(), type=_Config)
    except FileNotFoundError:
        raise DataError(f"{folder}: no config.json, so this is not a Transformers model folder") from None
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"{file}: {str(error)[:200]}") from None
    names = config.architectures or []
    classifier = any("SequenceClassification" in name for name in names)
    if purpose == "policy":
        if classifier:
            raise DataError(f"{folder}: {names[0]} is a reward model, not a policy", "Give it with --reward.")
        return
    if names and not classifier:
        raise DataError(f"{folder}: {names[0]} is not a sequence classifier", "A reward model has a score head.")
    outputs = config.num_labels if config.id2label is None else len(config.id2label)
    if outputs not in (1, None):
        raise DataError(f"{folder}: the reward model has {outputs} outputs, one is needed (num_labels=1)")
