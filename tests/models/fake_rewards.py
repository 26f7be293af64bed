"""Servers of reward models on the loopback interface, each with the manners of one kind."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Kind = Literal["vllm", "sglang", "tei", "llama", "mute"]
Outputs = Callable[[Sequence[int]], list[float]]


class FakeRewardServer(ThreadingHTTPServer):
    """Gives the outputs of a function of token ids.

    Attributes:
        longest: Tokens it reads; 0 where there is no limit.
        raises_activation: It does as it is asked about activations; `always` gives probabilities in any case.
        change: Applied to every answer.
    """

    daemon_threads = True

    def __init__(self, kind: Kind, outputs: Outputs, tokenizer: Any) -> None:
        super().__init__(("127.0.0.1", 0), FakeRewardHandler)
        self.kind = kind
        self.outputs = outputs
        self.tokenizer = tokenizer
        self.longest = 0
        self.tells_window = True
        self.cuts = False
        self.always_probabilities = False
        self.knows = "use_activation"
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.keys: list[str | None] = []
        self.busy: list[int] = []
        self.change: Callable[[Any], Any] = lambda answer: answer

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def described(self, path: str) -> Any:
        """What the server says of itself at a path; None where it says nothing."""
        window = self.longest if self.tells_window else 0
        models = {"data": [{"id": "rm", **({"max_model_len": window} if window else {})}]}
        known: dict[Kind, dict[str, Any]] = {
            "vllm": {"/openapi.json": {"paths": {"/classify": {}, "/pooling": {}}}, "/v1/models": models},
            "sglang": {"/openapi.json": {"paths": {"/classify": {}, "/get_model_info": {}}}, "/v1/models": models},
            "tei": {
                "/info": {
                    "model_type": {"classifier": {"id2label": {"0": "bad", "1": "good"}}},
                    "max_input_length": window,
                }
            },
            "llama": {"/props": {"default_generation_settings": {"n_ctx": window}}, "/v1/models": models},
            "mute": {},
        }
        return known[self.kind].get(path)

    def texts(self, body: dict[str, Any]) -> list[list[int]]:
        """The token ids of what it is given."""
        match self.kind:
            case "vllm" if "messages" in body:
                rows = body["messages"]
                ids = self.tokenizer.apply_chat_template(rows, add_generation_prompt=body["add_generation_prompt"])
                return [list(ids["input_ids"] if not isinstance(ids, list) else ids)]
            case "vllm":
                return [list(ids) for ids in body["input"]]
            case "sglang":
                return [list(ids) for ids in body["input_ids"]]
            case "tei":
                return [self.tokenizer.encode(text) for (text,) in body["inputs"]]
            case _ if "documents" in body:
                return [self.tokenizer.encode(text, add_special_tokens=False) for text in body["documents"]]
            case _:
                return [list(ids) for ids in body["input"]]

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """A status and a record."""
        texts = self.texts(body)
        if self.longest and any(len(ids) > self.longest for ids in texts):
            if not self.cuts:
                words = f"This model's maximum context length is {self.longest} tokens, your prompt is longer."
                return 400, {"error": {"message": words, "code": 400}}
            texts = [ids[-self.longest :] for ids in texts]
        rows = [self.outputs(ids) for ids in texts]
        raw = body.get("raw_scores") or body.get(self.knows) is False or self.kind in ("sglang", "llama")
        if self.always_probabilities or not raw:
            rows = [_activated(row) for row in rows]
        counted = {"prompt_tokens": sum(map(len, texts))}
        match self.kind:
            case "vllm":
                key = "probs" if path == "/classify" else "data"
                return 200, {"data": [{"index": at, key: row} for at, row in enumerate(rows)], "usage": counted}
            case "sglang":
                counts = [{"prompt_tokens": len(ids)} for ids in texts]
                return 200, [{"embedding": row, "meta_info": each} for row, each in zip(rows, counts, strict=True)]
            case "tei":
                labels = ["bad", "good"][: len(rows[0])]
                named = [[{"score": x, "label": label} for x, label in zip(row, labels, strict=True)] for row in rows]
                return 200, [sorted(each, key=lambda entry: -float(entry["score"])) for each in named]  # type: ignore[arg-type]
            case _ if path == "/rerank":
                found = [{"index": at, "relevance_score": row[0]} for at, row in enumerate(rows)]
                return 200, {"results": sorted(found, key=lambda entry: -entry["relevance_score"]), "usage": counted}
            case _:
                norm = 1.0 if body.get("embd_normalize") == -1 else abs(rows[0][0])
                return 200, [{"index": at, "embedding": [[x / norm for x in row]]} for at, row in enumerate(rows)]


def _activated(row: list[float]) -> list[float]:
    if len(row) == 1:
        return [1 / (1 + math.exp(-row[0]))]
    total = sum(map(math.exp, row))
    return [math.exp(value) / total for value in row]


class FakeRewardHandler(BaseHTTPRequestHandler):
    server: FakeRewardServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        found = self.server.described(self.path)
        self.say(404 if found is None else 200, {"detail": "Not Found"} if found is None else found)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body))
        self.server.keys.append(self.headers.get("Authorization"))
        if self.server.busy:
            self.say(self.server.busy.pop(), {"error": "busy"})
            return
        status, answer = self.server.answer(self.path, body)
        self.say(status, self.server.change(answer) if status == 200 else answer)

    def say(self, status: int, answer: Any) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serving_rewards(kind: Kind, outputs: Outputs, tokenizer: Any) -> Iterator[FakeRewardServer]:
    """A server that ends with the block."""
    server = FakeRewardServer(kind, outputs, tokenizer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
