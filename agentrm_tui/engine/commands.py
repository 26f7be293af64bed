"""What the screen may ask of the engine, and what the engine says besides the run file.

Commands and statuses are JSON lines over a private socket pair. The run file is the record; a status is only what is in
flight now, latest wins.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from agentrm_tui.search.tree import NodeId


class Pause(msgspec.Struct, frozen=True, tag="pause"):
    """Stop at the next token or request."""


class Resume(msgspec.Struct, frozen=True, tag="resume"):
    """Go on."""


class Step(msgspec.Struct, frozen=True, tag="step"):
    """Go on until the next request is answered, or until the environment has acted; then pause."""

    until: Literal["request", "environment"] = "request"


class Override(msgspec.Struct, frozen=True, tag="override"):
    """Play an own reply at a node that has been acted: it becomes the node's only child in the search's next proposal.

    The other nodes of that proposal get no candidates, so the search goes on from this move alone. Where the search is
    past that proposal, the episode is rewound to it first.
    """

    node: NodeId
    reply: str
    episode: str = ""


class Rewind(msgspec.Struct, frozen=True, tag="rewind"):
    """Go back to just after event number `to` (0-based in the run file) and pause; later nodes are abandoned."""

    to: int
    episode: str = ""


class Unprune(msgspec.Struct, frozen=True, tag="unprune"):
    """Go back to where this node was cut, keep it this time, and pause."""

    node: NodeId
    episode: str = ""


class Fork(msgspec.Struct, frozen=True, tag="fork"):
    """Start a new episode that shares this one's events up to number `to`, and pause in it."""

    to: int
    episode: str = ""


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """End the run; what was done stays in the file, which can be resumed."""


Command: TypeAlias = Pause | Resume | Step | Override | Rewind | Unprune | Fork | Stop
Phase: TypeAlias = Literal["starting", "loading", "running", "paused", "waiting", "ended", "finished", "failed"]


class Status(msgspec.Struct, frozen=True):
    """What the engine is doing now.

    Attributes:
        phase: `waiting` means a person has to answer (policy `human`); `ended` that the episode has ended and the
            engine waits, so that one can still go back.
        what: Words for the budget line only, for example `policy bundled:small` or `generating`.
        done, total: Progress inside a model call (tokens); total 0 if unknown.
        since: `time.time()` when this phase or request began, in seconds.
        episode: The episode that is being driven.
        request: The kind of the request that comes next or is in flight, for example `propose`.
        nodes: The nodes of that request.
        actions: Valid actions of the request's nodes, given while paused or waiting before a proposal, where the
            environment offers them.
    """

    phase: Phase
    what: str = ""
    done: int = 0
    total: int = 0
    since: float = 0.0
    episode: str = ""
    request: str = ""
    nodes: tuple[NodeId, ...] = ()
    actions: dict[NodeId, tuple[str, ...]] = {}
