"""A stage is data: what it declares to read is its identity, and it can read nothing else."""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pytest
from conftest import TINY

from agentrm_models.errors import UsageError
from agentrm_trainer.config import Config
from agentrm_trainer.config_view import TIMING, values_of, view_of
from agentrm_trainer.workflow.pipeline import run_pipeline, run_stage
from agentrm_trainer.workflow.registry import STAGES, changes, settings_of, stage_named

CONFIG = msgspec.convert(TINY, Config)


def leaves(record: Any, key: str = "") -> list[str]:
    """Dotted keys of every value in a configuration; the first environment's stand for all."""
    if isinstance(record, tuple) and record and isinstance(record[0], msgspec.Struct):
        return leaves(record[0], f"{key}.0")
    if not isinstance(record, msgspec.Struct):
        return [key]
    return [
        leaf for name in record.__struct_fields__ for leaf in leaves(getattr(record, name), f"{key}.{name}".strip("."))
    ]


def changed(config: Any, path: list[str]) -> Any:
    """The configuration with another value at a key; the value need not make sense."""
    if isinstance(config, tuple):
        return (changed(config[0], path[1:]), *config[1:])
    inner = getattr(config, path[0])
    return msgspec.structs.replace(config, **{path[0]: changed(inner, path[1:]) if path[1:] else "another"})


def declares(stage: Any, key: str) -> bool:
    plain = key.replace(".0.", ".")
    return any(plain == read or plain.startswith(f"{read}.") for read in stage.reads)


@pytest.mark.parametrize("key", leaves(CONFIG))
def test_a_key_makes_those_stages_new_that_read_it_and_those_after_them(key: str) -> None:
    other = changed(CONFIG, key.split("."))
    new = {stage.name for stage in STAGES if settings_of(other, stage).digest != settings_of(CONFIG, stage).digest}
    timing = key.rpartition(".")[2] in TIMING
    expected: set[str] = set()
    for stage in STAGES:
        if not timing and (declares(stage, key) or expected.intersection(stage.after)):
            expected.add(stage.name)
    assert new == expected
    for stage in STAGES:
        if stage.name in new:
            said = changes(settings_of(CONFIG, stage), settings_of(other, stage))
            assert (f"{key} was" in said) == declares(stage, key), said


def test_every_key_is_read_by_some_stage() -> None:
    unread = [key for key in leaves(CONFIG) if not any(declares(stage, key) for stage in STAGES)]
    assert unread == []


def test_a_stage_comes_after_those_it_reads() -> None:
    seen: list[str] = []
    for stage in STAGES:
        assert set(stage.after) <= set(seen)
        assert stage.function.__name__ == stage.name
        seen.append(stage.name)


def test_a_view_shows_what_is_declared_and_nothing_else() -> None:
    view = view_of(CONFIG, ("seed", "fit.prompt", "environments.name", "label"), "explore")
    assert (view.seed, view.fit.prompt, view.label.chunk) == (0, "short", CONFIG.label.chunk)
    assert view.environment_names == ("ladder",)
    with pytest.raises(AssertionError, match=r"explore reads fit\.beta, which"):
        _ = view.fit.beta
    with pytest.raises(AssertionError, match=r"explore reads environments\.levels, which"):
        _ = view.environments[0].levels
    with pytest.raises(AssertionError, match="explore reads sft, which"):
        _ = view.sft
    again = pickle.loads(pickle.dumps(view))
    assert again.environments[0].name == "ladder"
    with pytest.raises(AssertionError):
        _ = again.evaluate


def test_a_view_forgets_no_declared_value() -> None:
    for stage in STAGES:
        view = view_of(CONFIG, stage.reads, stage.name)
        for key, value in values_of(CONFIG, stage.reads).items():
            found: Any = view
            for name in key.split("."):
                found = found[int(name)] if name.isdigit() else getattr(found, name)
            assert msgspec.json.decode(msgspec.json.encode(found)) == value


def test_no_stage_reads_more_than_it_declares(make_workspace) -> None:
    """The guard is on whenever a stage runs; this runs every branch of it that a configuration can ask for."""
    everything: dict[str, dict[str, Any]] = {
        "sft": {"probe_tokens": 3_000, "probe_tasks": 2},
        "label": {"contrasts": 3, "expert_share": 0.5, "chunk": 2},
        "fit": {"contrast_share": 0.5, "ranking": 0.1, "likelihood_for": "each", "likelihood_by": "backbone"},
    }
    run_pipeline(make_workspace(**everything))


def test_a_stage_cannot_read_another_that_it_does_not_declare(make_workspace) -> None:
    view = make_workspace().seen_by(stage_named("fit"))
    assert view.folder("label").name == "label"
    with pytest.raises(AssertionError, match="fit reads collect"):
        view.folder("collect")


def test_a_view_is_stopped_with_its_workspace(make_workspace) -> None:
    workspace = make_workspace()
    view = workspace.seen_by(stage_named("fit"))
    workspace.stop()
    assert view.stopping


def test_changed_settings_are_refused_by_name(make_workspace) -> None:
    workspace = make_workspace()
    for name in ("collect", "sft", "explore"):
        run_stage(workspace, name)
    with pytest.raises(UsageError, match=r"explore was made with other settings: fit\.prompt was short, is full\. "):
        run_stage(make_workspace(resume=True, fit={"prompt": "full"}), "explore")
    with pytest.raises(UsageError, match=r"explore .*: evaluate\.sibling_samples was 3, is 5"):
        run_stage(make_workspace(resume=True, evaluate={"sibling_samples": 5}), "label")
    with pytest.raises(UsageError, match=r"collect .*: collect\.noise was 0\.2, is 0\.5"):
        run_stage(make_workspace(resume=True, collect={"noise": 0.5}), "label")
    run_stage(make_workspace(resume=True, explore={"max_minutes": 9.0}, evaluate={"draws": 9}), "label")


def test_a_stage_of_another_version_is_refused(make_workspace) -> None:
    workspace = make_workspace()
    run_stage(workspace, "collect")
    (workspace.folder("collect") / "settings.json").write_text('{"stage": "collect", "digest": "0123", "seed": 0}')
    with pytest.raises(UsageError, match="of another version"):
        run_stage(make_workspace(resume=True), "collect")
