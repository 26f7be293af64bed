"""The one function of environments whose actions are text, described by what their instruction says."""

from __future__ import annotations

import re
from functools import lru_cache

from agentrm_models.functions import OneFunction

_EXAMPLE = re.compile(r"^Action: (?!\.\.\.)(\S.*)$", re.MULTILINE)


@lru_cache(maxsize=64)
def one_function(instruction: str) -> OneFunction:
    """`act(action)`, with the example that an instruction ends with, if it has one."""
    examples = _EXAMPLE.findall(instruction)
    return OneFunction("Take one action.", examples[-1].strip() if examples else "")
