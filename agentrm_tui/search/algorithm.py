"""What every search algorithm is: settings that start it, say what it needs, and name it in words."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeAlias

import msgspec
from msgspec import Meta

Count: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000)]
"""A number of things; beyond a million nothing would ever come to an end."""

CountOrNone: TypeAlias = Annotated[int, Meta(ge=0, le=1_000_000)]
Finite: TypeAlias = Annotated[float, Meta(ge=-1e300, le=1e300)]
NotNegative: TypeAlias = Annotated[float, Meta(ge=0, le=1e300)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Side: TypeAlias = Annotated[int, Meta(ge=1, le=999)]
Grid: TypeAlias = tuple[Side, Side]
"""Two sizes, written `5x5`."""

Aggregate: TypeAlias = Literal["last", "mean", "min", "sum"]


class RewardFacts(NamedTuple):
    """What settings may depend on: what a reward model's numbers are of, and where its makers would stop.

    Attributes:
        unit: Whether a number judges one step, or the whole trajectory up to it.
        threshold: The reward from which on a trajectory is good enough; None where nobody has chosen one.
    """

    unit: Literal["step", "trajectory"] = "step"
    threshold: float | None = None


class Algorithm(msgspec.Struct, frozen=True, kw_only=True, tag_field="algorithm"):
    """Settings of an algorithm, every field with a default.

    A subclass is one file: fields (described under `Attributes:` of its docstring, from where flags, launcher and help
    take their words), its tag, `start`, and what it says of itself here. `registry.py` lists it in one line.
    """

    summary: ClassVar[str] = ""
    """What it does, in a few words."""

    compares_requests: ClassVar[bool] = False
    """Whether scores of different requests are compared, which a reward model that only orders a group cannot give."""

    @property
    def name(self) -> str:
        """The algorithm's name, as typed."""
        return name_of(type(self))

    @property
    def words(self) -> str:
        """The algorithm and its main numbers in a few words."""
        return self.name

    @property
    def needs_reward(self) -> bool:
        """Whether scores are asked for with these settings."""
        return True

    @property
    def samples(self) -> int:
        """The most replies that are sampled from one node."""
        return 1

    @property
    def merges_states(self) -> bool:
        """Whether equal environment states are looked for, which needs an environment with state keys."""
        return False

    def with_reward(self, reward: RewardFacts) -> Self:
        """These settings as they are with a certain reward model: what was left open is filled in."""
        return self

    def missing(self) -> str:
        """The flag without which the search cannot start; empty where all is there."""
        return ""

    def judges_steps(self) -> str:
        """The flag by which steps are judged one by one, which a judge of trajectories cannot do; empty for none."""
        return ""


def name_of(kind: type[Algorithm]) -> str:
    """The name of an algorithm: its tag."""
    config: Any = kind.__struct_config__
    return str(config.tag)
