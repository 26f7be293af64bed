"""Value heads that other libraries save beside a backbone: OpenRLHF's `value_head`, TRL's `v_head`.

OpenRLHF normalises a reward by a mean and a standard deviation, which it keeps as buffers or in `config.json`; TRL's
head is `v_head.summary`, which LLaMA-Factory writes into a file of its own. Both are one linear layer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agentrm_models.checkpoint_files import tensor_shapes
from agentrm_models.errors import DataError
from agentrm_models.weight_files import check_safetensors

if TYPE_CHECKING:
    from torch import Tensor

_OUR_WAY = "Save it again, or write FOLDER#normalise=no to read the head as it is."
_LARGEST = 1e6
"""A mean or standard deviation beyond this was never computed from rewards: memory that nobody wrote to."""


class HeadTensors(NamedTuple):
    """Where the one linear layer of a value head lies.

    Attributes:
        file: The safetensors file.
        weight, bias: Names of its tensors; `bias` is empty where there is none.
        files: Where each tensor of the folder lies.
    """

    file: Path
    weight: str
    bias: str
    files: Mapping[str, Path]

    @property
    def name(self) -> str:
        """What the head is called: `value_head`, `v_head` or the like."""
        return next(part for part in self.weight.split(".") if part not in ("base_model", "model", "pretrained_model"))

    def layer(self) -> tuple[Tensor, Tensor | None]:
        """The weight (1, width) and the bias (1,)."""
        from safetensors import safe_open

        with safe_open(self.file, framework="pt") as opened:
            bias = opened.get_tensor(self.bias) if self.bias else None
            return opened.get_tensor(self.weight), bias


class Normaliser(NamedTuple):
    """What a raw reward is normalised by."""

    mean: float = 0.0
    deviation: float = 1.0


class StoredTensor(NamedTuple):
    """Where a tensor lies, and its shape."""

    file: Path
    shape: tuple[int, ...]


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """The tensors of all safetensors files of a folder by name.

    Raises:
        DataError: One of the files is cut off or none.
    """
    found: dict[str, StoredTensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        check_safetensors(file)
        found |= {name: StoredTensor(file, shape) for name, shape in tensor_shapes(file).items()}
    return found


def find_head(folder: Path, tensors: Mapping[str, StoredTensor], prefix: str = "") -> HeadTensors | None:
    """The value head among a folder's tensors; None where there is none.

    Args:
        prefix: What the folder's configuration calls the head, if it does.

    Raises:
        DataError: There are two, or it is more than one linear layer with one output.
    """
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    names = "|".join(re.escape(name) for name in ("value_head", "v_head", prefix) if name)
    weights = [name for name in shapes if re.fullmatch(rf"(.*\.)?({names})\.(.+\.)?weight", name)]
    if not weights:
        return None
    if len(weights) > 1 or len(shapes[weights[0]]) != 2 or shapes[weights[0]][0] != 1:
        found = ", ".join(f"{name} {shapes[name]}" for name in weights[:4])
        raise DataError(f"{folder}: its value head is not one linear layer with one output: {found}")
    bias = weights[0].removesuffix("weight") + "bias"
    files = {name: tensor.file for name, tensor in tensors.items()}
    return HeadTensors(files[weights[0]], weights[0], bias if bias in files else "", files)


def find_normaliser(
    folder: Path, head: HeadTensors, config: Mapping[str, Any], chosen: bool | None
) -> Normaliser | None:
    """What the head's rewards are normalised by; None where they are not.

    Args:
        config: The folder's `config.json`.
        chosen: Whether a person wants it; None follows `normalize_reward`, and without that whatever was saved.

    Raises:
        DataError: It is wanted and was not saved, or what was saved was never initialised.
    """
    wanted = chosen if chosen is not None else config.get("normalize_reward")
    if wanted is False:
        return None
    buffers = {name: _buffer(head, name) for name in ("mean", "std")}
    stated = {name: float(value) for name in buffers if isinstance(value := config.get(name), int | float)}
    found = {name: value for name, value in buffers.items() if value is not None} or stated
    if not found and not wanted:
        return None
    if len(found) < 2:
        lack = "the mean and the standard deviation" if not found else f"the {'std' if 'mean' in found else 'mean'}"
        raise DataError(f"{folder}: its rewards are to be normalised, but {lack} were not saved", _OUR_WAY)
    if stated and any(not math.isclose(found[name], stated.get(name, found[name]), rel_tol=1e-2) for name in found):
        raise DataError(f"{folder}: its buffers say {found}, its config.json {stated}", _OUR_WAY)
    mean, deviation = found["mean"], found["std"]
    if not (abs(mean) < _LARGEST and 1 / _LARGEST < deviation < _LARGEST):
        cause = f"{folder}: its rewards are normalised by a mean of {mean:g} and a standard deviation of {deviation:g}"
        raise DataError(f"{cause}, which were never initialised", _OUR_WAY)
    return Normaliser(mean, deviation)


def _buffer(head: HeadTensors, name: str) -> float | None:
    """A number that is saved as a tensor."""
    from safetensors import safe_open

    file = head.files.get(name)
    if file is None:
        return None
    with safe_open(file, framework="pt") as opened:
        tensor = opened.get_tensor(name)
    return float(tensor.reshape(-1)[0]) if tensor.numel() == 1 else math.nan


def put_value_head(model: Any, head: HeadTensors) -> set[str]:
    """Make a value head the head of a sequence classifier, and return the names of its parameters.

    Raises:
        DataError: The classifier has no linear `score` layer, or one of another width.
    """
    import torch

    score, (weight, bias) = getattr(model, "score", None), head.layer()
    if not isinstance(score, torch.nn.Linear):
        raise DataError(f"{head.file}: a {head.name} can only be put on a decoder, not on {type(model).__name__}")
    if weight.shape != (1, score.in_features):
        cause = f"{head.file}: {head.weight} has the shape {tuple(weight.shape)}"
        raise DataError(f"{cause}, the model needs (1, {score.in_features})")
    layer = torch.nn.Linear(score.in_features, 1, bias=bias is not None, dtype=score.weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias.reshape(1))
    model.score = layer.to(score.weight.device).eval()
    return {"score.weight", "score.bias"}
