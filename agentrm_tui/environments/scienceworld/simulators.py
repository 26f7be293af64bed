"""The Java side: one virtual machine for all simulators of this process, with a heap limit, gone with the process.

The simulator draws from one global source of random numbers and iterates over sets in the order of object addresses,
which is why its episodes do not repeat as they come. Here the source is seeded before each call, under a lock, and the
machine gives all objects the same hash (HotSpot's `hashCode=2`), so that sets keep the order of insertion.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import threading
import weakref
from collections.abc import Container, Iterable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from platformdirs import user_cache_path

from agentrm_models.errors import DataError, MissingExtraError
from agentrm_tui.environments.shared_process import Shared

EXTRA = "scienceworld"
HEAP_MEGABYTES = 1_024
"""Limit of the heap that all simulators share."""
PRESET = "easy"
"""The simplifications that the published step limits belong to: open doors and containers, teleporting, and more."""
UNKNOWN = ("No known action matches", "Unknown action.")
"""How answers to what the simulator does not understand begin."""
_JAVA_OPTIONS = (
    f"-Xmx{HEAP_MEGABYTES}m",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:+IgnoreUnrecognizedVMOptions",
    "-XX:+UnlockExperimentalVMOptions",
    "-XX:hashCode=2",
)
_CLOSING_SECONDS = 5.0
_LOOK = "look at "
_CARRIED = "inventory"
"""An action; also an object that the simulator lists at some times and not at others."""


class Answer(NamedTuple):
    """What the simulator says to an action: text, score (−1 to 1), whether it calls the task completed."""

    text: str
    score: float
    completed: bool

    @property
    def understood(self) -> bool:
        """The action was one, and possible."""
        return not self.text.startswith(UNKNOWN)


def find_java() -> str:
    """The path of the Java program: below `JAVA_HOME`, or on the path.

    Raises:
        MissingExtraError: There is none.
    """
    home = os.environ.get("JAVA_HOME")
    java = Path(home, "bin", "java") if home else None
    found = str(java) if java and java.is_file() else shutil.which("java")
    if not found:
        raise MissingExtraError(
            "ScienceWorld needs a Java runtime, and there is no program java",
            "Install one (apt install default-jre-headless, brew install openjdk), or set JAVA_HOME.",
        )
    return found


def java_version() -> str:
    """What the Java program says that it is; empty where it says nothing of use."""
    told = subprocess.run([find_java(), "-version"], capture_output=True, text=True, timeout=20, check=False)
    found = re.search(r'version "([^"]+)"', told.stderr)
    return found[1] if found else ""


def find_jar() -> Path:
    """The simulator's file in the installed package.

    Raises:
        MissingExtraError: The package is not installed.
    """
    try:
        constants = import_module("scienceworld.constants")
        import_module("py4j.java_gateway")
    except ImportError as error:
        raise MissingExtraError(
            f"ScienceWorld needs the package scienceworld, which is not installed ({error})",
            f"pip install 'agentrm-tui[{EXTRA}]'",
        ) from error
    return Path(constants.JAR_PATH)


def visible_actions(listed: Iterable[str], known: Container[str]) -> tuple[str, ...]:
    """Actions that name no object but known ones, sorted; every object has its `look at`."""
    actions = sorted(set(listed))
    objects = (action.removeprefix(_LOOK) for action in actions if action.startswith(_LOOK))
    hidden = [re.escape(each) for each in objects if each not in known or each == _CARRIED]
    if not hidden:
        return tuple(actions)
    pattern = re.compile(rf"(?<!\S)(?:{'|'.join(hidden)})(?!\S)")
    return tuple(action for action in actions if action == _CARRIED or not pattern.search(action))


def _workplace() -> str:
    """A folder for the table of object types that the simulator writes into its working folder when it starts."""
    folder = user_cache_path("agentrm-tui") / "scienceworld"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"ScienceWorld needs the folder {folder}, which cannot be made ({error.strerror})") from error
    return str(folder)


def _keep_quiet() -> None:
    """Keep the bridge to Java from logging tracebacks of errors that it raises as well.

    It logs them to the screen, and even while garbage is collected: formatting a traceback parses source, which
    Python 3.11 cannot do in the middle of other parsing (`AST constructor recursion depth mismatch`).
    """
    logging.getLogger("py4j").setLevel(logging.CRITICAL + 1)
    logging.getLogger().addFilter(_not_from_the_bridge)


def _not_from_the_bridge(record: logging.LogRecord) -> bool:
    return Path(record.pathname).parts[-2:] != ("py4j", "java_gateway.py")


class JavaMachine:
    """One virtual machine; it ends when this process ends, however it does: the machine watches its input.

    Raises:
        MissingExtraError: The package or Java is missing.
        DataError: Java does not start, or there is no folder for it.
    """

    def __init__(self) -> None:
        jar, java = find_jar(), find_java()
        py4j = import_module("py4j.java_gateway")
        _keep_quiet()
        try:
            port, token, self.process = py4j.launch_gateway(
                classpath=str(jar),
                javaopts=list(_JAVA_OPTIONS),
                cwd=_workplace(),
                die_on_exit=True,
                java_path=java,
                create_new_process_group=True,
                enable_auth=True,
                return_proc=True,
            )
        except (OSError, ValueError) as error:
            raise DataError(f"{java} did not start ScienceWorld's simulator", "Try: java -version") from error
        parameters = py4j.GatewayParameters(port=port, auth_token=token)
        self._gateway = py4j.JavaGateway(gateway_parameters=parameters)
        companion = self._gateway.jvm.java.lang.Class.forName("scala.util.Random$")
        self.random = companion.getField("MODULE$").get(None)
        self.lock = threading.RLock()
        self.users = 0
        self.lost = False
        self.owner = os.getpid()
        self._scratch: Any = None

    def make(self) -> Any:
        """Another simulator in this machine."""
        return self._gateway.jvm.scienceworld.runtime.pythonapi.PythonInterface()

    def scratch(self) -> Any:
        """The simulator on which paths are found and tried; use it under the lock."""
        if self._scratch is None:
            self._scratch = self.make()
        return self._scratch

    @property
    def alive(self) -> bool:
        """It was started by this process, still runs and has always answered."""
        return self.owner == os.getpid() and not self.lost and self.process.poll() is None

    def end(self) -> None:
        """End the process; it is killed if it does not end by itself."""
        self._scratch = None
        with suppress(OSError, import_module("py4j.protocol").Py4JError):
            self._gateway.shutdown() if self.alive else self._gateway.close()
        with suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(_CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _is_told_by_java(error: Exception) -> bool:
    """Whether the machine itself said what failed; everything else means that it does not answer."""
    return isinstance(error, import_module("py4j.protocol").Py4JJavaError)


_shared = Shared(JavaMachine)


class Simulator:
    """One simulator in the shared machine. The last one that is closed ends the machine.

    Raises:
        MissingExtraError: The package or Java is missing.
        DataError: Java does not start, or ended meanwhile.
    """

    def __init__(self) -> None:
        self._machine: JavaMachine | None = _shared.acquire()
        self._release = weakref.finalize(self, _shared.release, self._machine)
        try:
            self._java = self._call(self._machine.make)
        except DataError:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """It can be used: not closed, and its machine runs."""
        return self._machine is not None and self._machine.alive

    @property
    def process_id(self) -> int:
        """The machine's process."""
        return int(self._open().process.pid)

    def begin(self, level: str, variation: int) -> Answer:
        """Start an episode; answers with the task in the simulator's words, and what is seen."""
        machine = self._open()
        with machine.lock:
            self._load(machine, self._java, level, variation, False)
            task, seen = self._call(self._java.getTaskDescription), self._call(self._java.freeActionLook)
        return Answer(f"{task}\n{seen}", 0.0, False)

    def step(self, action: str, number: int) -> Answer:
        """Take one action, the episode's `number`th that counts: its random numbers depend on that alone."""
        machine = self._open()
        with machine.lock:
            return self._step(machine, self._java, action, number)

    def valid_actions(self) -> tuple[str, ...]:
        """What the simulator lists as valid and its parser accepts, sorted; takes some 50 ms.

        The simulator also lists what lies in closed containers, which its parser does not know.
        """
        with self._open().lock:
            listed = self._call(lambda: list(self._java.getValidActionObjectCombinations()))
            known = self._call(lambda: set(self._java.getPossibleObjects()))
        return visible_actions(listed, known)

    def gold_path(self, level: str, variation: int) -> tuple[str, ...]:
        """The simulator's own solution; up to ten seconds for the longest."""
        machine = self._open()
        with machine.lock:
            scratch = self._call(machine.scratch)
            self._load(machine, scratch, level, variation, True)
            return tuple(self._call(lambda: list(scratch.getGoldActionSequence())))

    def try_path(self, level: str, variation: int, path: tuple[str, ...], most: int) -> tuple[float, tuple[str, ...]]:
        """Play a path from the beginning, beside this simulator's episode.

        Args:
            most: Actions after which it ends.

        Returns:
            The highest score, and the actions until then without those that the simulator did not understand.
        """
        machine = self._open()
        with machine.lock:
            scratch = self._call(machine.scratch)
            self._load(machine, scratch, level, variation, False)
            best, steps = 0.0, 0
            taken: list[str] = []
            for action in path:
                answer = self._step(machine, scratch, action, len(taken))
                if not answer.understood:
                    continue
                taken.append(action)
                if answer.score > best:
                    best, steps = answer.score, len(taken)
                if answer.completed or answer.score < 0 or len(taken) >= most:
                    break
        return best, tuple(taken[:steps])

    def close(self) -> None:
        """Give the simulator back; closing twice is nothing."""
        self._machine = self._java = None
        self._release()

    def _open(self) -> JavaMachine:
        if self._machine is None:
            raise RuntimeError("the simulator is closed")
        return self._machine

    def _load(self, machine: JavaMachine, java: Any, level: str, variation: int, gold: bool) -> None:
        self._call(machine.random.setSeed, variation)
        told = self._call(java.load, level, variation, PRESET, gold)
        if told:
            raise DataError(f"ScienceWorld did not load {level}, variation {variation}: {' '.join(str(told).split())}")

    def _step(self, machine: JavaMachine, java: Any, action: str, number: int) -> Answer:
        self._call(machine.random.setSeed, number)
        text = self._call(java.step, action)
        return Answer(str(text), float(self._call(java.getScore)), bool(self._call(java.getCompleted)))

    def _call(self, method: Any, *arguments: object) -> Any:
        """Call into Java.

        Raises:
            DataError: The machine ended or failed.
        """
        try:
            return method(*arguments)
        except Exception as error:
            if not type(error).__module__.startswith("py4j.") and not isinstance(error, OSError):
                raise
            machine = self._machine
            if machine is not None and not _is_told_by_java(error):
                machine.lost = True
            cause = "its Java process has ended" if not self.alive else f"{' '.join(str(error).split())[:160]}"
            raise DataError(f"ScienceWorld's simulator failed: {cause}") from error
