"""How a reward model behind a server is named: its address, and behind `#` the model and options."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from agentrm_models.errors import DataError, UsageError
from agentrm_models.messages import PromptStyle
from agentrm_models.rewards.served.apis import ApiName
from agentrm_models.server_spec import ServedSpec, read_served_spec
from agentrm_models.spelling import shown_name
from agentrm_models.typed_path import typed_path

ADDRESS_FORM = "http://HOST:PORT[#MODEL][&api=…][&folder=PATH][&output=NAME]"
"""How the address of a reward model is written, for remedies."""


class RewardOptions(msgspec.Struct, frozen=True):
    """What may be written behind the model's name, as `&key=value`; servers never see it.

    Attributes:
        api: How the server is asked; empty finds out.
        folder: A folder with the model's tokenizer and chat template, so that exactly those tokens are scored which a
            local model reads. With its weights the first scores are compared with the folder's own.
        output: Of several outputs the one that is the reward, by index or name.
        values: `probabilities` turns what the server gives into log-odds, `raw` takes it as it is; empty finds out.
        parity: `no` compares nothing with the folder's weights.
        prompt: Which instruction the model is given.
        timeout: Seconds until an answer has to be there as a whole.
        patience: Seconds over which a server that is busy, loading or restarting is asked again.
    """

    api: Literal["", "classify", "pooling", "sglang", "predict", "rerank", "embeddings"] = ""
    folder: str = ""
    output: str = ""
    values: Literal["", "raw", "probabilities"] = ""
    parity: Literal["yes", "no"] = "yes"
    prompt: Literal["", "short", "full"] = ""
    timeout: float = 300.0
    patience: float = 600.0

    @property
    def api_name(self) -> ApiName | None:
        """The API that was named."""
        return self.api or None

    @property
    def prompt_style(self) -> PromptStyle | None:
        """The instruction that was named."""
        return self.prompt or None


def read_served_reward(spec: str) -> ServedSpec[RewardOptions]:
    """Take the spec of a served reward model apart.

    Raises:
        UsageError: It holds what is no address, a secret, several addresses, or no option.
        DataError: The folder is not there.
    """
    served = read_served_spec(spec, ADDRESS_FORM, RewardOptions)
    options = served.options
    if len(served.servers) > 1:
        raise UsageError(f"{served.place}: a reward model has one address", "Put a load balancer before several.")
    if not (0 < options.timeout < math.inf and 0 <= options.patience < math.inf):
        raise UsageError("options timeout and patience are numbers of seconds; timeout is above 0")
    if options.folder and not typed_path(options.folder).is_dir():
        raise DataError(f"{shown_name(options.folder)} (folder=…) is no folder")
    return served
