"""How a policy behind servers is named: its addresses, and behind `#` the model and what the servers cannot do."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import msgspec

from agentrm_models.errors import UsageError
from agentrm_models.server_spec import ServedSpec, read_served_spec

ADDRESS_FORM = "http://HOST:PORT/v1[,http://OTHER/v1][#MODEL][&OPTION=VALUE]"
"""How addresses are written, for remedies."""

YesNo: TypeAlias = Literal["yes", "no"]


class Quirks(msgspec.Struct, frozen=True):
    """What may be written behind the model's name, as `&key=value`; servers never see it.

    Attributes:
        seed, n, logprobs, stop, temperature, top_p: `no` leaves a parameter out of requests (without `n`, each reply is
            asked for by itself; without `stop`, replies are cut here).
        max_tokens: `no` leaves the limit of a reply out; `max_completion_tokens` is its newer name.
        neutral: `no` leaves a server the samplers that it adds by itself (top_k, min_p, penalties), which are switched
            off where the server is known.
        system: `no` puts the instruction into the first user message.
        list: `no` does not ask which models there are.
        api: `completions` sends one text, for base models, which have no chat template.
        timeout: Seconds until an answer has to be there as a whole.
        patience: Seconds over which a server that is busy, loading or restarting is asked again.
    """

    seed: YesNo = "yes"
    n: YesNo = "yes"
    logprobs: YesNo = "yes"
    stop: YesNo = "yes"
    temperature: YesNo = "yes"
    top_p: YesNo = "yes"
    max_tokens: Literal["yes", "no", "max_completion_tokens"] = "yes"
    neutral: YesNo = "yes"
    system: YesNo = "yes"
    list: YesNo = "yes"
    api: Literal["chat", "completions"] = "chat"
    timeout: float = 300.0
    patience: float = 600.0


def read_served_policy(spec: str) -> ServedSpec[Quirks]:
    """Take the spec of a served policy apart.

    Raises:
        UsageError: It holds what is no address, a secret, or no option.
    """
    served = read_served_spec(spec, ADDRESS_FORM, Quirks)
    quirks = served.options
    if not (math.isfinite(quirks.timeout) and math.isfinite(quirks.patience)):
        raise UsageError("options timeout and patience are numbers of seconds")
    if quirks.timeout <= 0 or quirks.patience < 0:
        raise UsageError("option timeout must be above 0, and patience not below 0")
    if quirks.list == "no" and not served.model:
        raise UsageError("option list=no leaves open which model is meant", "Put #MODEL behind the address.")
    return served
