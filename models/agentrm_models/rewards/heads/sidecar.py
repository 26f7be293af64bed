"""The head of a GGUF reward model: a small safetensors file beside the backbone, `NAME.head.safetensors`.

It holds `score.weight` (outputs, width) and perhaps `score.bias`. Its metadata key `agentrm` is a JSON object with the
names of the outputs (`labels`) and what the model's `agentrm.json` said (`settings`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from agentrm_models.checkpoint_files import tensor_shapes
from agentrm_models.errors import DataError
from agentrm_models.folder_settings import FolderSettings
from agentrm_models.weight_files import check_safetensors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ENDING = ".head.safetensors"

_KEY = "agentrm"


class _Said(msgspec.Struct):
    labels: list[str] = []
    settings: FolderSettings = FolderSettings()


class SidecarHead(NamedTuple):
    """A linear head in memory.

    Attributes:
        weight: (outputs, width).
        bias: (outputs,).
        labels: The names of the outputs.
        settings: What the model's `agentrm.json` said.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    labels: tuple[str, ...]
    settings: FolderSettings

    def outputs(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs (rows, outputs) of hidden states (rows, width)."""
        found: NDArray[np.float32] = hidden @ self.weight.T + self.bias
        return found


def write_sidecar(file: Path, weight: Any, bias: Any, labels: Sequence[str], settings: FolderSettings) -> None:
    """Write a head whose tensors are torch's."""
    from safetensors.torch import save_file

    said = msgspec.json.encode(_Said(list(labels), settings)).decode()
    tensors = {"score.weight": weight.detach().float().cpu().contiguous()}
    if bias is not None:
        tensors["score.bias"] = bias.detach().float().cpu().contiguous()
    save_file(tensors, file, metadata={"format": "pt", _KEY: said})


def read_sidecar(file: Path) -> SidecarHead:
    """Read a head.

    Raises:
        DataError: The file is missing, cut off, no head, or holds values that are no numbers.
    """
    import numpy as np
    from safetensors import safe_open

    check_safetensors(file)
    shapes = tensor_shapes(file)
    outputs, width = (*shapes.get("score.weight", ()), 0, 0)[:2]
    wrong = {name: shape for name, shape in shapes.items() if name != "score.bias"} != {
        "score.weight": (outputs, width)
    }
    if wrong or not outputs * width or shapes.get("score.bias", (outputs,)) != (outputs,):
        raise DataError(
            f"{file} is no head: it needs score.weight (outputs, width) and nothing but score.bias beside it"
        )
    with safe_open(file, framework="pt") as opened:
        said = (opened.metadata() or {}).get(_KEY, "{}")
        weight = opened.get_tensor("score.weight").float().numpy()
        bias = opened.get_tensor("score.bias").float().numpy() if "score.bias" in shapes else np.zeros(outputs, "f4")
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise DataError(f"{file}: its weights are damaged: the head holds values that are no numbers")
    try:
        read = msgspec.json.decode(said, type=_Said)
    except msgspec.DecodeError as error:
        raise DataError(f"{file}: its metadata cannot be read: {str(error)[:200]}") from None
    labels = tuple(read.labels) if len(read.labels) == outputs else tuple(f"LABEL_{at}" for at in range(outputs))
    return SidecarHead(weight, bias, labels, read.settings)
