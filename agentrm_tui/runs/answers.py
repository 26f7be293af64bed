"""From a recorded event to the answer that a search is sent: the same for live play, rewinding and resuming."""

from __future__ import annotations

from agentrm_models.errors import DataError
from agentrm_tui.runs import events as ev
from agentrm_tui.search.requests import Act, Answer, Backpropagate, Choose, Propose, Prune, Request, Score


def answers_request(event: ev.AnyEvent) -> bool:
    """Whether an event answers a request; the others only tell about the run."""
    return isinstance(event, ev.Proposed | ev.Scored | ev.Acted | ev.Pruned | ev.Chosen | ev.Backpropagated)


def answer_of(event: ev.AnyEvent) -> Answer:
    """The answer that an event records."""
    match event:
        case ev.Proposed():
            return tuple(tuple(node.node for node in event.nodes if node.parent == asked) for asked in event.asked)
        case ev.Scored():
            return tuple(node for group in event.groups for node in group)
        case ev.Acted():
            return tuple(node.node for node in event.nodes)
        case ev.Pruned():
            return event.nodes
        case _:
            return None


def check_answer(request: Request | None, event: ev.AnyEvent, number: int) -> None:
    """Make sure that a recorded event answers the request of a search that is being fed.

    Raises:
        DataError: It does not: the file was written by another version of the algorithm, or events are missing.
    """
    match request, event:
        case Propose(), ev.Proposed():
            fits = request.nodes == event.asked
        case Score(), ev.Scored():
            wanted = {node for group in request.groups for node in group}
            fits = all(node in wanted for group in event.groups for node in group)
        case Act(), ev.Acted():
            fits = request.nodes == tuple(node.node for node in event.nodes)
        case Prune(), ev.Pruned():
            fits = set(event.nodes) <= set(request.nodes)
        case Choose(), ev.Chosen():
            fits = request.node == event.node
        case Backpropagate(), ev.Backpropagated():
            fits = request.path == event.path
        case _:
            fits = False
    if not fits:
        asked = "nothing more" if request is None else type(request).__name__.lower()
        raise DataError(
            f"event {number} ({type(event).__name__.lower()}) does not answer what the search asks for ({asked})",
            "The run was written by another version of the search and can be replayed but not gone on with.",
        )
