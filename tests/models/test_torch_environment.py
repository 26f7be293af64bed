from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from agentrm_models import torch_environment
from agentrm_models.errors import MemoryExhaustedError
from agentrm_models.torch_environment import SETTINGS, import_torch, prepare_torch

FAULTS = """
import resource
from agentrm_models.torch_environment import prepare_torch
prepare_torch()
import torch
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [torch.ones(625_000) for _ in range(32)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(keep: str) -> int:
    """Pages that the system handed out while tensors of 80 MB came for the third time."""
    surroundings = {**os.environ, "AGENTRM_KEEP_MEMORY": keep, "THP_MEM_ALLOC_ENABLE": "0"}
    found = subprocess.run(
        [sys.executable, "-c", FAULTS], env=surroundings, capture_output=True, text=True, check=True, timeout=120
    )
    return int(found.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")
def test_freed_memory_is_used_again_instead_of_fetched() -> None:
    assert 8 + 4 * faults("1") < faults("0")  # none and 17,059; none and 26 where the system gives large pages


def test_what_somebody_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    prepare_torch()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "1"


@pytest.mark.parametrize(
    "error",
    [
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
        MemoryError(),
    ],
)
def test_no_room_for_the_libraries_is_no_memory_and_no_missing_package(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(torch_environment, "import_module", fail)
    with pytest.raises(MemoryExhaustedError, match=r"no memory to load PyTorch.*ulimit"):
        import_torch()


def test_a_package_that_is_missing_is_not_taken_for_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(torch_environment, "import_module", fail)
    with pytest.raises(ModuleNotFoundError):
        import_torch()
