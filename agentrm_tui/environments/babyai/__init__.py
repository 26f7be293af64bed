"""BabyAI (arXiv 1810.08272) on the original software, minigrid, as a text environment.

`levels` lists what is offered and what is left out (`EXCLUDED`); `world` keeps the level in play, `sight` what is
seen, `view` puts it into words, `macros` turns words into primitive actions, `mission` measures progress and
strictness, `expert` plays on what was seen, `canvas` draws.

Left out are the levels that the original's own bot does not solve: KeyInBox, the three PutNext…Carrying,
OpenDoorsOrderN2Debug and N4Debug, GoToImpUnlock and UnlockToUnlock; `EXCLUDED` has the reasons.
"""

from __future__ import annotations

from agentrm_tui.environments.babyai.environment import INVALID_LIMIT, BabyAIEnvironment
from agentrm_tui.environments.babyai.levels import EXCLUDED, LEVELS, MIX

__all__ = ["EXCLUDED", "INVALID_LIMIT", "LEVELS", "MIX", "BabyAIEnvironment"]
