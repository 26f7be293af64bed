"""Real servers as child processes, on loopback and a free port, ended by their own process group."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from agentrm_models.errors import AgentRMError
from agentrm_models.http import HttpClient, Manners
from agentrm_models.server_address import read_server_address

READY_SECONDS = 420
"""Until a server has to be ready; vLLM takes one to two minutes on two busy cores."""

LIFE_SECONDS = 1_200
"""After which a server ends by itself, should nobody end it."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(command: Sequence[str], port: int, ready: str, log: Path, variables: Mapping[str, str]) -> Iterator[str]:
    """A server that is ready: its root address; it ends with the block.

    Args:
        ready: A path that answers once the server is ready.
    """
    url = f"http://127.0.0.1:{port}"
    bounded = ["timeout", "--kill-after=10", str(LIFE_SECONDS), *command] if shutil.which("timeout") else [*command]
    environment = {**os.environ, **variables}
    with log.open("wb") as out:
        child = subprocess.Popen(bounded, stdout=out, stderr=out, env=environment, start_new_session=True)
        try:
            _wait(child, url, ready, log)
            yield url
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def _wait(child: subprocess.Popen[bytes], url: str, ready: str, log: Path) -> None:
    http = HttpClient(read_server_address(url, url), manners=Manners(answer_seconds=5, patience=0))
    until = time.monotonic() + READY_SECONDS
    try:
        while time.monotonic() < until:
            if child.poll() is not None:
                break
            with suppress(AgentRMError):
                http.get(ready)
                return
            time.sleep(0.5)
    finally:
        http.close()
    raise AssertionError(f"the server is not ready:\n{log.read_text('utf-8', 'replace')[-4000:]}")


def vllm(program: str, folder: Path, port: int, *options: str) -> list[str]:
    """The command line of a vLLM for tiny models on the CPU, with results that do not depend on the batch."""
    return [
        program,
        "serve",
        str(folder),
        *("--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--max-num-seqs", "16"),
        *("--served-model-name", "tiny", "--enforce-eager", *options),
    ]


VLLM_VARIABLES = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "HF_HUB_OFFLINE": "1",
    "PYTHONPATH": "",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
