"""What a chunk says of itself does not depend on what its process did before, and a full disk loses no checkpoint."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from agentrm_models.errors import AgentRMError, DataError, MemoryExhaustedError
from agentrm_models.trie.ledger import TokenLedger, begin_run
from agentrm_trainer import cli
from agentrm_trainer.stages import sft as sft_module
from agentrm_trainer.workflow import workers
from agentrm_trainer.workflow.failures import in_one_line
from agentrm_trainer.workflow.pipeline import run_stage
from agentrm_tui.runs.store import load_state


def test_a_ledger_counts_each_run_by_itself() -> None:
    begin_run()
    ledger = TokenLedger()
    ledger.add([1, 2, 3])
    assert ledger.unique == 3
    begin_run()
    ledger.add([1, 2, 4])
    assert ledger.unique == 3 + 3
    ledger.add([1, 2, 3])
    assert ledger.unique == 3 + 4


def test_the_figures_of_a_chunk_are_its_own(make_workspace) -> None:
    """The second chunk after the first, and the second alone in a process that has just begun."""
    workspace = make_workspace(explore={"dev_samples": 0})
    for stage in ("collect", "sft", "explore"):
        run_stage(workspace, stage)
    runs = sorted((workspace.folder("explore") / "runs").glob("*.jsonl"))
    assert len(runs) == 2
    after = load_state(runs[1]).ledger
    runs[1].unlink()
    (workspace.folder("explore") / "done.json").unlink()
    run_stage(make_workspace(resume=True, explore={"dev_samples": 0}), "explore")
    alone = load_state(runs[1]).ledger
    assert alone.policy_tokens_unique == after.policy_tokens_unique > 100
    assert alone.policy_tokens_generated == after.policy_tokens_generated


FAILURES: list[tuple[BaseException, type[AgentRMError], str]] = [
    (OSError(errno.ENOSPC, "No space left on device", "x"), DataError, "x cannot be written: No space left on device"),
    (OSError(errno.EROFS, "Read-only file system"), DataError, "a file cannot be written: Read-only"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), MemoryExhaustedError, "out of memory: Cannot allocate"),
    (MemoryError(), MemoryExhaustedError, "out of memory. Use smaller batches"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried\nmore"), MemoryExhaustedError, "out of memory: CUDA out"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you"), MemoryExhaustedError, "DefaultCPUAllocator"),
    (SafetensorError("I/O error: No space left on device (os error 28)"), DataError, "weights cannot be written: I/O"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "kind", "expected"), FAILURES, ids=[repr(error)[:40] for error, *_ in FAILURES])
def test_what_a_machine_lacks_is_one_line(error: BaseException, kind: type[AgentRMError], expected: str) -> None:
    with pytest.raises(kind) as told, in_one_line():
        raise error
    assert expected in str(told.value) and "\n" not in str(told.value)
    assert told.value.exit_code == (3 if kind is DataError else 4)


@pytest.mark.parametrize(
    "error", [OSError(errno.EBADF, "Bad file"), RuntimeError("shapes differ"), SafetensorError("header too large")]
)
def test_any_other_failure_is_loud(error: Exception) -> None:
    with pytest.raises(type(error)) as told, in_one_line():
        raise error
    assert told.value is error


def after_calls(function: Any, calls: int, error: BaseException) -> Any:
    """A function that fails when it has been called so many times."""
    left = [calls]

    def failing(*arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise error
        return function(*arguments, **options)

    return failing


def checkpoints(folder: Path) -> dict[str, Any]:
    return {
        f"{path.name}/{name}": tensor
        for path in sorted((folder / "checkpoint").glob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


@pytest.mark.parametrize("where", ["weights", "moments", "rename", "memory"])
def test_the_last_checkpoint_survives_and_training_goes_on_from_it(make_workspace, monkeypatch, where: str) -> None:
    section = {"checkpoint_minutes": 1e-9}
    whole = make_workspace("whole", sft=section)
    run_stage(whole, "collect")
    broken = make_workspace("broken", sft=section)
    shutil.copytree(whole.folder("collect"), broken.folder("collect"))
    run_stage(whole, "sft")
    full = SafetensorError("I/O error: No space left on device (os error 28)")
    with monkeypatch.context() as patch:
        if where == "rename":
            plain = Path.replace

            def replace(self: Path, target: Path) -> Path:
                if self.name == ".checkpoint.new" and (broken.folder("sft") / ".checkpoint.old").exists():
                    raise OSError(errno.ENOSPC, "No space left on device", str(target))
                return plain(self, target)

            patch.setattr(Path, "replace", replace)
        elif where == "memory":
            failing = after_calls(sft_module.cloning_loss, 4, torch.OutOfMemoryError("CUDA out of memory"))
            patch.setattr(sft_module, "cloning_loss", failing)
        else:
            import safetensors.torch

            calls = {"weights": 5, "moments": 6}[where]
            patch.setattr(safetensors.torch, "save_file", after_calls(safetensors.torch.save_file, calls, full))
        with pytest.raises(
            MemoryExhaustedError if where == "memory" else DataError, match="the last checkpoint is whole"
        ):
            run_stage(broken, "sft")
    assert checkpoints(broken.folder("sft"))
    run_stage(make_workspace("broken", resume=True, sft=section), "sft")
    left, right = checkpoints(whole.folder("sft")), checkpoints(broken.folder("sft"))
    assert left.keys() == right.keys()
    assert all(left[name].equal(right[name]) for name in left)
    assert not list(broken.folder("sft").glob(".*"))


def test_a_failure_of_a_worker_reaches_the_parent_as_one_line(make_workspace) -> None:
    with pytest.raises(MemoryExhaustedError, match="out of memory: no memory in a worker"):
        list(workers.run_chunks(make_workspace(), ["no memory in a worker"] * 2, exhaust, 2))


def exhaust(words: str) -> None:
    raise MemoryError(words)


def test_the_exit_line_of_a_full_disk(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch) -> None:
    def fill(workspace: object, folder: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "train.jsonl")

    monkeypatch.setattr("agentrm_trainer.stages.collect.collect", fill)
    with pytest.raises(SystemExit) as end:
        cli.main(["collect", "--config", "quick", "--set", "environments=[{name: ladder}]", "--out", str(tmp_path)])
    assert end.value.code == 3
    err = capsys.readouterr().err
    assert "agentrm-train: train.jsonl cannot be written: No space left on device. Make room" in err
