from __future__ import annotations

import math

import pytest
import torch

from agentrm_models.errors import DataError, UsageError
from agentrm_models.policies.base import Decoding, NoiseKey
from agentrm_models.sampling import NoiseStream, check_decoding, choose_tokens

KEY = NoiseKey(seed=7, task="maze:3", node="0.1")


def test_noise_depends_on_every_part_of_its_key_and_on_nothing_else() -> None:
    streams = [
        NoiseStream(KEY, 0),
        NoiseStream(KEY, 1),
        NoiseStream(KEY, 0, attempt=1),
        NoiseStream(NoiseKey(8, "maze:3", "0.1"), 0),
        NoiseStream(NoiseKey(7, "maze:4", "0.1"), 0),
        NoiseStream(NoiseKey(7, "maze:3", "0.2"), 0),
    ]
    drawn = [stream.uniform(position) for stream in streams for position in range(50)]
    assert len(set(drawn)) == len(drawn)
    assert NoiseStream(KEY, 0).uniform(3) == drawn[3]
    assert all(0 <= number < 1 for number in drawn)


def test_temperature_zero_takes_the_lowest_id_on_ties() -> None:
    logits = torch.tensor([[0.0, 2.0, 2.0, 1.0], [5.0, 5.0, 5.0, 5.0]])
    ids, values = choose_tokens(logits, [0, 0], [1, 1], [0.9, 0.9])
    assert ids == [1, 0]
    assert values[1] == pytest.approx(math.log(0.25))


def test_samples_follow_the_distribution() -> None:
    logits = torch.tensor([1.0, 0.0, -1.0, 0.5, -2.0, 2.0], dtype=torch.float64)
    n, temperature = 20_000, 0.7
    uniforms = [NoiseStream(KEY, candidate).uniform(0) for candidate in range(n)]
    ids, values = choose_tokens(logits.expand(n, -1), [temperature] * n, [1.0] * n, uniforms)
    expected = torch.softmax(logits / temperature, 0) * n
    seen = torch.bincount(torch.tensor(ids), minlength=6)
    chi_square = float(((seen - expected) ** 2 / expected).sum())
    assert chi_square < 20.5  # 0.999 quantile at 5 degrees of freedom
    assert values[0] == pytest.approx(float(torch.log_softmax(logits, 0)[ids[0]]))


def test_rows_do_not_influence_each_other() -> None:
    logits = torch.randn(7, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    heat, top, noise = [0.7, 0, 1.5, 1, 0.7, 0, 2], [1, 1, 0.5, 0.9, 1, 1, 0.3], [k / 7 for k in range(7)]
    together = choose_tokens(logits, heat, top, noise)
    alone = [choose_tokens(logits[k : k + 1], heat[k : k + 1], top[k : k + 1], noise[k : k + 1]) for k in range(7)]
    assert together[0] == [ids[0] for ids, _ in alone]
    assert together[1] == [values[0] for _, values in alone]


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64).log()
    for top_p, kept in ((0.4, {0}), (0.6, {0, 1}), (0.9, {0, 1, 2}), (1.0, {0, 1, 2, 3})):
        uniforms = [k / 200 for k in range(200)]
        ids, _ = choose_tokens(logits.expand(200, -1), [1.0] * 200, [top_p] * 200, uniforms)
        assert set(ids) == kept


def test_impossible_tokens_are_never_drawn() -> None:
    logits = torch.tensor([[-math.inf, 0.0, -math.inf, 0.0, -math.inf]]).expand(2, -1)
    ids, _ = choose_tokens(logits, [1, 1], [1, 1], [0.0, 1 - 2**-53])
    assert ids == [1, 3]


@pytest.mark.parametrize(
    ("decoding", "n"),
    [
        (Decoding(temperature=0), 2),
        (Decoding(temperature=-1), 1),
        (Decoding(temperature=math.nan), 1),
        (Decoding(top_p=0), 1),
        (Decoding(max_tokens=0), 1),
    ],
)
def test_settings_that_make_no_sense_are_refused(decoding: Decoding, n: int) -> None:
    with pytest.raises(UsageError):
        check_decoding(decoding, n)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("values", [[float("nan"), 1.0], [1.0, float("inf")], [float("-inf")] * 2])
def test_outputs_that_are_no_numbers_are_named(values: list[float], temperature: float) -> None:
    with pytest.raises(DataError, match="its weights are damaged"):
        choose_tokens(torch.tensor([[0.0, 1.0], values]), [temperature] * 2, [1.0] * 2, [0.5] * 2)
