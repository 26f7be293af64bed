"""Training on several processes: each reads its share of every batch, and the gradients are added up.

Started by a launcher (`accelerate launch`, `torchrun`), every process runs the same stage. All know the whole batch, so
that its weights are divided by the same total, and the sum of their gradients is that of one process with the whole
batch. Only the first process writes files and lines.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from agentrm_models.errors import UsageError
from agentrm_trainer.workflow.progress import MutedDisplay
from agentrm_trainer.workflow.registry import STAGES
from agentrm_trainer.workflow.workspace import StageFolder, Workspace

Part = TypeVar("Part")


def launched_processes() -> int:
    """How many processes were launched together; 1 for a plain start."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def launched_first() -> bool:
    """Whether this process is the one that writes."""
    return int(os.environ.get("RANK", "0")) == 0


def even_shares(batch: Sequence[Part], size: Callable[[Part], int], count: int) -> list[list[Part]]:
    """Divide a batch into `count` parts of about equal size; empty ones where there are fewer members."""
    shares: list[list[Part]] = [[] for _ in range(count)]
    filled = [0] * count
    for part in sorted(batch, key=size, reverse=True):
        least = filled.index(min(filled))
        shares[least].append(part)
        filled[least] += size(part)
    return shares


class Processes:
    """The processes that train one model together; one alone needs no connection.

    Args:
        device: `cpu`, `cuda` or `cuda:N`; with several processes each takes its own accelerator.

    Attributes:
        count: How many there are.
        index: Which one this is.
        device: Where this one computes.
    """

    def __init__(self, device: str) -> None:
        self.count, self.index, self.device = launched_processes(), 0, device
        self._state: Any = None
        if self.count > 1:
            from accelerate import PartialState

            self._state = PartialState(cpu=device == "cpu")
            self.count, self.index = self._state.num_processes, self._state.process_index
            self.device = str(self._state.device)

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.index == 0

    def share(self, batch: Sequence[Part], size: Callable[[Part], int]) -> Sequence[Part]:
        """This process's part of a batch: the largest first to whoever has least, so that nobody waits for long."""
        return even_shares(batch, size, self.count)[self.index] if self.count > 1 else batch

    def wait(self) -> None:
        """Wait until all have come here."""
        if self._state is not None:
            self._state.wait_for_everyone()

    def agree(self, *values: float) -> list[float]:
        """The first process's values, for decisions that depend on clocks and signals."""
        if self._state is None:
            return list(values)
        from accelerate.utils import broadcast

        told = broadcast(
            torch.tensor(values, dtype=torch.float64 if self.device == "cpu" else torch.float32, device=self.device)
        )
        return [float(value) for value in told]

    def add_up(self, parameters: Iterable[Tensor], loss: Tensor) -> float:
        """Replace the gradients and the loss by their sums over all processes; gives the loss."""
        if self._state is None:
            return float(loss.detach())
        from accelerate.utils import reduce

        held = [parameter for parameter in parameters if parameter.requires_grad]
        parts = [torch.zeros_like(one) if one.grad is None else one.grad for one in held]
        flat = torch.cat([part.flatten() for part in parts] + [loss.detach().float().reshape(1)])
        flat = reduce(flat, reduction="sum")
        at = 0
        for one in held:
            one.grad = flat[at : at + one.numel()].view_as(one)
            at += one.numel()
        return float(flat[at])

    def open(self, workspace: Workspace, folder: StageFolder) -> bool:
        """Prepare a stage's folder once for all; gives whether the stage is finished already."""
        finished = folder.open(workspace.resume) if self.first else False
        (told,) = self.agree(float(finished))
        if not self.first:
            folder.mute()
            workspace.display = MutedDisplay()
        return bool(told)


def refuse_processes(stage: str) -> None:
    """Stages that are not trainings are started plainly.

    Raises:
        UsageError: Several processes were launched.
    """
    trainings = [known.name for known in STAGES if known.processes]
    if launched_processes() > 1 and stage not in trainings:
        raise UsageError(
            f"{stage} was launched in {launched_processes()} processes",
            f"Launch {' and '.join(trainings)} that way, and start other stages plainly.",
        )
