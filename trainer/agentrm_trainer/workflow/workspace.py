"""Where stages keep their work: one folder each, written atomically, finished when `done.json` is there."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals, default_int_handler, getsignal, signal
from typing import Any

import msgspec

from agentrm_models.errors import DataError, InterruptedRun, UsageError
from agentrm_trainer.config import Config
from agentrm_trainer.config_view import view_of
from agentrm_trainer.workflow.progress import Display
from agentrm_trainer.workflow.registry import Stage, StageSettings, changes, settings_of, stage_named


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


def partial_path(path: Path) -> Path:
    """Where a file is written until it is whole: a name that no pattern for finished files matches."""
    return path.with_name(f".{path.name}.part")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that it is there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    partial.write_bytes(content.encode() if isinstance(content, str) else content)
    partial.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically; structs are written as mappings, what is not a number as null."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


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


def read_json_lines(path: Path, kind: Any, stage: str) -> list[Any]:
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
    try:
        new.replace(final)
    except OSError:
        if old.exists():
            old.replace(final)
        raise
    shutil.rmtree(old, ignore_errors=True)


def clear_leftovers(folder: Path) -> None:
    """Undo what a process that was killed while writing has left: parts of files, and folders between two names.

    The part of a run file stays until the stage is finished: `plays.play` resumes it.
    """
    for path in sorted(folder.rglob(".*.part")):
        if not path.name.endswith(".jsonl.part"):
            path.unlink(missing_ok=True)
    for path in sorted(folder.rglob(".*.old")):
        final = path.with_name(path.name.removeprefix(".").removesuffix(".old"))
        if not final.exists():
            path.replace(final)
    for path in [*folder.rglob(".*.new"), *folder.rglob(".*.old")]:
        shutil.rmtree(path, ignore_errors=True)


class StageFolder:
    """One stage's folder: metrics, checkpoint place, and the record that it is finished."""

    def __init__(self, path: Path, settings: StageSettings) -> None:
        self.path = path
        self.name = settings.stage
        self._settings = settings
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
        self.check_earlier_work(resume)
        self._spent_before = self._clock()
        self.path.mkdir(parents=True, exist_ok=True)
        clear_leftovers(self.path)
        write_json(self.path / "settings.json", self._settings)
        return (self.path / "done.json").exists()

    def check_earlier_work(self, resume: bool) -> None:
        """Refuse a folder that cannot be continued.

        Raises:
            UsageError: There is earlier work and `resume` was not asked for, or it was made with other settings.
        """
        if (self.path / "settings.json").exists():
            self.check_settings()
            if not resume:
                raise UsageError(f"{self.path} holds earlier work", "Add --resume, or choose another --out.")

    def check_settings(self) -> None:
        """Refuse a folder that was made with other settings.

        Raises:
            UsageError: It was; the message names the keys with both values.
        """
        path = self.path / "settings.json"
        try:
            before: StageSettings = read_json(path, StageSettings)
        except DataError:
            raise UsageError(
                f"{path} is damaged, or of another version of this program",
                f"Choose another --out, or remove {self.path}.",
            ) from None
        if before.digest != self._settings.digest:
            raise UsageError(
                f"{self.path} was made with other settings: {changes(before, self._settings)}",
                "Choose another --out, or remove that folder.",
            )

    def _clock(self) -> float:
        clock = self.path / "clock.json"
        return float(read_json(clock, dict[str, float]).get("minutes", 0.0)) if clock.exists() else 0.0

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
        line = msgspec.json.encode({"minutes": round(self.minutes, 3), **figures})
        with (self.path / "metrics.jsonl").open("ab") as stream:
            stream.write(line + b"\n")

    def finish(self, **figures: Any) -> None:
        """Write `done.json`."""
        if self._muted:
            return
        self.save_clock()
        for path in self.path.rglob(".*.part"):
            path.unlink()
        done = Done(self.name, self._settings.digest, self._settings.seed, round(self.minutes, 3), figures)
        write_json(self.path / "done.json", done)


class _Wish:
    """Whether a person asked to stop; the views of a workspace share it."""

    stop = False


class Workspace:
    """A pipeline's folder, its settings, the display and the wish to stop."""

    def __init__(self, config: Config, out: Path, display: Display, resume: bool = False) -> None:
        self.config = config
        self.out = out
        self.display = display
        self.resume = resume
        self._wish = _Wish()
        self._reader: Stage | None = None

    def seen_by(self, stage: Stage) -> Workspace:
        """The same workspace, of which only what the stage declares can be read."""
        view = Workspace(view_of(self.config, stage.reads, stage.name), self.out, self.display, self.resume)
        view._wish = self._wish
        view._reader = stage
        return view

    def folder(self, stage: str) -> Path:
        """Where a stage keeps its work."""
        if self._reader is not None and stage not in (self._reader.name, *self._reader.after):
            raise AssertionError(f"the stage {self._reader.name} reads {stage}, which it does not declare")
        return self.out / stage

    def stage(self, name: str) -> StageFolder:
        """A stage's folder object under the present settings; call `open` before writing."""
        return StageFolder(self.folder(name), settings_of(self.config, stage_named(name)))

    def check_earlier_work(self, stages: Sequence[str]) -> None:
        """Refuse before any work what one of these stages would refuse when its turn comes.

        Raises:
            UsageError: A folder holds earlier work and `resume` was not asked for, or other settings.
        """
        for name in stages:
            self.stage(name).check_earlier_work(self.resume)

    def check_upstream(self, stage: Stage) -> None:
        """Refuse to build on what is not there, or was made with settings other than the present ones.

        Raises:
            UsageError: A stage before it is not finished, or has other settings.
        """
        for name in stage.after:
            self.done(name)
            self.stage(name).check_settings()

    def done(self, stage: str) -> Done:
        """The record of a finished stage.

        Raises:
            UsageError: It has not been run, or not to its end.
        """
        path = self.folder(stage) / "done.json"
        if not path.exists():
            raise UsageError(f"{self.folder(stage)} is not finished", f"Run `agentrm-train {stage}` first.")
        done: Done = read_json(path, Done)
        return done

    def is_finished(self, stage: str) -> bool:
        """Whether a stage has been run to its end."""
        return (self.folder(stage) / "done.json").exists()

    def stop(self) -> None:
        """Ask the running stage to save and end."""
        self._wish.stop = True

    @property
    def stopping(self) -> bool:
        """Whether a person asked to stop."""
        return self._wish.stop

    def check_stop(self) -> None:
        """Raise where it is safe to stop.

        Raises:
            InterruptedRun: A person asked to stop; what was done so far is saved.
        """
        if self.stopping:
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
