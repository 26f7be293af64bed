"""Where stages keep their work: one folder each, written atomically, finished when `done.json` is there."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals, default_int_handler, getsignal, signal
from typing import Any, Literal, TypeAlias

import msgspec

from agentrm_models.errors import DataError, InterruptedRun, UsageError
from agentrm_trainer.config import Config
from agentrm_trainer.workflow.progress import Display

StageName: TypeAlias = Literal["collect", "sft", "explore", "label", "fit", "evaluate", "report", "export"]
STAGES: tuple[StageName, ...] = ("collect", "sft", "explore", "label", "fit", "evaluate", "report", "export")


class Done(msgspec.Struct, frozen=True):
    """What a finished stage says about itself: `done.json`.

    Attributes:
        digest: Identity of the settings it ran under.
        seed: The pipeline's seed.
        minutes: Time it took, over all its sittings.
        figures: What it measured.
    """

    stage: str
    digest: str
    seed: int
    minutes: float
    figures: dict[str, Any]


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that it is there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(content.encode() if isinstance(content, str) else content)
    partial.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically; structs are written as mappings."""
    write_atomically(path, json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path, kind: Any = Any) -> Any:
    """Read JSON into a type.

    Raises:
        DataError: The file is missing, cut off or something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", "Run the stage before it first.") from None
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def read_json_lines(path: Path, kind: Any, stage: StageName) -> list[Any]:
    """Read the JSON lines that a stage has written.

    Raises:
        DataError: The file is missing or damaged.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist", f"Run the {stage} stage first.")
    try:
        return [msgspec.json.decode(line, type=kind) for line in path.read_bytes().splitlines()]
    except msgspec.DecodeError as error:
        raise DataError(f"{path} is damaged: {error}") from None


def replace_folder(new: Path, final: Path) -> None:
    """Put a completely written folder in the place of an older one; a crash leaves one of the two."""
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.replace(old)
    new.replace(final)
    shutil.rmtree(old, ignore_errors=True)


class StageFolder:
    """One stage's folder: metrics, checkpoint place, and the record that it is finished."""

    def __init__(self, path: Path, name: str, digest: str, seed: int) -> None:
        self.path = path
        self.name = name
        self._digest = digest
        self._seed = seed
        self._started = time.monotonic()
        self._spent_before = 0.0
        self._muted = False

    def mute(self) -> None:
        """Write no more metrics, clock or record: another process does."""
        self._muted = True

    def open(self, resume: bool) -> bool:
        """Prepare the folder; return whether the stage is finished already.

        Raises:
            UsageError: There is earlier work and `resume` was not asked for, or it was made with other settings.
        """
        settings = self.path / "settings.json"
        if settings.exists():
            if read_json(settings)["digest"] != self._digest:
                raise UsageError(
                    f"{self.path} was made with other settings", "Choose another --out, or remove that folder."
                )
            if not resume:
                raise UsageError(
                    f"{self.path} holds earlier work", "Add --resume to go on with it, or choose another --out."
                )
            self._spent_before = self._clock()
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(settings, {"stage": self.name, "digest": self._digest, "seed": self._seed})
        return (self.path / "done.json").exists()

    def _clock(self) -> float:
        clock = self.path / "clock.json"
        return float(read_json(clock)["minutes"]) if clock.exists() else 0.0

    @property
    def minutes(self) -> float:
        """Minutes spent in this stage, earlier sittings included."""
        return self._spent_before + (time.monotonic() - self._started) / 60

    def save_clock(self) -> None:
        """Remember the time spent, for the budgets of a later sitting."""
        if not self._muted:
            write_json(self.path / "clock.json", {"minutes": self.minutes})

    def log(self, **figures: Any) -> None:
        """Append one line to `metrics.jsonl`, with the minutes spent."""
        if self._muted:
            return
        line = json.dumps({"minutes": round(self.minutes, 3), **figures})
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    def finish(self, **figures: Any) -> None:
        """Write `done.json`."""
        if self._muted:
            return
        self.save_clock()
        done = Done(self.name, self._digest, self._seed, round(self.minutes, 3), figures)
        write_json(self.path / "done.json", done)


class Workspace:
    """A pipeline's folder, its settings, the display and the wish to stop."""

    def __init__(self, config: Config, out: Path, display: Display, resume: bool = False) -> None:
        self.config = config
        self.out = out
        self.display = display
        self.resume = resume
        self._stop = False

    def folder(self, stage: str) -> Path:
        """Where a stage keeps its work."""
        return self.out / stage

    def stage(self, name: StageName, digest: str) -> StageFolder:
        """A stage's folder object; call `open` before writing."""
        return StageFolder(self.folder(name), name, digest, self.config.seed)

    def done(self, stage: StageName) -> Done:
        """The record of a finished stage.

        Raises:
            UsageError: It has not been run, or not to its end.
        """
        path = self.folder(stage) / "done.json"
        if not path.exists():
            raise UsageError(f"{self.folder(stage)} is not finished", f"Run `agentrm-train {stage}` first.")
        done: Done = read_json(path, Done)
        return done

    def stop(self) -> None:
        """Ask the running stage to save and end."""
        self._stop = True

    @property
    def stopping(self) -> bool:
        """Whether a person asked to stop."""
        return self._stop

    def check_stop(self) -> None:
        """Raise where it is safe to stop.

        Raises:
            InterruptedRun: A person asked to stop; what was done so far is saved.
        """
        if self._stop:
            raise InterruptedRun("stopped; the work so far is saved", "Add --resume to go on.")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of this folder; the lock ends with the process, however it ends.

        Raises:
            UsageError: Another process works in it.
            DataError: The folder cannot be made.
        """
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"--out {self.out} cannot be made: {error.strerror}") from None
        with (self.out / ".lock").open("w") as file:
            try:
                flock(file, LOCK_EX | LOCK_NB)
            except OSError:
                raise UsageError(f"another agentrm-train is working in {self.out}", "Wait, or stop it.") from None
            yield

    @contextmanager
    def catching_signals(self) -> Iterator[None]:
        """Turn the first Ctrl-C or SIGTERM into `stop`; a second Ctrl-C ends at once."""

        def on_signal(number: int, frame: object) -> None:
            self.display.say(f"{Signals(number).name}: saving, then stopping")
            self.stop()
            signal(SIGINT, default_int_handler)

        before = {number: getsignal(number) for number in (SIGINT, SIGTERM)}
        for number in before:
            signal(number, on_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal(number, handler)
