"""An endpoint on a free port of loopback, with the models of a test, for the length of a block."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
from fake_chat import FakeChat, FakeTaste, opened_run

from agentrm_tui.runs.events import AnyEvent
from agentrm_tui.serve.access import Access
from agentrm_tui.serve.rounds import RoundControl
from agentrm_tui.serve.server import Endpoint, answer, bind

SECONDS = 30.0
"""After which a test that waits has failed."""


class Serving(NamedTuple):
    """What a test can reach."""

    base: str
    http: httpx2.Client
    policy: Any
    events: list[AnyEvent]
    path: Path

    def chat(self, *messages: str, **fields: Any) -> httpx2.Response:
        """Post a chat request; messages take turns, the user's first."""
        roles = ("user", "assistant")
        written = [{"role": roles[number % 2], "content": text} for number, text in enumerate(messages)]
        return self.http.post("/v1/chat/completions", json={"model": "fake", "messages": written, **fields})


@contextmanager
def serving(path: Path, policy: Any = None, key: str = "", **fields: Any) -> Iterator[Serving]:
    """Serve in a thread of its own; `fields` are those of `Endpoint`, and `parallel`."""
    policy, events = policy or FakeChat(), list[AnyEvent]()
    control, ready = RoundControl(), threading.Event()
    plan = {"parallel": fields.pop("parallel", 4)}
    failures: list[BaseException] = []
    with closing(bind("127.0.0.1", 0)) as bound:
        endpoint = Endpoint("127.0.0.1", 0, Access(key, True), **{"samples": 4, **fields})

        def drive() -> None:
            try:
                with opened_run(path, policy, FakeTaste(), **plan) as opened:
                    answer(opened, bound, endpoint, control, events.append, ready.set)
            except BaseException as error:
                failures.append(error)
            finally:
                ready.set()

        thread = threading.Thread(target=drive, name="models")
        thread.start()
        try:
            assert ready.wait(SECONDS)
            assert not failures, failures
            base = f"http://127.0.0.1:{bound.getsockname()[1]}"
            headers = {"authorization": f"Bearer {key}"} if key else {}
            with httpx2.Client(base_url=base, timeout=SECONDS, trust_env=False, headers=headers) as http:
                yield Serving(base, http, policy, events, path)
        finally:
            control.stopping = True
            thread.join(SECONDS)
            assert not thread.is_alive()
    assert not failures, failures
