"""What both training stages share: optimiser, schedule, one guarded step, and checkpoints without pickle."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import msgspec
import torch
from torch import Tensor, nn

from agentrm_models.errors import DivergedError
from agentrm_trainer.fitting.processes import Processes
from agentrm_trainer.workflow.workspace import read_json, replace_folder, write_json


class OptimiserSettings(Protocol):
    """The keys that both training sections have."""

    @property
    def learning_rate(self) -> float:
        """Peak rate."""
        ...

    @property
    def weight_decay(self) -> float:
        """Of matrices."""
        ...

    @property
    def warmup(self) -> float:
        """Share of the budget."""
        ...

    @property
    def clip(self) -> float:
        """Largest norm of the gradient."""
        ...

    @property
    def optimiser(self) -> str:
        """`adamw`, or `muon` for the matrices of the layers and AdamW for the rest."""
        ...


class Budget(msgspec.Struct, frozen=True):
    """How far training may go; 0 stands for no limit, and one of the three must be given."""

    tokens: int = 0
    minutes: float = 0.0
    epochs: float = 0.0

    def share(self, tokens: int, minutes: float, epochs: float) -> float:
        """The share of whichever limit is nearest; 1 or more ends training."""
        pairs = ((tokens, self.tokens), (minutes, self.minutes), (epochs, self.epochs))
        return max((used / limit for used, limit in pairs if limit), default=1.0)


class Trainer:
    """A model with its optimiser: one step at a time, at a rate that follows the budget.

    Args:
        model: The model to train.
        settings: Rates, decay, clipping.
        processes: Those that train the model together.
        fast: Names of parameters (by prefix) whose rate is multiplied.
        factor: By how much.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: OptimiserSettings,
        processes: Processes,
        fast: str = "",
        factor: float = 1.0,
    ) -> None:
        self.model = model
        self._processes = processes
        self._settings = settings
        groups: dict[tuple[float, float], list[Tensor]] = {}
        matrices: list[Tensor] = []
        for name, parameter in model.named_parameters():
            speed = factor if fast and name.startswith(fast) else 1.0
            if settings.optimiser == "muon" and parameter.ndim == 2 and ".layers." in name and speed == 1.0:
                matrices.append(parameter)
                continue
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((decay, speed), []).append(parameter)
        self._speeds = [speed for _, speed in groups]
        self._adamw = torch.optim.AdamW(
            [{"params": members, "weight_decay": decay} for (decay, _), members in groups.items()],
            lr=settings.learning_rate,
            betas=(0.9, 0.95),
            fused=True,
        )
        # Scaled so that its updates are as large as AdamW's: one rate serves both (Liu et al., arXiv 2502.16982).
        self._muon: torch.optim.Optimizer | None = (
            torch.optim.Muon(
                matrices,
                lr=settings.learning_rate,
                weight_decay=settings.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
            if matrices
            else None
        )

    def moments(self, parameter: Tensor) -> dict[str, Tensor]:
        """What the optimiser remembers of a parameter."""
        state: dict[str, Tensor] = self._owner(parameter).state.get(parameter, {})
        return state

    def remember(self, parameter: Tensor, moments: dict[str, Tensor]) -> None:
        """Give a parameter its moments back."""
        self._owner(parameter).state[parameter] = moments

    def _owner(self, parameter: Tensor) -> torch.optim.Optimizer:
        if self._muon is not None and any(parameter is one for one in self._muon.param_groups[0]["params"]):
            return self._muon
        return self._adamw

    def step(self, loss: Tensor, share: float) -> float:
        """Take one optimiser step at this share of the budget and return the loss, summed over all processes.

        Raises:
            DivergedError: The loss or the gradient is not finite.
        """
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        value = self._processes.add_up(self.model.parameters(), loss)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self._settings.clip)
        if not (math.isfinite(value) and math.isfinite(float(norm))):
            raise DivergedError(f"the loss is {value}, its gradient's norm {float(norm)}", "Lower the learning rate.")
        rate = self._settings.learning_rate * rate_factor(share, self._settings.warmup)
        for group, speed in zip(self._adamw.param_groups, self._speeds, strict=True):
            group["lr"] = rate * speed
        self._adamw.step()
        if self._muon is not None:
            self._muon.param_groups[0]["lr"] = rate
            self._muon.step()
        self.model.zero_grad(set_to_none=True)
        return value


def rate_factor(share: float, warmup: float) -> float:
    """Linear rise, then a cosine down to 5 % of the peak."""
    if share < warmup:
        return max(share / warmup, 0.02)
    along = min(1.0, (share - warmup) / max(1e-9, 1 - warmup))
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * along))


def autocast(device: str, bf16: bool) -> AbstractContextManager[Any]:
    """Compute in bfloat16 where that is wanted; weights and loss stay in float32."""
    return torch.autocast(device.partition(":")[0], dtype=torch.bfloat16, enabled=bf16)


def save_checkpoint(folder: Path, trainer: Trainer, state: Any) -> None:
    """Write weights, optimiser and position as a whole: safetensors and JSON."""
    from safetensors.torch import save_file

    new = folder.with_name(f".{folder.name}.new")
    new.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().contiguous() for name, tensor in trainer.model.named_parameters()}
    moments = {
        f"{name}/{key}": value.detach().contiguous()
        for name, tensor in trainer.model.named_parameters()
        for key, value in trainer.moments(tensor).items()
    }
    save_file(weights, new / "model.safetensors")
    save_file(moments, new / "optimizer.safetensors")
    write_json(new / "state.json", state)
    replace_folder(new, folder)


def load_checkpoint(folder: Path, trainer: Trainer, kind: Any) -> Any:
    """Read a checkpoint back into a trainer and return its state, or None where there is none.

    Raises:
        DataError: It is damaged.
    """
    old = folder.with_name(f".{folder.name}.old")
    source = folder if folder.exists() else old
    if not source.exists():
        return None
    from safetensors.torch import load_file

    state = read_json(source / "state.json", kind)
    weights, moments = load_file(source / "model.safetensors"), load_file(source / "optimizer.safetensors")
    with torch.no_grad():
        for name, tensor in trainer.model.named_parameters():
            tensor.copy_(weights[name])
            found = {key.rpartition("/")[2]: value for key, value in moments.items() if key.rpartition("/")[0] == name}
            if found:
                trainer.remember(tensor, found)
    return state
