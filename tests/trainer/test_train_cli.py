"""The command line: help without heavy imports, one line for each mistake, documented exit codes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from agentrm_models.errors import DivergedError
from agentrm_trainer import cli, pipeline
from agentrm_trainer.workspace import STAGES


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
    assert all(stage in out for stage in (*STAGES, "pipeline"))


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
        (["sft", "--config", "quick", "--out", "OUT"], 2, "Run `agentrm-train collect` first"),
    ],
)
def test_mistakes_end_in_one_line(capsys, tmp_path, arguments, code, expected):
    arguments = [str(tmp_path) if argument == "OUT" else argument for argument in arguments]
    found, out, err = run(capsys, *arguments)
    assert found == code
    assert expected in err
    assert out == ""
    assert "Traceback" not in err


def test_a_dry_run_shows_settings_and_stages_and_writes_nothing(capsys, tmp_path):
    out = tmp_path / "out"
    code, printed, _ = run(capsys, "pipeline", "--config", "quick", "--out", str(out), "--dry-run", "--set", "seed=5")
    assert code == 0
    assert "seed: 5" in printed
    assert all(f"{stage:9} to do" in printed for stage in STAGES)
    assert not out.exists()


def test_divergence_has_its_exit_code(capsys, tmp_path, monkeypatch):
    def diverge(workspace):
        raise DivergedError("the loss is nan", "Lower the learning rate.")

    monkeypatch.setattr(pipeline, "run_pipeline", diverge)
    code, _, err = run(capsys, "pipeline", "--config", "quick", "--out", str(tmp_path))
    assert code == 5
    assert err.strip() == "agentrm-train: the loss is nan. Lower the learning rate."


def test_an_interruption_has_its_exit_code(capsys, tmp_path, monkeypatch):
    def stop(workspace):
        workspace.stop()
        workspace.check_stop()

    monkeypatch.setattr(pipeline, "run_pipeline", stop)
    code, _, err = run(capsys, "pipeline", "--config", "quick", "--out", str(tmp_path))
    assert code == 130
    assert "Add --resume" in err
