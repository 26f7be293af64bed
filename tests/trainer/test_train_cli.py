"""The command line: help without heavy imports, one line for each mistake, documented exit codes."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agentrm_models.errors import DivergedError
from agentrm_trainer import cli
from agentrm_trainer.workflow import pipeline
from agentrm_trainer.workflow.registry import STAGES
from agentrm_tui.environments import registry

INSTALLED = registry._installed


@pytest.fixture(autouse=True)
def real_environments(monkeypatch, ladder_is_installed):
    """The recipes name real ones."""
    monkeypatch.setattr(registry, "_installed", INSTALLED)


def run(capsys, *arguments):
    """Exit code, standard output and standard error of a command."""
    try:
        cli.main(list(arguments))
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_help_names_every_stage(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(stage.name in out and stage.help in out for stage in STAGES)


def test_help_imports_nothing_heavy():
    script = (
        "import sys\nfrom agentrm_trainer import cli\n"
        "try:\n    cli.main(['pipeline', '--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'transformers', 'numpy', 'textual', 'rich') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["pipeline"], 2, "Missing option '--config'"),
        (["pipeline", "--config", "quik"], 2, "Did you mean 'quick'?"),
        (["pipelin", "--config", "quick"], 2, "No such command 'pipelin'"),
        (["sft", "--config", "quick", "--set", "sft.rate=1"], 2, "unknown key 'sft.rate'"),
        (["pipeline", "--config", "quick", "--dry-run", "--set", "environments.0.name=maz"], 2, "Did you mean 'maze'?"),
        (["pipeline", "--config", "quick", "--dry-run", "--set", "environments.0.levels=[pit-4]"], 2, "'pits-4'?"),
        (["pipeline", "--config", "quick", "--dry-run", "--set", "name=../x"], 2, "--set: name: "),
        (["pipeline", "--config", "quick", "--dry-run", "--set", f"seed={10**30}"], 2, "--set: seed: "),
        (
            ["collect", "--config", "quick", "--out", "/dev/null"],
            2,
            "--out: /dev/null cannot be made: /dev/null is a file",
        ),
        (["sft", "--config", "quick", "--out", "OUT"], 2, "Run `agentrm-train collect` first"),
    ],
)
def test_mistakes_end_in_one_line(capsys, tmp_path, arguments, code, expected):
    arguments = [str(tmp_path) if argument == "OUT" else argument for argument in arguments]
    found, out, err = run(capsys, *arguments)
    assert found == code
    assert expected in err
    assert out == ""
    assert err.startswith("agentrm-train: ") and len(err.splitlines()) == 1


def test_a_dry_run_shows_settings_and_stages_and_writes_nothing(capsys, tmp_path):
    out = tmp_path / "out"
    code, printed, _ = run(capsys, "pipeline", "--config", "quick", "--out", str(out), "--dry-run", "--set", "seed=5")
    assert code == 0
    assert "seed: 5" in printed
    assert all(f"{stage.name:9} to do" in printed for stage in STAGES)
    assert not out.exists()


def test_divergence_has_its_exit_code(capsys, tmp_path, monkeypatch):
    def diverge(workspace):
        raise DivergedError("the loss is nan", "Lower the learning rate.")

    monkeypatch.setattr(pipeline, "run_pipeline", diverge)
    code, _, err = run(capsys, "pipeline", "--config", "quick", "--out", str(tmp_path))
    assert code == 5
    assert err.strip() == "agentrm-train: the loss is nan. Lower the learning rate."


def test_a_full_disk_is_one_line_and_other_failures_are_loud(capsys, tmp_path, monkeypatch):
    def fill(workspace):
        raise OSError(errno.ENOSPC, "No space left on device", "metrics.jsonl")

    monkeypatch.setattr(pipeline, "run_pipeline", fill)
    code, _, err = run(capsys, "pipeline", "--config", "quick", "--out", str(tmp_path))
    assert code == 3
    assert err.startswith("agentrm-train: metrics.jsonl cannot be written: No space left on device. Make room")
    assert len(err.splitlines()) == 1

    def lose(workspace):
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(pipeline, "run_pipeline", lose)
    with pytest.raises(OSError, match="Bad file"):
        cli.main(["pipeline", "--config", "quick", "--out", str(tmp_path)])


def test_an_interruption_has_its_exit_code(capsys, tmp_path, monkeypatch):
    def stop(workspace):
        workspace.stop()
        workspace.check_stop()

    monkeypatch.setattr(pipeline, "run_pipeline", stop)
    code, _, err = run(capsys, "pipeline", "--config", "quick", "--out", str(tmp_path))
    assert code == 130
    assert "Add --resume" in err


def test_what_the_makefile_makes_of_quick_is_a_configuration(capsys, tmp_path):
    """`make test-wheel` trains with these settings; it takes too long for this suite."""
    makefile = (Path(__file__).parents[2] / "Makefile").read_text().replace("\\\n", "")
    (small,) = re.findall(r"^SMALL := (.*)$", makefile, re.MULTILINE)
    out = str(tmp_path / "out")
    code, _, err = run(capsys, "pipeline", "--config", "quick", "--out", out, "--dry-run", *small.split())
    assert code == 0 and small.count("--set") > 5, err
