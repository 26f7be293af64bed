"""The BabyAI levels that are offered, which of them are strict, and the ones left out with the reason."""

from __future__ import annotations

import contextlib
import io
import os
from types import MappingProxyType
from typing import Any, NamedTuple


class Level(NamedTuple):
    """One level of the original.

    Attributes:
        name: The gym id without `BabyAI-` and version.
        version: The gym id's version.
        step_limit: Agent steps: about two to three times the expert's median.
        strict: Going to, picking up or putting something next to a wrong object fails the mission.
        strict_doors: So does going to or opening a wrong door; only where nothing has to be searched for.
    """

    name: str
    version: int
    step_limit: int
    strict: bool = True
    strict_doors: bool = False

    @property
    def gym_id(self) -> str:
        """The id in gymnasium's registry."""
        return f"BabyAI-{self.name}-v{self.version}"


_STEP_LIMITS: dict[int, str] = {
    6: """
        GoToRedBallGrey GoToRedBall GoToRedBallNoDists GoToObj GoToObjS4 GoToObjS6 GoToLocal GoToLocalS5N2
        GoToLocalS6N2 GoToLocalS6N3 GoToLocalS6N4 GoToLocalS7N4 GoToLocalS7N5 GoToLocalS8N2 GoToLocalS8N3
        GoToLocalS8N4 GoToLocalS8N5 GoToLocalS8N6 GoToLocalS8N7 GoToRedBlueBall GoToDoor GoToObjDoor OpenRedDoor
        OpenDoor OpenDoorDebug OpenDoorColor OpenDoorLoc PickupLoc PickupDist PickupDistDebug ActionObjDoor
        OneRoomS8
    """,
    7: """
        OneRoomS12
    """,
    8: """
        OpenTwoDoors OpenRedBlueDoors OpenRedBlueDoorsDebug OpenDoorsOrderN2 OpenDoorsOrderN4 PutNextLocal
        PutNextLocalS5N3 PutNextLocalS6N4 PutNextS4N1 PutNextS5N1 PutNextS5N2 PutNextS6N3 PutNextS7N4
        UnlockLocal OneRoomS16
    """,
    9: """
        UnlockLocalDist
    """,
    10: """
        GoToObjMazeS4R2 GoToSeqS5R2 OneRoomS20
    """,
    13: """
        UnlockPickup UnlockPickupDist MoveTwoAcrossS5N2 MoveTwoAcrossS8N9
    """,
    14: """
        PickupAbove
    """,
    15: """
        GoToObjMazeS5 FindObjS5 KeyCorridorS3R1 MiniBossLevel
    """,
    17: """
        Synth SynthLoc
    """,
    18: """
        BlockedUnlockPickup Open
    """,
    20: """
        GoToObjMazeS4 FindObjS6 KeyCorridorS3R2 SynthS5R2 GoToObjMazeS6 Unlock
    """,
    21: """
        GoToObjMazeOpen
    """,
    23: """
        GoTo GoToOpen GoToObjMazeS7 GoToSeq Pickup UnblockPickup
    """,
    25: """
        GoToObjMaze BossLevelNoUnlock
    """,
    26: """
        SynthSeq BossLevel
    """,
    28: """
        FindObjS7 KeyCorridorS3R3 KeyCorridorS4R3 KeyCorridorS5R3
    """,
    30: """
        KeyCorridor KeyCorridorS6R3
    """,
}
_LENIENT = """
    UnblockPickup BlockedUnlockPickup MoveTwoAcrossS8N9 SynthS5R2 Synth SynthLoc SynthSeq MiniBossLevel
    BossLevel BossLevelNoUnlock
"""
"""Levels in which things may have to be moved out of the way first."""
_STRICT_DOORS = """
    GoToDoor GoToObjDoor ActionObjDoor OpenRedDoor OpenDoor OpenDoorDebug OpenDoorColor OpenDoorLoc OpenTwoDoors
    OpenRedBlueDoors OpenRedBlueDoorsDebug OpenDoorsOrderN2 OpenDoorsOrderN4
"""
"""Levels about the doors of the starting room."""
_VERSIONS = {"GoToObjS6": 1}

LEVELS: MappingProxyType[str, Level] = MappingProxyType(
    {
        name: Level(name, _VERSIONS.get(name, 0), limit, name not in _LENIENT.split(), name in _STRICT_DOORS.split())
        for limit, names in sorted(_STEP_LIMITS.items())
        for name in names.split()
    }
)
"""All levels by name, in a fixed order."""

MIX = (
    "PickupLoc",
    "UnlockPickupDist",
    "PickupDist",
    "OpenDoorLoc",
    "GoToSeqS5R2",
    "ActionObjDoor",
    "PutNextS7N4",
    "UnlockLocalDist",
)
"""The levels that `tasks` cycles through."""

EXCLUDED: MappingProxyType[str, str] = MappingProxyType(
    {
        "KeyInBox": "the original's bot stops with an error: it does not look into boxes",
        "PutNextS5N2Carrying": "the original's bot stops with an error when the episode starts with a thing in hand",
        "PutNextS6N3Carrying": "the original's bot stops with an error when the episode starts with a thing in hand",
        "PutNextS7N4Carrying": "the original's bot stops with an error when the episode starts with a thing in hand",
        "OpenDoorsOrderN2Debug": "the original's bot opens a door it may not open in 13 of 20 episodes",
        "OpenDoorsOrderN4Debug": "the original's bot opens a door it may not open in 18 of 20 episodes",
        "GoToImpUnlock": "the original's bot does not come to an end in 2 of 20 episodes",
        "UnlockToUnlock": "the original's bot does not come to an end in 4 of 18 episodes",
    }
)
"""The levels that are left out, with the reason (seeds from 0 on, minigrid 3.2.0)."""


def generate(level: Level, seed: int) -> Any:
    """Build a level's original environment, without gymnasium's wrappers, and reset it with a seed."""
    # pygame greets on stdout when minigrid imports it.
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    import minigrid  # noqa: F401
    from gymnasium.envs.registration import load_env_creator, registry

    spec = registry[level.gym_id]
    # The generator prints each rejected sample.
    with contextlib.redirect_stdout(io.StringIO()):
        env = load_env_creator(str(spec.entry_point))(**spec.kwargs)
        env.reset(seed=seed)
    return env
