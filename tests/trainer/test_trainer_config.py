"""Every mistake in a configuration is one line that names file, line, key and the nearest spelling."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from agentrm_models.errors import UsageError
from agentrm_trainer.config import Config, EnvironmentSection, SftSection
from agentrm_trainer.config_file import read_config, recipe_names


def load_config(source: str, overrides: Sequence[str] = ()) -> Config:
    return read_config(source, overrides).config


GOOD = "name: x\nenvironments:\n  - name: maze\n    train_tasks: 5\nsft:\n  max_minutes: 2\n"


@pytest.fixture
def write(tmp_path):
    def write_file(text: str) -> str:
        path = tmp_path / "c.yaml"
        path.write_text(text)
        return str(path)

    return write_file


def test_a_file_is_read(write):
    config = load_config(write(GOOD))
    assert config.environments == (EnvironmentSection(name="maze", train_tasks=5),)
    assert config.sft.max_minutes == 2.0
    assert config.sft.learning_rate == SftSection().learning_rate


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_valid(name):
    config = load_config(name)
    assert config.name == name
    assert config.sft.max_minutes or config.sft.max_tokens or config.sft.max_epochs


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("max_minutes: 2", "max_minute: 2"), "line 6: unknown key 'sft.max_minute'. Did you mean 'max_minutes'?"),
        (("max_minutes: 2", "max_minutes: soon"), "line 6: sft.max_minutes: expected `float`, got `str`"),
        (("max_minutes: 2", "warmup: 2"), "line 6: sft.warmup: expected `float` <= 1"),
        (("train_tasks", "train_task"), "line 4: unknown key 'environments.0.train_task'. Did you mean 'train_tasks'?"),
        (("train_tasks: 5", "train_tasks: many"), "line 4: environments.0.train_tasks: expected `int`, got `str`"),
        (("sft:", "stf:"), "line 5: unknown key 'stf'. Did you mean 'sft'?"),
        (("max_minutes: 2", "max_minutes: 2\n  max_minutes: 3"), "key 'sft.max_minutes' is there already in line 6"),
        (("max_minutes: 2", "learning_rate: e-3"), "line 6: sft.learning_rate: expected `float`, got `str`"),
        (("name: x\n", ""), "missing required field `name`"),
    ],
)
def test_mistakes_name_line_and_key(write, change, expected):
    with pytest.raises(UsageError) as error:
        load_config(write(GOOD.replace(*change)))
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("number", ["1e-3", "1E-3", "1.e-3", "1.0e-3", "+1e-3", "0.001", "10e-4"])
def test_numbers_may_be_written_as_anywhere_else(write, number):
    assert load_config(write(GOOD.replace("max_minutes: 2", f"learning_rate: {number}"))).sft.learning_rate == 1e-3
    assert load_config(write(GOOD), [f"fit.learning_rate={number}"]).fit.learning_rate == 1e-3


def test_broken_yaml_names_the_line(write):
    with pytest.raises(UsageError, match="line 2: not valid YAML"):
        load_config(write("name: x\n  environments: ]["))


@pytest.mark.parametrize("text", ["[" * 5_000, "name: &a [*a]\n"])
def test_endless_nesting_is_told(write, text):
    with pytest.raises(UsageError, match=r"nested too deeply|expected `str`"):
        load_config(write(text))


def test_a_misspelt_recipe_offers_the_nearest():
    with pytest.raises(UsageError, match="Did you mean 'quick'"):
        load_config("quik")


def test_overrides_beat_the_file(write):
    config = load_config(write(GOOD), ["sft.max_minutes=7.5", "environments.0.train_tasks=9", "explore.trees=3"])
    assert (config.sft.max_minutes, config.environments[0].train_tasks, config.explore.trees) == (7.5, 9, 3)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("sft.max_minuts=1", "Did you mean 'max_minutes'?"),
        ("stf.max_minutes=1", "Did you mean 'sft'?"),
        ("sft.max_minutes", "is not KEY=VALUE"),
        ("environments.4.name=x", "is not a place in a list of 1"),
        ("sft.max_minutes=soon", "--set: sft.max_minutes: expected `float`, got `str`"),
        ("seed.x=1", "has no keys inside"),
        ("environments=[mze]", "--set: environments.0: expected `object`, got `str`"),
    ],
)
def test_wrong_overrides(write, override, expected):
    with pytest.raises(UsageError) as error:
        load_config(write(GOOD), [override])
    assert expected in str(error.value)
