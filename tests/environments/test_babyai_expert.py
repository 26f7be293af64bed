"""The expert wins, from the start and from where a careless player left things, and says why in few words."""

from __future__ import annotations

import random
from statistics import fmean

from agentrm_tui.environments.babyai import LEVELS, MIX, BabyAIEnvironment


def run_expert(level: str, seeds: range, noise: float = 0.0) -> list[float]:
    """Outcomes of the expert when a share of its actions is replaced by random valid ones that end nothing."""
    environment = BabyAIEnvironment()
    rng = random.Random(level)
    outcomes = []
    for seed in seeds:
        task = environment.task(f"{level}:{seed}")
        environment.reset(task)
        done = False
        while not done:
            thought, action = environment.expert()
            assert action and len(thought.split()) <= 13, (task.id, thought, action)
            if rng.random() < noise:
                before = environment.snapshot()
                other = rng.choice(environment.valid_actions())
                if environment.step(other).done:
                    environment.restore(before)
                    result = environment.step(action)
                else:
                    continue
            else:
                result = environment.step(action)
            done = result.done
            assert result.valid, (task.id, action, result.text)
        outcomes.append(result.outcome)
    return outcomes


def test_it_wins_the_mix() -> None:
    for level in MIX:
        assert fmean(run_expert(level, range(50_000, 50_050))) >= 0.95, level


def test_it_wins_nearly_everywhere() -> None:
    outcomes = {level: fmean(run_expert(level, range(60_000, 60_005))) for level in LEVELS}
    assert fmean(outcomes.values()) >= 0.95
    assert min(outcomes.values()) >= 0.5, min(outcomes, key=outcomes.__getitem__)


def test_it_recovers_from_careless_steps() -> None:
    for level in ("PutNextLocal", "UnlockLocalDist", "MoveTwoAcrossS5N2", "FindObjS5", "MiniBossLevel"):
        assert fmean(run_expert(level, range(70_000, 70_020), noise=0.2)) >= 0.8, level


def test_it_knows_no_more_than_the_agent() -> None:
    """Its action names only things that the text has named."""
    environment = BabyAIEnvironment()
    named = total = 0
    for seed in range(60):
        task = environment.task(f"{MIX[seed % len(MIX)]}:{80_000 + seed}")
        text = environment.reset(task)
        done = False
        while not done:
            _, action = environment.expert()
            words = action.split()
            thing = next((" ".join(words[i:]) for i in range(len(words)) if words[i] in COLORS), "")
            total += 1
            named += thing in text
            result = environment.step(action)
            text, done = result.text, result.done
    assert named >= 0.98 * total


COLORS = ("red", "green", "blue", "purple", "yellow", "grey")
