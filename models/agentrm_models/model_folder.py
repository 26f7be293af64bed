"""Folders of Transformers models: where they are, and every way one can be wrong that shows without loading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from agentrm_models import adapters
from agentrm_models.adapters import AS_NAMED, Adapter, AdapterChoice, adapter_choice_of, find_adapter
from agentrm_models.bundled import ModelRole, find_bundled, model_role, role_name
from agentrm_models.checkpoint_files import checkpoint_files
from agentrm_models.errors import DataError, UsageError
from agentrm_models.folder_settings import read_settings
from agentrm_models.hub import HubName
from agentrm_models.kinds import SpecText, take_apart
from agentrm_models.load_options import LoadOptions
from agentrm_models.rewards.heads import choice as heads
from agentrm_models.rewards.heads.choice import NO_CHOICE, HeadChoice, choice_of
from agentrm_models.rewards.heads.head import HeadPlan
from agentrm_models.rewards.heads.plan import plan_head, read_facts
from agentrm_models.spec_options import take_options
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
        adapter: What was chosen of the adapter in it.
        head: What was chosen of its reward head.
    """

    role: ModelRole
    words: str
    here: Path | None = None
    hub: HubName | None = None
    adapter: AdapterChoice = AS_NAMED
    head: HeadChoice = NO_CHOICE

    @classmethod
    def find(cls, text: SpecText, role: ModelRole) -> ModelFolder | None:
        """What `bundled:NAME`, `hf:ORG/REPO` or a path names, with its options; None where the spec is none of these.

        Raises:
            UsageError: No such bundled model, hub name or option, or the folder holds a model of the other role.
            DataError: The folder holds no model that can be read.
        """
        whole = text.whole if typed_path(text.whole).is_dir() else text.whole.partition("#")[0]
        name = take_apart(whole)
        path = typed_path(whole)
        if not (name.head in ("bundled", "hf") and name.rest is not None) and not (whole and path.is_dir()):
            return None
        known = adapters.OPTIONS + (heads.OPTIONS if role == "reward" else ())
        options = take_options(text.whole, known).values
        adapter, head = adapter_choice_of(options, text.whole), choice_of(options, text.whole)
        if name.head == "bundled" and name.rest is not None:
            model = find_bundled(name.rest, role)
            size = f"{model.size_bytes / 1e6:.1f} MB"
            here = check_folder(model.folder, role, adapter, head)
            return cls(role, f"bundled {role_name(role)}, {size}, no download", here, None, adapter, head)
        if hub := HubName.parse(name):
            if hub.file:
                only = (
                    "only a .gguf file can be named" if role == "policy" else "a reward model is the whole repository"
                )
                raise UsageError(f"{text.whole[:80]!r}: {only}", "Write hf:ORG/REPO.")
            words = f"{role_name(role)} {hub.repository} from the Hugging Face hub"
            return cls(role, words, None, hub, adapter, head)
        words = f"Transformers {role_name(role)} in {path}"
        return cls(role, words, check_folder(path, role, adapter, head), None, adapter, head)

    def fetch(self, options: LoadOptions) -> Path:
        """The folder, downloaded where it is not here.

        Raises:
            UsageError: The repository holds a model of the other role.
            DataError: The download failed, or the repository holds no model that can be read.
        """
        if self.here is not None:
            return self.here
        assert self.hub is not None
        return check_folder(self.hub.fetch(options.trust_remote_code), self.role, self.adapter, self.head)


def check_folder(
    folder: Path, role: ModelRole, adapter: AdapterChoice = AS_NAMED, head: HeadChoice = NO_CHOICE
) -> Path:
    """Give the folder back if it holds a whole model of this role, as far as that is known without a download.

    Raises:
        UsageError: It holds a model of the other role, or it cannot be known which of its outputs is the reward.
        DataError: It holds none, or what it holds is incomplete, cut off or of another kind.
    """
    found = model_role(folder)
    if found is None:
        raise DataError(f"{folder} holds no model: its config.json is missing or cannot be read")
    if role == "policy" and found == "reward":
        raise UsageError(f"{folder} holds a {role_name(found)}, not a {role_name(role)}")
    settings = read_settings(folder)
    merged = find_adapter(folder, adapter)
    base = folder if merged is None else merged.base
    if not isinstance(base, HubName):
        weight_files(base)
    if role == "policy":
        return folder
    if not settings.reference:
        find_plan(folder, merged, head)
    for part in (settings.reference, settings.language):
        if part:
            weight_files(folder / part)
    return folder


def find_plan(folder: Path, adapter: Adapter | None, choice: HeadChoice) -> HeadPlan:
    """The reward head of a folder, as chosen and as its `agentrm.json` has it; errors as `plan_head`."""
    return plan_head(read_facts(folder, adapter), choice.over(read_settings(folder).head))


class _Config(msgspec.Struct):
    architectures: list[str] | None = None


def check_causal(folder: Path) -> None:
    """Refuse a classifier, whose layers would make a language model without a head; the folder was checked before.

    Raises:
        DataError: It holds one.
    """
    names = msgspec.json.decode((folder / "config.json").read_bytes(), type=_Config).architectures or []
    if any("Classification" in name for name in names):
        raise DataError(f"{folder}: {names[0]} is a reward model, not a policy", "Give it with --reward.")


def weight_files(folder: Path) -> list[Path]:
    """The files that a folder's model is loaded from, each checked against its own header.

    Raises:
        DataError: The folder is missing, incomplete, cut off or of another kind.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such model folder")
    config = folder / "config.json"
    try:
        msgspec.json.decode(config.read_bytes(), type=_Config)
    except FileNotFoundError:
        raise DataError(f"{folder}: no config.json, so this is not a Transformers model folder") from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{config}: {str(error)[:200]}") from None
    weights = checkpoint_files(folder)
    for file in weights:
        check_safetensors(file)
    check_config(config, weights)
    return weights
