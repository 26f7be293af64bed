"""How whoever drives a run steps in: hooks that may block, and directives that change what happens next."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

from agentrm_models.errors import InterruptedRun, UsageError
from agentrm_models.usage import Progress
from agentrm_tui.search.requests import Request
from agentrm_tui.search.tree import NodeId


class PlayMove(msgspec.Struct, frozen=True):
    """Play an own reply at an acted node: it becomes the node's only child, and the search goes on from it alone.

    Where the search is past the node's proposal, the episode is rewound to it; where it has not come there yet, the
    move waits. A reply without `Action:` is taken as the action itself.
    """

    node: NodeId
    reply: str
    episode: str = ""


class RewindTo(msgspec.Struct, frozen=True):
    """Go back to just after event number `to`."""

    to: int
    episode: str = ""


class KeepNode(msgspec.Struct, frozen=True):
    """Go back to where a node was cut, and keep it this time."""

    node: NodeId
    episode: str = ""


class ForkAt(msgspec.Struct, frozen=True):
    """Start an episode that shares the events up to number `to`; its parent waits until the fork has ended."""

    to: int
    episode: str = ""


Directive: TypeAlias = PlayMove | RewindTo | KeepNode | ForkAt
"""Without an episode it means the one whose request is pending."""


class CallAbandoned(InterruptedRun):
    """Raised by `Control.progress` to give up a model call; nothing is recorded, `before_request` is asked again."""


class Pending(NamedTuple):
    """A request that is about to be answered.

    Attributes:
        valid_actions: Valid actions of an acted node; empty where the environment does not list them. May replay.
    """

    episode: str
    request: Request
    valid_actions: Callable[[NodeId], tuple[str, ...]]


class Control(Protocol):
    """Hooks of the one who drives; every hook may block and may raise `InterruptedRun` to stop the run."""

    def before_request(self, pending: Pending) -> Directive | None:
        """Called before each request is answered; called again after a directive was carried out."""
        ...

    def await_move(self, pending: Pending) -> Directive:
        """Called instead of an interactive policy: wait for the person's directive, as a rule a `PlayMove`."""
        ...

    def progress(self, progress: Progress) -> None:
        """Called between the tokens or batches of a model call; may raise `CallAbandoned`."""
        ...

    def after_episode(self, episode: str) -> Directive | None:
        """Called when an episode has ended, before the next one starts in its place."""
        ...


def nobody_there() -> UsageError:
    """Why an interactive policy cannot be run without a screen."""
    return UsageError("the policy 'human' needs a person at a screen", "Use agentrm-tui play, in a terminal.")


class RunFreely:
    """Nobody steps in: the default."""

    def before_request(self, pending: Pending) -> Directive | None:
        """Go on."""
        return None

    def await_move(self, pending: Pending) -> Directive:
        """Refuse: nobody is there to answer."""
        raise nobody_there()

    def progress(self, progress: Progress) -> None:
        """Go on."""

    def after_episode(self, episode: str) -> Directive | None:
        """Go on."""
        return None
