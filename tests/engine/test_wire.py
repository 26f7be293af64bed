from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrm_tui.engine.commands import Fork, Override, Pause, Resume, Rewind, Status, Step, Stop, Unprune
from agentrm_tui.engine.wire import (
    Failure,
    FromEngine,
    InFlight,
    LineBuffer,
    Start,
    ToEngine,
    decode_from_engine,
    decode_to_engine,
    encode_line,
)
from agentrm_tui.runs.plan import RunPlan
from agentrm_tui.search.mcts import MCTS

PLAN = RunPlan(environment="maze", tasks=("maze-4:1",), policy="scripted", search=MCTS())


@pytest.mark.parametrize(
    "message",
    [
        Start(PLAN, "/runs/one.jsonl", paused=True, resume=True),
        Pause(),
        Resume(),
        Step("environment"),
        Override("0.1", "Thought: \n\x1b[31m\nAction: \udcff".encode("utf-8", "replace").decode(), "0"),
        Rewind(3, "0"),
        Unprune("0.1.2"),
        Fork(9),
        Stop(),
    ],
)
def test_what_a_link_says_survives_the_wire(message: ToEngine) -> None:
    line = encode_line(message)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert decode_to_engine(line) == message


@pytest.mark.parametrize(
    "message",
    [
        InFlight(Status("paused", "generating", 3, 64, 1.5, "0", "propose", ("0",), {"0": ("move up",)})),
        Failure("no such file", "", 3),
    ],
)
def test_what_an_engine_says_survives_the_wire(message: FromEngine) -> None:
    assert decode_from_engine(encode_line(message)) == message


def test_a_foreign_line_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_to_engine(b'{"type": "explode"}')


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line)), st.integers(1, 7))
def test_lines_come_out_whole_however_they_were_cut(lines: list[bytes], size: int) -> None:
    stream = b"".join(line + b"\n" for line in lines) + b"unfinished"
    buffer = LineBuffer()
    out = [line for at in range(0, len(stream), size) for line in buffer.feed(stream[at : at + size])]
    assert out == lines
    assert buffer.feed(b" business\n") == [b"unfinished business"]
