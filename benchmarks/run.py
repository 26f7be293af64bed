"""All benchmarks: ours against the way peers do it, in one run, as JSON and as a page.

    python benchmarks/run.py [--full | --quick] [--threads N] [--only QUESTION ...] [--out FOLDER]

The default took 13 minutes on two cores (769 s, and 28 s for llama.cpp as it is now). `--full`
all sizes and lengths, hours; `--quick` tiny cells, to see that everything runs: its figures mean nothing and no page
is written. A peer is stopped after 60 seconds (8 by default), and what is carried forward is marked `~`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

# Threads and memory as torch and glibc have them by default, for both sides: so peers are run.
os.environ.update(
    {
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "THP_MEM_ALLOC_ENABLE": "0",
        "AGENTRM_KEEP_MEMORY": "0",
        **os.environ,
    }
)

import batched_episodes
import beam_episode
import candidates
import llama_completions
import profile_share
import reward_scoring
import tree_fitting
from measuring import Settings, circumstances
from report import write_report

HERE = Path(__file__).parent
QUESTIONS = (
    candidates,
    beam_episode,
    reward_scoring,
    tree_fitting,
    batched_episodes,
    llama_completions,
    profile_share,
)
_SCREEN = ("cold_start.py", "loop_lag.py")


def main() -> int:
    """Measure, write the results, and the page where the whole default suite was measured; the exit code."""
    options = _options()
    scale = "full" if options.full else "quick" if options.quick else "default"
    limits = {"quick": 5.0, "default": 8.0, "full": 60.0}
    rounds = {"quick": 1, "default": 3, "full": 3}
    threads = options.threads or len(os.sched_getaffinity(0))
    settings = Settings(scale, rounds[scale], options.limit or limits[scale], threads)
    _be_quiet(threads)
    about = {**circumstances(threads), "limit": settings.limit, "scale": scale}
    options.out.mkdir(parents=True, exist_ok=True)
    began = perf_counter()
    named: list[tuple[str, str, Callable[[Settings], list[dict[str, Any]]]]] = [
        (module.QUESTION, module.__doc__ or "", module.cells) for module in QUESTIONS
    ]
    named.append(("screen", "What a person waits for: the first picture, and the event loop under load.", _screen))
    for question, text, cells in named:
        if options.only and question not in options.only:
            continue
        paragraphs = [line for line in text.split("\n") if line.strip()]
        content: dict[str, Any] = {"question": question, "about": paragraphs, "scale": scale, "circumstances": about}
        content["cells"] = cells(settings)
        content["seconds"] = perf_counter() - began
        file = options.out / f"{question.replace(' ', '_').replace('.', '_')}.json"
        file.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    if scale != "quick" and not options.only:
        write_report(options.out, options.page)
        print(f"wrote {options.page}")
    print(f"{perf_counter() - began:.0f} s")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--full", action="store_true")
    scale.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=0, help="0 takes the cores this process may use")
    parser.add_argument("--limit", type=float, default=0.0, help="seconds after which a peer is stopped")
    names = [*(module.QUESTION for module in QUESTIONS), "screen"]
    parser.add_argument("--only", nargs="+", choices=names, metavar="QUESTION", help=", ".join(names))
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs" / "performance.md")
    return parser.parse_args()


def _be_quiet(threads: int) -> None:
    """One number of threads for both sides, and no warnings between the figures."""
    import torch
    from transformers.utils import logging

    torch.set_num_threads(threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _screen(settings: Settings) -> list[dict[str, Any]]:
    """Run the scripts that measure the screen and, with `--full`, a long process; `--quick` leaves them out.

    A script that fails ends everything: a page with an empty block would read as if nothing were to be said.
    """
    found = []
    for script in settings.choose((), _SCREEN, (*_SCREEN, "memory.py")):
        ended = subprocess.run([sys.executable, HERE / script], capture_output=True, text=True, check=False)
        print(ended.stdout, ended.stderr, flush=True)
        if not ended.stdout.strip():
            raise SystemExit(f"{script} ended with exit code {ended.returncode} and measured nothing.")
        found.append({"script": script, "exit_code": ended.returncode, "output": ended.stdout.rstrip().split("\n")})
    return found


if __name__ == "__main__":
    sys.exit(main())
