"""What a model folder says about its use, in a file of its own: `agentrm.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec

from agentrm_models.errors import DataError
from agentrm_models.messages import PromptStyle
from agentrm_models.rewards.heads.choice import HeadChoice

SETTINGS_FILE = "agentrm.json"

Aggregate: TypeAlias = Literal["sum", "mean", "min", "last"]
"""What becomes of the steps of a path: the sum is the trajectory's reward, `last` the advantage of its last step."""


FolderName: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^([\w-][\w.-]*)?$")]


class LikelihoodWeight(msgspec.Struct, frozen=True):
    """What the likelihood of a reply counts in one environment, which is known by its instruction."""

    environment: str
    instruction: str
    weight: float


class FolderSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """The file's keys, all of them optional; unknown ones are left alone.

    Attributes:
        prompt: Which instruction the model was trained with.
        environments: Names of the environments it was trained on.
        likelihood: What the likelihood of a reply counts in an explicit reward model's reward.
        likelihoods: The same where it depends on the environment; of others `likelihood` holds.
        likelihood_model: A folder inside this one with the model that tells it; empty: the reward model itself.
        reference: A folder inside this one with the model that an implicit reward model is compared with, which makes
            this folder a reward model.
        beta: β with which an implicit reward model was trained.
        aggregate: What becomes of the steps of an implicit reward model.
        stop_at: The reward from which on a trajectory is good enough, where adaptive Best-of-N stops; chosen on dev.
        head: Which number of which output of a reward model is the reward.
    """

    prompt: PromptStyle | None = None
    environments: tuple[str, ...] = ()
    likelihood: float = 0.0
    likelihoods: tuple[LikelihoodWeight, ...] = ()
    likelihood_model: FolderName = ""
    reference: FolderName = ""
    beta: float | None = None
    aggregate: Aggregate | None = None
    stop_at: float | None = None
    head: HeadChoice | None = None

    @property
    def language(self) -> str:
        """The folder inside this one whose model tells the likelihood; empty where none is needed."""
        counts = any((self.likelihood, *(each.weight for each in self.likelihoods)))
        return self.likelihood_model if counts else ""


def read_settings(folder: Path) -> FolderSettings:
    """Read a folder's file; where there is none, nothing is said.

    Raises:
        DataError: The file is no JSON object, or a value is not what it should be.
    """
    file = folder / SETTINGS_FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=FolderSettings)
    except FileNotFoundError:
        return FolderSettings()
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"{file}: {str(error)[:200]}") from error
