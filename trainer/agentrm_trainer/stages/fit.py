"""Stage `fit`: a reward model, by mean squared error on packed trees."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import torch

from agentrm_models.errors import DataError
from agentrm_models.load_options import LoadOptions
from agentrm_models.specs import load_reward
from agentrm_trainer.data.labelled_trees import read_labelled_trees
from agentrm_trainer.data.packed_trees import PackedTrees, batches, join_trees
from agentrm_trainer.data.thresholds import store_threshold
from agentrm_trainer.data.tokenizer import load_tokenizer
from agentrm_trainer.fitting.dev_states import DevStates
from agentrm_trainer.fitting.optimisation import Budget, Trainer, load_checkpoint, save_checkpoint
from agentrm_trainer.fitting.processes import Processes
from agentrm_trainer.fitting.reward_kinds import Explicit, Implicit, RewardKind
from agentrm_trainer.workflow.progress import Task
from agentrm_trainer.workflow.workspace import StageFolder, Workspace
from agentrm_tui.runs.store import load_state


class Cursor(msgspec.Struct):
    """A place in the shuffled batches of some trees."""

    epoch: int = 0
    batch: int = 0


class FitState(msgspec.Struct):
    """Where training stands.

    Attributes:
        labels, contrasts: Places in the batches of either.
        contrast_steps: Steps on contrasts so far.
        tokens: Packed tokens read.
        next_evaluation: Share of the budget at which dev is measured next.
        best: Best selection score so far.
    """

    labels: Cursor = msgspec.field(default_factory=Cursor)
    contrasts: Cursor = msgspec.field(default_factory=Cursor)
    contrast_steps: int = 0
    step: int = 0
    tokens: int = 0
    loss: float = 0.0
    next_evaluation: float = 0.0
    best: float = -1.0
    evaluations: list[dict[str, float | str]] = msgspec.field(default_factory=list)


def fit(workspace: Workspace, folder: StageFolder) -> None:
    """Run the stage: `reward/` is the model that ordered dev best."""
    torch.set_num_threads(workspace.config.threads)
    FitRun(workspace, folder, Processes(workspace.config.device)).run()


class FitRun:
    """One sitting of fitting."""

    def __init__(self, workspace: Workspace, folder: StageFolder, processes: Processes) -> None:
        self._workspace, self._folder, self._section = workspace, folder, workspace.config.fit
        self._processes = processes
        config = workspace.config
        cloned = workspace.folder("sft")
        backbone = cloned / "backbone" if (cloned / "backbone").exists() else cloned / "policy"
        tokenizer = load_tokenizer(backbone)
        dev = DevStates.read(workspace.folder("explore") / "dev")
        self._no_dev = dev.empty
        make = Implicit if self._section.kind == "implicit" else Explicit
        self._kind: RewardKind = make(config, backbone, tokenizer, dev, processes.device)
        self._trainer = Trainer(self._kind.model, self._section, processes, "score", self._section.head_rate)
        self._state = load_checkpoint(folder.path / "checkpoint", self._trainer, FitState) or FitState()
        trees = read_labelled_trees(workspace.folder("label") / "trees.jsonl")
        self._trees = len(trees)
        self._labels = self._source("labels", self._kind.pack(trees), self._state.labels)
        if not self._labels.trees:
            raise DataError(
                "fit: no labelled state fits the model's context",
                "Train a model with a longer one, or fit.targets: all.",
            )
        self._contrasts: _Source | None = None
        if self._section.contrast_share:
            contrasts: list[PackedTrees] = []
            for path in sorted((workspace.folder("label") / "contrasts").glob("*.jsonl")):
                contrasts += self._kind.pack(read_labelled_trees(path), judged=True)
            self._contrasts = self._source("contrasts", contrasts, self._state.contrasts) if contrasts else None
        self._budget = Budget(minutes=self._section.max_minutes)

    def _source(self, name: str, trees: list[PackedTrees], cursor: Cursor) -> _Source:
        return _Source(f"fit/{name}/{self._workspace.config.seed}", trees, self._section.tokens_per_step, cursor)

    def run(self) -> None:
        """Train until the budget is used, on labels and contrasts in turn; keep the model that is best on dev."""
        with self._workspace.display.task("fit") as task:
            self._train(task)
            task.update(1.0)
        self._finish()

    def _train(self, task: Task) -> None:
        state, last_save = self._state, self._folder.minutes
        while True:
            share, stopping = self._processes.agree(self._share(), self._workspace.stopping)
            if share >= 1:
                return
            self._evaluate_if_due(share)
            self._step(self._next_batch(), share)
            task.update(share, f"loss {state.loss:.4f}, {state.tokens / 1e6:.2f}M tokens")
            if stopping or self._folder.minutes - last_save > self._section.checkpoint_minutes:
                self._save()
                last_save = self._folder.minutes
            if stopping:
                self._processes.wait()
                self._workspace.stop()
                self._workspace.check_stop()

    def _next_batch(self) -> list[PackedTrees]:
        """The next batch of contrasts where they are behind their share of the steps, else of labels."""
        state = self._state
        if self._contrasts and state.contrast_steps < self._section.contrast_share * (state.step + 1):
            state.contrast_steps += 1
            return self._contrasts.take()
        return self._labels.take()

    def _share(self) -> float:
        """The share of the budget that is used; the limit in epochs holds for the labels alone."""
        passes = self._labels.passes / self._section.epochs
        return max(passes, self._budget.share(0, self._folder.minutes, 0) if self._budget.minutes else 0.0)

    def _step(self, trees: Sequence[PackedTrees], share: float) -> None:
        state, device = self._state, self._processes.device
        total = float(sum(tree.labels.weights.sum() for tree in trees)) if self._processes.count > 1 else 0.0
        loss = torch.zeros((), device=device)
        if own := self._processes.share(trees, lambda tree: tree.size):
            loss = self._kind.loss(join_trees(own), device, total)
        value = self._trainer.step(loss, share)
        state.step += 1
        state.tokens += sum(tree.size for tree in trees)
        state.loss = value if state.step == 1 else 0.95 * state.loss + 0.05 * value
        if state.step % 20 == 0:
            self._log(share)

    def _log(self, share: float) -> None:
        state = self._state
        self._folder.log(step=state.step, tokens=state.tokens, loss=round(state.loss, 5), share=round(share, 4))

    def _evaluate_if_due(self, share: float) -> None:
        state = self._state
        if share < state.next_evaluation or (share == 0 and self._no_dev):
            return
        if share > 0 and not self._no_dev:
            self._evaluate()
        state.next_evaluation += 1 / self._section.evaluations

    def _evaluate(self) -> None:
        if not self._processes.first:
            return
        figures = self._kind.measure()
        self._state.evaluations.append({"tokens": self._state.tokens, **figures})
        self._folder.log(evaluation=True, tokens=self._state.tokens, **figures)
        shown = ", ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in figures.items())
        self._workspace.display.say(f"fit: {self._state.tokens / 1e6:.2f}M tokens, dev {shown}")
        if float(figures["selection"]) > self._state.best:
            self._state.best = float(figures["selection"])
            self._save_model(figures)

    def _save(self) -> None:
        if not self._processes.first:
            return
        save_checkpoint(self._folder.path / "checkpoint", self._trainer, self._state)
        self._folder.save_clock()

    def _figures(self) -> dict[str, Any]:
        return {
            "parameters": sum(tensor.numel() for tensor in self._trainer.model.parameters()),
            "trees": self._trees,
            "labels": sum(tree.states for tree in self._labels.trees),
            "packed_tokens": sum(tree.size for tree in self._labels.trees),
            "tokens": self._state.tokens,
            "steps": self._state.step,
            "evaluations": self._state.evaluations,
        }

    def _save_model(self, choice: dict[str, float | str]) -> None:
        self._kind.save(self._folder.path / "reward", self._figures(), choice)

    def _finish(self) -> None:
        if not self._processes.first:
            return
        self._save()
        self._log(1.0)
        if self._no_dev:
            self._save_model({})
        else:
            self._evaluate()
        self._folder.finish(**self._figures(), stopping=self._choose_threshold())

    def _choose_threshold(self) -> dict[str, float] | None:
        """Let the model that was kept say from which reward on adaptive Best-of-N may stop; None without dev runs."""
        runs = sorted((self._workspace.folder("explore") / "dev" / "runs").glob("*-ends.jsonl"))
        if not runs:
            return None
        config, folder = self._workspace.config, self._folder.path / "reward"
        reward = load_reward(str(folder), LoadOptions(device=self._processes.device, threads=config.threads))
        found = store_threshold(folder, map(load_state, runs), reward, config.seed)
        reward.close()
        return None if found is None else {name: round(value, 4) for name, value in found._asdict().items()}


class _Source:
    """Packed trees in shuffled batches, pass after pass."""

    def __init__(self, seed: str, trees: list[PackedTrees], tokens: int, cursor: Cursor) -> None:
        self.trees = trees
        self._seed, self._tokens, self._cursor = seed, tokens, cursor
        self._plan = self._planned()

    @property
    def passes(self) -> float:
        """How often the trees were read."""
        return self._cursor.epoch + self._cursor.batch / max(1, len(self._plan))

    def take(self) -> list[PackedTrees]:
        """The next batch."""
        batch = self._plan[self._cursor.batch]
        self._cursor.batch += 1
        if self._cursor.batch == len(self._plan):
            self._cursor.epoch, self._cursor.batch = self._cursor.epoch + 1, 0
            self._plan = self._planned()
        return batch

    def _planned(self) -> list[list[PackedTrees]]:
        order = list(range(len(self.trees)))
        random.Random(f"{self._seed}/{self._cursor.epoch}").shuffle(order)
        return list(batches(self.trees, self._tokens, order))


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"
