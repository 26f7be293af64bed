"""Which server answers at an address, which model it serves, how much that reads, and what its outputs are called."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from agentrm_models.errors import DataError, UsageError
from agentrm_models.http import HttpClient
from agentrm_models.http_failures import StatusError
from agentrm_models.policies.openai_answers import ServedModel, find_model, read_models
from agentrm_models.rewards.served.apis import APIS, Api, ApiName
from agentrm_models.spelling import shown_name

_ABSENT = frozenset({400, 404, 405, 406, 410, 415, 422, 500, 501})
"""Statuses of servers that do not know a path."""

_NAMES = ", ".join(f"#api={api.name} ({api.server})" for api in APIS.values())


class Server(NamedTuple):
    """A server that was recognised.

    Attributes:
        apis: The ways in which it may be asked, the likeliest first.
        model: The model's name there; empty where it has none.
        window: Tokens the model reads; 0 where the server does not tell.
        labels: Names of its outputs; empty where the server does not tell.
    """

    apis: tuple[Api, ...]
    model: str = ""
    window: int = 0
    labels: tuple[str, ...] = ()


def find_server(http: HttpClient, where: str, model: str, api: ApiName | None) -> Server:
    """Ask a server what it is.

    Args:
        where: Its address, for messages.
        model: The name of the model; empty takes the only one.
        api: How it is asked, where a person said so.

    Raises:
        UsageError: It is not known how to ask it, or there is no such model, or several and no name.
        DataError: It cannot be reached.
    """
    apis = (APIS[api],) if api else _detected(http, where)
    if apis[0].server == "Text Embeddings Inference":
        return _text_embeddings(_asked(http, "/info"), apis)
    served = _choose(_models(http, where), model, where)
    window = served.window
    if apis[0].server == "llama-server":
        window = _whole(_asked(http, "/props"), "default_generation_settings", "n_ctx") or window
    return Server(apis, served.id, window)


def _detected(http: HttpClient, where: str) -> tuple[Api, ...]:
    """The ways to ask the server that these signs are of."""
    described = _asked(http, "/openapi.json").get("paths")
    paths = described if isinstance(described, dict) else {}
    if "/get_model_info" in paths or "/model_info" in paths or "model_path" in _asked(http, "/get_model_info"):
        return (APIS["sglang"],)
    if "/classify" in paths or "/pooling" in paths:
        return tuple(APIS[name] for name in ("classify", "pooling") if f"/{name}" in paths)
    if "model_type" in (info := _asked(http, "/info")):
        kind = info["model_type"]
        if isinstance(kind, dict) and "classifier" not in kind and "reranker" not in kind:
            raise UsageError(f"{where} serves no classifier, but {', '.join(map(shown_name, kind))}")
        return (APIS["predict"],)
    if "default_generation_settings" in _asked(http, "/props"):
        return (APIS["rerank"], APIS["embeddings"])
    raise UsageError(
        f"{where} does not tell how a reward model is asked there", f"Name it behind the address: {_NAMES}."
    )


def _asked(http: HttpClient, path: str) -> dict[str, Any]:
    """A record that a server gives at a path; empty where it gives none."""
    try:
        found = json.loads(http.get(path))
    except StatusError as refusal:
        if refusal.status in _ABSENT:
            return {}
        raise explained(refusal) from None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def explained(refusal: StatusError) -> UsageError | DataError:
    """What an error status means, where it has a remedy."""
    if refusal.status in (401, 403):
        return UsageError(f"{refusal.cause}", "Set OPENAI_API_KEY to the server's key.")
    return refusal


def _models(http: HttpClient, where: str) -> list[ServedModel]:
    try:
        return read_models(http.get("/v1/models"), where)
    except StatusError as refusal:
        if refusal.status in _ABSENT:
            return []
        raise explained(refusal) from None


def _choose(models: list[ServedModel], name: str, where: str) -> ServedModel:
    """The model of a name, or the only one; a server without a list has any."""
    return find_model(models, name, where) if models else ServedModel(name)


def _text_embeddings(info: Mapping[str, Any], apis: tuple[Api, ...]) -> Server:
    """What Text Embeddings Inference says of itself."""
    kind = info.get("model_type")
    kind = next(iter(kind.values()), {}) if isinstance(kind, dict) else {}
    names = kind.get("id2label") if isinstance(kind, dict) else None
    return Server(apis, window=_whole(info, "max_input_length"), labels=ordered_labels(names))


def ordered_labels(names: object) -> tuple[str, ...]:
    """The names in an `id2label`, in the order of the outputs."""
    if not isinstance(names, dict) or not all(str(key).isdecimal() for key in names):
        return ()
    return tuple(str(names[key]) for key in sorted(names, key=int))


def _whole(found: Mapping[str, Any], *keys: str) -> int:
    """A whole number inside records; 0 where there is none."""
    value: Any = found
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, int) and value > 0 else 0
