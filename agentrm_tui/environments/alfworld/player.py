"""The engine's own process: a line of JSON in, a line of JSON out, until the input ends.

A process of its own, because the engine's translator writes over `sys.argv` and takes `sys.stdout` for itself while it
works, and because its planner's library ends the whole process where it fails. Started with `python -m`.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from agentrm_tui.environments.alfworld.games import Game
from agentrm_tui.environments.alfworld.messages import Answer, Begin, Failed, Gone, Request, Take

if TYPE_CHECKING:
    from agentrm_tui.environments.alfworld.engine import Loaded

GAMES_KEPT = 8
"""Games that are loaded at a time."""
_IMPOSSIBLE = ("val1",)
"""The name that Fast Downward gives to the only value in what it puts in place of a problem without a solution."""


class Player:
    """Games by their key, those used last."""

    def __init__(self) -> None:
        self._games: OrderedDict[str, Loaded] = OrderedDict()

    def answer(self, request: Request) -> Answer:
        """What the engine says; whatever goes wrong in it is told in one line."""
        try:
            match request:
                case Begin(game=game):
                    return self._load(game).first
                case Take(game=key, state=state, command=command):
                    loaded = self._games.get(key)
                    if loaded is None or loaded.full:
                        return Gone()
                    return loaded.take(state, command) or Gone()
        except ImportError as error:
            return Failed(str(error), missing=True)
        except KeyError as error:
            return Failed(f"KeyError: {error}", impossible=error.args == _IMPOSSIBLE)
        except Exception as error:
            return Failed(" ".join(f"{type(error).__name__}: {error}".split())[:300])

    def _load(self, game: Game) -> Loaded:
        loaded = self._games.pop(game.key, None)
        if loaded is not None and loaded.full:
            loaded.close()
            loaded = None
        if loaded is None:
            from agentrm_tui.environments.alfworld.engine import Loaded

            while len(self._games) >= GAMES_KEPT:
                self._games.popitem(last=False)[1].close()
            loaded = Loaded(game)
        self._games[game.key] = loaded
        return loaded


def serve(lines: Iterable[bytes], out: BinaryIO) -> None:
    """Answer line by line."""
    player = Player()
    decode = msgspec.json.Decoder(Request).decode
    for line in lines:
        out.write(msgspec.json.encode(player.answer(decode(line))) + b"\n")
        out.flush()


def main() -> None:
    """Answer on what was the standard output; what the engine prints goes nowhere."""
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    with os.fdopen(0, "rb", closefd=False) as requests:
        serve(requests, answers)
    # The planner's library does not survive an orderly exit.
    os._exit(0)


if __name__ == "__main__":
    main()
