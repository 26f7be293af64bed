"""Mistakes in a configuration: each is found before any work, in one line, with exit code 2 and no folder made."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import TINY
from fake_ladder import FakeEntryPoint, FakeLadder
from fake_misfits import MISFITS

from agentrm_models.llama_cpp import gguf_source
from agentrm_trainer import cli
from agentrm_trainer.config_file import recipe_names
from agentrm_trainer.preflight import machine
from agentrm_tui.environments import registry


@pytest.fixture(autouse=True)
def environments(monkeypatch: pytest.MonkeyPatch, ladder_is_installed: None) -> None:
    points = {made.__name__.lower(): FakeEntryPoint(made) for made in MISFITS}
    monkeypatch.setattr(registry, "_installed", lambda: {"ladder": FakeEntryPoint(FakeLadder), **points})


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 4)


def exit_code(arguments: list[str]) -> int:
    try:
        cli.main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit code, standard output and standard error of a command on a configuration."""

    def run_command(
        raw: dict[str, Any] | str | bytes, *sets: str, out: str = "", command: str = "pipeline", dry: bool = False
    ) -> tuple[int, str, str]:
        file = tmp_path / "c.yaml"
        text = yaml.safe_dump(raw, sort_keys=False) if isinstance(raw, dict) else raw
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        arguments = [command, "--config", str(file), "--out", out or str(tmp_path / "out")]
        arguments += [part for override in sets for part in ("--set", override)]
        code = exit_code([*arguments, *(["--dry-run"] if dry else [])])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_command


def with_environment(name: str, **keys: Any) -> dict[str, Any]:
    return {**TINY, "environments": [{**TINY["environments"][0], "name": name, **keys}]}


SETTINGS: list[tuple[tuple[str, ...], str]] = [
    (("sft.max_tokens=0",), ": sft: no budget. Set sft.max_tokens"),
    (("sft.max_tokens=399",), "sft.max_tokens: 399 is less than one step of 400"),
    (("sft.policy_outcome=0.4",), "sft.policy_outcome: 0.4 needs dev probes. Set sft.probe_tokens"),
    (("sft.reading=0.2", "sft.reading_until=0"), "sft.reading: 0.2 has no effect"),
    (("sft.probe_tokens=900", "sft.probe_tasks=7"), "sft.probe_tasks: 7 is more than environments.0.dev_tasks 6"),
    (("sft.warmup=1",), "sft.warmup: 1 ends training before"),
    (("fit.warmup=1.0",), "fit.warmup: 1 ends training before"),
    (("collect.held_out=1",), "collect.held_out: 1 leaves no trajectory"),
    (("collect.noise=1",), "collect.noise: 1 leaves no turn"),
    (("tokenizer.vocabulary=10",), "tokenizer.vocabulary: 10 does not hold all bytes and marks. Take at least 261"),
    (("model.heads=3",), "model.heads: 3 heads do not divide width 32"),
    (("model.width=6", "model.heads=2"), "model.width: 6 gives each of 2 heads an odd size"),
    (("model.heads=4", "model.key_value_heads=3"), "model.key_value_heads: 3 does not divide heads 4"),
    (("model.context=24",), "explore.max_tokens: a reply of 24 tokens fills model.context 24"),
    (("label.contrasts=3", "label.contrast_tokens=900"), "label.contrast_tokens: a reply of 900 tokens"),
    (("explore.trees=0",), "explore: no budget. Set explore.trees or explore.max_minutes"),
    (("explore.dev_samples=1",), "explore.dev_samples: 1 makes no pair"),
    (("evaluate.sibling_samples=1",), "evaluate.sibling_samples: 1 makes no siblings"),
    (("label.variant=visits", "label.min_visits=7"), "label.min_visits: 7 is more than the 6 visits"),
    (("label.min_visits=3",), "label.min_visits: 3 has no meaning without label.variant: visits"),
    (("label.variant=visits", "label.max_weight_visits=4"), "label.max_weight_visits: 4 has no meaning"),
    (("label.contrast_expert=0.5",), "label.contrast_expert: 0.5 has no meaning without label.contrasts"),
    (("label.contrast_samples=3",), "label.contrast_samples: 3 has no meaning without label.contrasts"),
    (("label.expert_discount=0.9",), "label.expert_discount: 0.9 has no meaning"),
    (("label.contrasts=61",), "label.contrasts: 61 is more than the 60 tasks that are collected"),
    (("label.contrasts=5",), "label.contrasts: 5 are made, and fit.contrast_share 0 learns none of them"),
    (("explore.branching=1", "fit.ranking=1"), "fit.ranking: 1.0 ranks siblings, and explore.branching 1 grows none"),
    (("fit.contrast_share=0.5",), "fit.contrast_share: 0.5 needs label.contrasts and fit.max_minutes"),
    (("fit.language=0.1",), "fit.language: 0.1 needs fit.contrast_share"),
    (("fit.likelihoods=[]", "fit.likelihood_by=backbone"), "fit.likelihood_by: backbone needs fit.likelihoods"),
    (("fit.likelihoods=[]", "fit.likelihood_for=each"), "fit.likelihood_for: each needs fit.likelihoods"),
    (("fit.likelihoods=[0.1, 0.2, 0.1]",), "fit.likelihoods: 0.1 is there 2 times"),
    (("fit.kind=implicit", "fit.likelihoods=[]", "fit.aggregates=[sum, sum]"), "fit.aggregates: sum is there 2 times"),
    (("fit.beta=0.5",), "fit.beta: 0.5 has no meaning without fit.kind: implicit"),
    (("fit.targets=all",), "fit.targets: all has no meaning without fit.kind: implicit"),
    (("fit.kind=implicit",), "fit.likelihoods: [0.3] is of explicit reward models"),
    (("fit.kind=implicit", "fit.likelihoods=[]", "fit.ranking=0.5"), "fit.ranking: 0.5 is of explicit reward models"),
    (("fit.kind=implicit", "fit.likelihoods=[]", "label.variant=visits"), "fit.targets: ends needs outcomes"),
    (("fit.kind=implicit", "fit.likelihoods=[]", "label.expert_share=0.5"), "fit.targets: ends needs outcomes"),
    (("fit.require_better_than_chance=true", "explore.dev_samples=0"), "needs dev states"),
    (("evaluate.methods=[]",), "evaluate.methods: [] evaluates nothing"),
    (("evaluate.methods=[greedy, greedy]",), "evaluate.methods: greedy is there 2 times"),
    (("evaluate.methods=[best-of-n, best-of-n-at-cost]",), "best-of-n-at-cost needs beam. Add it"),
    (("evaluate.max_n_at_cost=2",), "evaluate.max_n_at_cost: 2 is less than evaluate.n 3"),
    (("environments.0.train_tasks=1000001",), "environments.0.train_tasks: expected `int` <= 1000000"),
    (("environments=[{name: ladder}, {name: ladder}]",), "environments.1.name: ladder is there already"),
    (("environments=[{name: ladder}, {name: hermit}]", "explore.trees=1"), "explore.trees: 1 leaves some of 2"),
    (("environments.0.test_tasks=100000000",), "environments.0.test_tasks: expected `int` <= 1000000"),
    (("model.context=9999999999",), "model.context: expected `int` <= 4000000"),
    (("evaluate.n=1000000",), "evaluate.n: expected `int` <= 10000"),
    (("sft.max_tokens=" + "9" * 40,), "sft.max_tokens: expected `int` <= 1125899906842624"),
    (("model.layers=9000", "model.width=40000"), ": model: training 9000 layers of width 40000 needs "),
    (("threads=17",), "--set: threads: 17 is too many for 4 cores. Take at most 16"),
    (("explore.processes=500",), "explore.processes: 500 is too many for 4 cores"),
    (("device=cuda:7",), "--set: device: cuda:7 is not usable here. Write device: cpu"),
    (("device=auto",), "--set: device: expected `str` matching regex"),
    (("device=cdua",), "(it is 'cdua')"),
    (("sft.init_from=./nowhere",), "sft.init_from: ./nowhere: there is no such model folder"),
    (("sft.init_from=/dev/null",), "sft.init_from: /dev/null: there is no such model folder"),
    (("sft.init_from=a b!",), "sft.init_from: 'a b!' is neither a folder nor a model"),
    (("environments.0.levels=[lo]",), "environments.0.levels: ladder has no level 'lo'. Did you mean 'low'?"),
    (("environments.0.test_levels=[hgih]",), "environments.0.test_levels: ladder has no level 'hgih'. Did"),
    (("environments.0.dev_tasks=0",), "environments.0.dev_tasks: expected `int` >= 1 (it is '0')"),
    (("environments.0.test_tasks=-3",), "environments.0.test_tasks: expected `int` >= 1 (it is '-3')"),
    (("environments.0.name=laddr",), "environments.0.name: unknown environment 'laddr'. Did you mean 'ladder'?"),
    (("environments=[]",), "environments: expected `array` of length >= 1"),
    (("sft.learning_rate=.nan",), "sft.learning_rate: "),
    (("fit.beta=.inf",), "fit.beta: inf is not a finite number"),
    (("sft.weight_decay=.nan",), "sft.weight_decay: expected `float` >= 0.0 (it is 'nan')"),
    (("fit.likelihoods=[0.1, .inf]",), "fit.likelihoods.1: inf is not a finite number"),
    (("explore.iterations=true",), "explore.iterations: expected `int`, got `bool` (it is 'True')"),
    (("sft.clip=yes",), "sft.clip: expected `float`, got `bool`"),
    (("sft.learning_rate=1e10",), "sft.learning_rate: expected `float` <= 1.0"),
    (("sft.bf16=1",), "sft.bf16: expected `bool`, got `int`"),
    (("evaluate.methods=[greedy, baem]",), "there is no method 'baem'. Did you mean 'beam'?"),
    (("fit.kind=explict",), "fit.kind: invalid enum value 'explict' (it is 'explict'). Did you mean 'explicit'?"),
    (("evaluate.methods=beam",), "evaluate.methods: expected `array`, got `str`"),
    (("explore.temperature=0",), "explore.temperature: expected `float` > 0"),
    (("sft.max_minutes=-1",), "sft.max_minutes: expected `float` >= 0"),
    (("seed=1.5",), "seed: expected `int`, got `float`"),
    ((f"name={'x' * 300}",), "name: expected `str` of length <= 100"),
    (("seed=" + "9" * 5_000,), "--set"),
    (("sft.max_minutes=2024-13-45",), "--set"),
]  # fmt: skip


@pytest.mark.parametrize(("sets", "expected"), SETTINGS, ids=[" ".join(sets)[:60] for sets, _ in SETTINGS])
def test_a_mistake_is_one_line_before_any_work(run: Run, tmp_path: Path, sets: tuple[str, ...], expected: str) -> None:
    code, out, err = run(TINY, *sets)
    assert (code, out) == (2, "")
    assert expected in err
    assert len(err.splitlines()) == 1 and err.startswith("agentrm-train: ")
    assert run(TINY, *sets, dry=True) == (code, out, err)
    assert {path.name for path in tmp_path.iterdir()} == {"c.yaml"}


@pytest.mark.parametrize(
    "sets",
    [
        (),
        ("fit.kind=implicit", "fit.likelihoods=[]"),
        ("fit.kind=implicit", "fit.likelihoods=[]", "fit.targets=all", "label.variant=visits", "label.min_visits=6"),
        ("fit.kind=implicit", "fit.likelihoods=[]", "fit.targets=all", "label.expert_share=0.5"),
        ("label.contrasts=60", "label.contrast_tokens=24", "fit.contrast_share=0.5", "fit.max_minutes=5"),
        ("fit.likelihood_by=backbone", "fit.likelihood_for=each", "fit.require_better_than_chance=true"),
        ("evaluate.methods=[greedy]", "evaluate.sibling_states=0", "evaluate.sibling_samples=1",
         "explore.dev_sibling_states=0"),
        ("sft.max_tokens=0", "sft.max_epochs=1", "explore.trees=0", "explore.max_minutes=1"),
        ("environments.0.levels=[low]", "environments.0.test_levels=[high, low]"),
    ],
)  # fmt: skip
def test_what_fits_together_is_no_mistake(run: Run, tmp_path: Path, sets: tuple[str, ...]) -> None:
    assert run(TINY, *sets, dry=True)[::2] == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {"c.yaml"}


@pytest.mark.parametrize(
    ("name", "keys", "expected"),
    [
        ("hermit", {}, "environments.0.name: hermit has no expert to collect from"),
        ("listed", {"train_tasks": 5, "dev_tasks": 2, "test_tasks": 2}, "listed has a fixed list of tasks"),
        ("narrow", {}, "environments.0.test_tasks: 8 test tasks are not left: narrow begins in few different states"),
        ("wordy", {}, "model.context: 512 does not hold how wordy begins (36"),
        (
            "broken",
            {},
            "environments.0.name: environment 'broken': Broken.__init__ raised RuntimeError: no licence found",
        ),
        (
            "stuck",
            {},
            "environments.0.name: environment 'stuck': Stuck.reset raised ImportError: No module named 'engine'",
        ),
        ("scienceword:", {}, "unknown environment 'scienceword:'"),
    ],
)
def test_what_only_the_environment_knows(
    run: Run, tmp_path: Path, name: str, keys: dict[str, Any], expected: str
) -> None:
    code, out, err = run(with_environment(name, **keys))
    assert (code, out) == (2, "")
    assert expected in err and len(err.splitlines()) == 1
    assert f"{tmp_path / 'c.yaml'}, line " in err
    assert {path.name for path in tmp_path.iterdir()} == {"c.yaml"}


@pytest.mark.parametrize(
    ("name", "sets", "expected"),
    [
        ("blurred", ("label.contrasts=3", "fit.contrast_share=0.5", "fit.max_minutes=1"),
         "label.contrasts: 3: blurred has no expert or no exact snapshots"),
        ("blurred", ("evaluate.sibling_states=9",), "sibling_states: 4: no environment has the exact snapshots"),
        ("blurred", ("explore.dev_sibling_states=0", "evaluate.sibling_states=0", "label.expert_share=0.5"),
         "label.expert_share: 0.5: no environment has an expert and exact snapshots"),
    ],
)  # fmt: skip
def test_what_needs_snapshots(run: Run, name: str, sets: tuple[str, ...], expected: str) -> None:
    code, _, err = run(with_environment(name), *sets)
    assert code == 2
    assert expected in err and len(err.splitlines()) == 1


def test_a_fixed_list_may_be_collected_as_far_as_it_goes(run: Run) -> None:
    few = with_environment("listed", train_tasks=7, dev_tasks=2, test_tasks=2)
    assert run(few, command="sft", dry=True)[0] == 0
    code, _, err = run(with_environment("listed", train_tasks=8), command="sft", dry=True)
    assert code == 2
    assert "environments.0.train_tasks: 8 is more than the 7 tasks that listed has. Take at most 7" in err


ALIASES = "a: &a0 [x, x]\n" + "".join(f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
"""Ten lines that stand for 700 million values."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: x\n\tseed: 1\n", "line 2: not valid YAML"),
        ("name: x\nseed: 2024-13-45\n", "not valid YAML"),
        ("name: \x01\n", "not valid YAML"),
        (b"name: \xe9\n", "is not UTF-8 text"),
        ("- a\n- b\n", "is not a mapping of settings"),
        ("", "is not a mapping of settings"),
        ("name: x\nname: y\n", "line 2: key 'name' is there already in line 1"),
        ("name: x\nenviroments: []\n", "line 2: unknown key 'enviroments'. Did you mean 'environments'?"),
        ("name: x\nsft: {clip: .NaN}\nenvironments: [{name: ladder}]\n", "line 2: sft.clip: "),
        (ALIASES, "more than 20000 keys"),
        ("#" * (1 << 20) + "\n#", "no file of settings: it has 1048578 bytes"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_configuration(run: Run, text: str | bytes, expected: str) -> None:
    code, out, err = run(text)
    assert (code, out) == (2, "")
    assert expected in err and len(err.splitlines()) == 1


def test_the_folder_of_results_must_be_writable(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for out, cause in (
        (tmp_path / "file", "is a file"),
        (tmp_path / "file" / "below", "is a file"),
        (tmp_path / ("x" * 300), "File name too long"),
        (Path("/proc/nowhere"), "cannot be made"),
    ):
        code, _, err = run(TINY, out=str(out))
        assert code == 2
        assert f"agentrm-train: --out: {out}"[:200] in err and cause in err and len(err.splitlines()) == 1
    with monkeypatch.context() as patch:
        patch.setattr(machine.os, "access", lambda *arguments: False)
        assert "is read-only" in run(TINY)[2]

    def read_only(**options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(machine.tempfile, "TemporaryFile", read_only)
        assert "Read-only file system" in run(TINY)[2]
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1 << 20))
    assert "1 MiB are free" in run(TINY)[2]


LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 600}


@pytest.mark.parametrize(
    ("files", "sets", "expected"),
    [
        (("model.safetensors", "tokenizer.json"), (), "no config.json"),
        (("config.json", "pytorch_model.bin", "tokenizer.json"), (), "no .safetensors weights"),
        (("config.json", "model.safetensors"), (), "no tokenizer"),
        (("config.json", "model.safetensors", "tokenizer.json"), ("model.context=900",), "more than the 600 tokens"),
        (("config.json", "model.safetensors", "tokenizer.json"), (), ""),
    ],
)
def test_a_model_to_start_from(run: Run, tmp_path: Path, files: tuple[str, ...], sets: tuple[str, ...], expected: str):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in files:
        (folder / name).write_text(json.dumps(LLAMA) if name == "config.json" else "{}")
    code, _, err = run(TINY, f"sft.init_from={folder}", *sets, dry=True)
    assert code == (2 if expected else 0)
    assert expected in err


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ({"architectures": ["BertForMaskedLM"]}, "BertForMaskedLM is no language model that writes"),
        ({"architectures": ["MistralForCausalLM"]}, "export.gguf: true: MistralForCausalLM has no GGUF form here"),
        ([1], "config.json is damaged"),
    ],
)
def test_an_architecture_that_a_later_stage_cannot_use(run: Run, tmp_path: Path, described: Any, expected: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).write_text(json.dumps(described))
    code, _, err = run(TINY, f"sft.init_from={folder}", "export.gguf=true")
    assert code == 2
    assert expected in err and len(err.splitlines()) == 1


def test_a_missing_package_is_told_by_the_stage_that_needs_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr(machine, "find_spec", find)
    assert "export.gguf: true needs the package gguf" in run(TINY, "export.gguf=true")[2]
    assert run(TINY, "export.gguf=true", command="collect", dry=True)[0] == 0


def test_what_can_be_exported_is_what_the_exporter_knows() -> None:
    assert set(machine.EXPORTABLE) == {name for name in gguf_source.ARCHITECTURES if name.endswith("ForCausalLM")}


def test_the_machine_need_not_have_what_other_stages_want(run: Run) -> None:
    assert run(TINY, "device=cuda:7", command="collect", dry=True)[0] == 0
    assert run(TINY, "device=cuda:7", command="fit", dry=True)[0] == 2


def test_each_process_that_trains_needs_an_accelerator(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "choose_device", lambda name: name)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert run(TINY, "device=cuda", dry=True)[0] == 0
    code, _, err = run(TINY, "device=cuda", "fit.processes=2")
    assert code == 2
    assert "fit.processes: 2 processes need an accelerator each, and there are 1. Take at most 1" in err


def test_further_mistakes_are_counted(run: Run) -> None:
    _, _, err = run(TINY, "collect.noise=1", "collect.held_out=1", "fit.warmup=1")
    assert "(2 more mistakes after this one)" in err


def test_earlier_work_is_refused_before_a_stage_begins(run: Run, make_workspace, tmp_path: Path) -> None:
    """The last stage's folder was made with other settings: nothing is computed before that is said."""
    settings = make_workspace().stage("export")
    settings.open(resume=False)
    code, _, err = run({**TINY, "export": {"gguf": True}}, command="pipeline")
    assert code == 2
    assert "export was made with other settings: export.gguf was false, is true" in err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"export"}


@pytest.mark.parametrize("name", [name for name in recipe_names() if name != "paper"])
def test_every_recipe_passes(name: str, monkeypatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.undo()
    arguments = ["pipeline", "--config", name, "--out", str(tmp_path / "out"), "--dry-run"]
    assert exit_code(arguments) == 0, capsys.readouterr().err
    assert not (tmp_path / "out").exists()
