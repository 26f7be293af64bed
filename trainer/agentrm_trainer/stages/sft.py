"""Stage `sft`: behaviour cloning of the expert's turns, packed without padding, with dev probes on the way."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from agentrm_models.errors import UsageError
from agentrm_models.folder_settings import FolderSettings
from agentrm_models.packaged import folder_or_source
from agentrm_models.trie.layers import LibraryLayers
from agentrm_models.trie.packed_attention import SequencesPass
from agentrm_models.trie.states import architecture_of
from agentrm_trainer.config import Config
from agentrm_trainer.data.examples import Example, ExampleStream, StreamPosition, encode_trajectories
from agentrm_trainer.data.synthetic import action_words
from agentrm_trainer.data.tokenizer import load_tokenizer, train_tokenizer
from agentrm_trainer.data.trajectories import Trajectory, read_trajectories
from agentrm_trainer.fitting.backbone import Provenance, load_policy_model, new_policy, prepare_for_training, save_model
from agentrm_trainer.fitting.optimisation import Budget, Trainer, autocast, load_checkpoint, save_checkpoint
from agentrm_trainer.fitting.probe import probe_greedy
from agentrm_trainer.fitting.processes import Processes
from agentrm_trainer.reports.cards import policy_card
from agentrm_trainer.workflow.workspace import StageFolder, Workspace, replace_folder


class SftState(msgspec.Struct):
    """Where training stands.

    Attributes:
        tokens: Tokens read.
        next_probe: Tokens at which the next dev probe is due.
        policy_tokens: Tokens after which the policy was kept; 0 as long as it is not.
    """

    position: StreamPosition = msgspec.field(default_factory=StreamPosition)
    step: int = 0
    tokens: int = 0
    loss: float = 0.0
    next_probe: int = 0
    probes: list[dict[str, float]] = msgspec.field(default_factory=list)
    policy_tokens: int = 0


def sft(workspace: Workspace, folder: StageFolder) -> None:
    """Run the stage: `policy/` is the trained model, or, beside the `backbone/` of the reward model, an earlier one."""
    torch.set_num_threads(workspace.config.threads)
    SftRun(workspace, folder, Processes(workspace.config.device)).run()


class SftRun:
    """One sitting of behaviour cloning."""

    def __init__(self, workspace: Workspace, folder: StageFolder, processes: Processes) -> None:
        self._workspace, self._folder, self._config = workspace, folder, workspace.config
        self._processes = processes
        section = self._config.sft
        self._budget = Budget(section.max_tokens, section.max_minutes, section.max_epochs)
        collected = workspace.folder("collect")
        trajectories = read_trajectories(collected / "train.jsonl")
        if processes.first:
            _tokenizer(self._config, folder.path, trajectories)
        processes.wait()
        self._tokenizer = _tokenizer(self._config, folder.path, trajectories)
        model = _model(self._config, self._tokenizer)
        self._trainer = Trainer(prepare_for_training(model, processes.device), section, processes)
        self._state = load_checkpoint(folder.path / "checkpoint", self._trainer, SftState) or SftState(
            next_probe=section.probe_tokens
        )
        self._stream, self._epoch_size = self._make_stream(trajectories)
        held_out = encode_trajectories(
            self._tokenizer, read_trajectories(collected / "held_out.jsonl"), self._config.model.context
        )
        self._held_out = [example for examples in held_out for example in examples][:200]

    def _make_stream(self, trajectories: Sequence[Trajectory]) -> tuple[ExampleStream, float]:
        weight_of = {section.name: section.weight for section in self._config.environments}
        encoded = encode_trajectories(self._tokenizer, trajectories, self._config.model.context)
        pairs = [
            (example, weight_of.get(trajectory.environment, 1.0))
            for examples, trajectory in zip(encoded, trajectories, strict=True)
            for example in examples
        ]
        if not pairs:
            raise UsageError("no trajectory fits the context", "Raise model.context.")
        if longer := sum(not examples for examples in encoded):
            self._workspace.display.say(f"sft: {longer} trajectories are longer than the context")
        examples, weights = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        stream = ExampleStream(
            examples, weights, self._tokenizer, action_words(trajectories), self._config.seed, self._state.position
        )
        return stream, sum(weights)

    def run(self) -> None:
        """Train until the budget is used, then save the model."""
        state, section = self._state, self._config.sft
        last_save = self._folder.minutes
        with self._workspace.display.task("sft") as task:
            while True:
                share, stopping = self._processes.agree(self._share(), self._workspace.stopping)
                if share >= 1:
                    break
                self._step(share)
                task.update(share, f"loss {state.loss:.3f}, {state.tokens / 1e6:.2f}M tokens")
                if section.probe_tokens and state.tokens >= state.next_probe:
                    state.next_probe += section.probe_tokens
                    self._probe()
                if stopping or self._folder.minutes - last_save > section.checkpoint_minutes:
                    self._save()
                    last_save = self._folder.minutes
                if stopping:
                    self._processes.wait()
                    self._workspace.stop()
                    self._workspace.check_stop()
            task.update(1.0)
        self._finish()

    def _share(self) -> float:
        position = self._state.position
        epochs = position.epoch + position.index / max(1.0, self._epoch_size)
        return self._budget.share(self._state.tokens, self._folder.minutes, epochs)

    def _step(self, share: float) -> None:
        state, section = self._state, self._config.sft
        synthetic = _fading(section.synthetic_share, share, section.synthetic_until)
        reading = _fading(section.reading, share, section.reading_until)
        batch = self._stream.next_batch(section.tokens_per_step, synthetic)
        loss = cloning_loss(
            self._trainer.model,
            self._processes.share(batch, lambda example: len(example.ids)),
            self._processes.device,
            section.bf16,
            reading,
            total_weight(batch, reading) if self._processes.count > 1 else 0.0,
        )
        value = self._trainer.step(loss, share)
        state.step += 1
        state.tokens += sum(len(example.ids) for example in batch)
        state.loss = value if state.step == 1 else 0.95 * state.loss + 0.05 * value
        if state.step % 50 == 0:
            self._log(share)

    def _log(self, share: float) -> None:
        state = self._state
        self._folder.log(step=state.step, tokens=state.tokens, loss=round(state.loss, 5), share=round(share, 4))

    def _probe(self) -> None:
        if not self._processes.first:
            return
        section = self._config.sft
        loss = self._held_out_loss()
        held_out = {} if loss is None else {"held_out_loss": round(loss, 5)}
        success = probe_greedy(
            self._workspace, self._trainer.model, self._tokenizer, section.probe_tasks, self._state.tokens
        )
        self._state.probes.append({"tokens": self._state.tokens, **held_out, **success})
        self._folder.log(probe=True, tokens=self._state.tokens, **held_out, **success)
        shown = ", ".join(f"{name} {value:.2f}" for name, value in success.items())
        said = "nothing held out" if loss is None else f"held-out loss {loss:.3f}"
        self._workspace.display.say(f"sft: {self._state.tokens / 1e6:.1f}M tokens, {said}, dev greedy: {shown}")
        if section.policy_outcome and not self._state.policy_tokens and min(success.values()) >= section.policy_outcome:
            self._keep_policy()
            self._workspace.display.say("sft: this one is kept as the policy")

    def _held_out_loss(self) -> float | None:
        """Mean loss on the held-out trajectories; None where there is nothing to learn in them."""
        total, count = 0.0, 0
        with torch.no_grad():
            for first in range(0, len(self._held_out), 8):
                batch = self._held_out[first : first + 8]
                learnt = sum(int(example.learnt.sum()) for example in batch)
                if learnt:
                    loss = cloning_loss(self._trainer.model, batch, self._processes.device, self._config.sft.bf16)
                    total, count = total + float(loss) * learnt, count + learnt
        return total / count if count else None

    def _save(self) -> None:
        if not self._processes.first:
            return
        save_checkpoint(self._folder.path / "checkpoint", self._trainer, self._state)
        self._folder.save_clock()

    def _finish(self) -> None:
        if not self._processes.first:
            return
        self._save()
        self._log(1.0)
        if self._config.sft.probe_tokens:
            self._probe()
        if not self._state.policy_tokens:
            if self._config.sft.policy_outcome:
                self._workspace.display.say("sft: no probe reached sft.policy_outcome: the last model is the policy")
            self._keep_policy()
        elif self._state.policy_tokens < self._state.tokens:
            self._save_model("backbone")
        self._folder.finish(**self._figures())

    def _keep_policy(self) -> None:
        self._state.policy_tokens = self._state.tokens
        self._save_model("policy")

    def _save_model(self, name: str) -> None:
        config = self._config
        settings = FolderSettings(config.sft.prompt, config.environment_names)
        provenance = Provenance(settings, policy_card(config, self._figures()))
        save_model(self._folder.path / name, self._trainer.model, self._tokenizer, provenance)

    def _figures(self) -> dict[str, Any]:
        state = self._state
        return {
            "tokens": state.tokens,
            "policy_tokens": state.policy_tokens or state.tokens,
            "steps": state.step,
            "parameters": sum(tensor.numel() for tensor in self._trainer.model.parameters()),
            "probes": state.probes,
        }


def _tokenizer(config: Config, path: Path, trajectories: Sequence[Trajectory]) -> Any:
    if config.sft.init_from:
        return load_tokenizer(folder_or_source(config.sft.init_from))
    folder = path / "tokenizer"
    if not folder.exists():
        shuffled = list(trajectories)
        random.Random(f"tokenizer/{config.seed}").shuffle(shuffled)
        wanted = config.tokenizer
        tokenizer = train_tokenizer(shuffled, wanted.vocabulary, wanted.texts, config.model.context, wanted.phrases)
        new = path / ".tokenizer.new"
        tokenizer.save_pretrained(new)
        replace_folder(new, folder)
    return load_tokenizer(folder)


def _model(config: Config, tokenizer: Any) -> Any:
    if config.sft.init_from:
        return load_policy_model(folder_or_source(config.sft.init_from))
    return new_policy(config.model, tokenizer, config.seed)


def _fading(weight: float, share: float, until: float) -> float:
    """A weight that falls linearly to zero at the share `until` of the budget."""
    return weight * max(0.0, 1 - share / until) if until else 0.0


def token_weights(batch: Sequence[Example], reading: float) -> Tensor:
    """The weight of each token of a batch laid end to end (tokens,); nobody predicts the first one of an example."""
    weights = torch.cat([torch.from_numpy(example.learnt + np.float32(reading) * example.read) for example in batch])
    weights[torch.tensor([0, *(len(example.ids) for example in batch[:-1])]).cumsum(0)] = 0.0
    return weights


def total_weight(batch: Sequence[Example], reading: float) -> float:
    """What the losses of a whole batch are divided by."""
    return float(token_weights(batch, reading).sum())


def cloning_loss(
    model: Any, batch: Sequence[Example], device: str, bf16: bool, reading: float = 0.0, total: float = 0.0
) -> Tensor:
    """Weighted mean cross-entropy of a batch laid end to end (a float32 scalar).

    Args:
        batch: May be empty where it is one process's share.
        reading: Weight of the environment's words; the expert's have weight 1.
        total: What to divide by, where the batch is a share of a larger one; 0 stands for its own weight.
    """
    if not batch:
        return torch.zeros((), device=device)
    lengths = [len(example.ids) for example in batch]
    ids = torch.cat([torch.from_numpy(example.ids).long() for example in batch]).to(device)
    positions = torch.cat([torch.arange(length) for length in lengths])
    parts = architecture_of(model)
    assert parts.vocabulary is not None
    weights = token_weights(batch, reading)
    targets = weights.nonzero()[:, 0].to(device)
    with autocast(device, bf16):
        hidden = LibraryLayers(parts).hidden(ids, positions, SequencesPass(lengths))
        logits = parts.vocabulary(hidden[targets - 1])
    if len(targets) == 0:
        return logits.float().sum()
    losses = F.cross_entropy(logits.float(), ids[targets], reduction="none")
    kept = weights.to(device)[targets]
    mean: Tensor = (losses * kept).sum() / (total or kept.sum())
    return mean
