"""What each kind of model knows of itself: how a spec of it is written, what it says of itself, how it is loaded.

A kind is one class in the file of its policy or reward model, and one line in that role's registry. Heavy libraries are
imported inside `load`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from agentrm_models.bundled import ModelRole, role_name
from agentrm_models.errors import AgentRMError, DataError, UsageError
from agentrm_models.load_options import LoadOptions
from agentrm_models.server_address import without_secrets
from agentrm_models.spelling import nearest
from agentrm_models.typed_path import typed_path

Model = TypeVar("Model", covariant=True)
"""What is loaded: a policy or a reward model."""


class SpecText(NamedTuple):
    """A spec as text.

    Attributes:
        whole: As it was written.
        head: What stands before the first colon, or all of it.
        rest: What stands behind the first colon; None where there is no colon.
        kinds: All kinds of its role, for a spec that holds another one.
    """

    whole: str
    head: str
    rest: str | None
    kinds: Sequence[type[ModelSpec[Any]]] = ()


class ModelSpec(ABC, Generic[Model]):
    """A spec that was recognised and checked; nothing is loaded or downloaded yet.

    Attributes:
        syntax: How specs of this kind are written, for help and messages.
        words: Those that can be written as they stand, to offer the nearest spelling.
        reads: Whether a policy is a chat model, which can be asked anything.
        spec: As it was written; shown on screen and stored in run files.
    """

    syntax: ClassVar[tuple[str, ...]]
    words: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[bool] = False
    spec: str

    @classmethod
    @abstractmethod
    def parse(cls, text: SpecText) -> ModelSpec[Model] | None:
        """The spec, if it is one of this kind; None otherwise.

        Raises:
            UsageError, DataError: It is one of this kind, and what it names cannot be loaded.
        """

    @classmethod
    def spellings(cls) -> Sequence[str]:
        """Whole specs of this kind that exist on every machine."""
        return cls.words

    @property
    def folder(self) -> Path | None:
        """The model's folder, where it is on this machine already."""
        return None

    @abstractmethod
    def describe(self) -> str:
        """Say in one line what this stands for."""

    @abstractmethod
    def load(self, options: LoadOptions) -> Model:
        """Load it.

        Raises:
            UsageError: A device or option that cannot be used here.
            DataError: A file is missing, cut off or foreign; a download or a server failed; a package is missing.
            MemoryExhaustedError: The weights do not fit.
        """


def take_apart(spec: str, kinds: Sequence[type[ModelSpec[Model]]] = ()) -> SpecText:
    """Split a spec at its first colon."""
    head, colon, rest = spec.partition(":")
    return SpecText(spec, head, rest if colon else None, kinds)


def recognise(spec: str, kinds: Sequence[type[ModelSpec[Model]]]) -> ModelSpec[Model] | None:
    """Ask each kind in order; None where none of them knows the spec."""
    text = take_apart(spec, kinds)
    return next((parsed for kind in kinds if (parsed := kind.parse(text)) is not None), None)


def claims(spec: str, kinds: Sequence[type[ModelSpec[Model]]]) -> bool:
    """Whether a spec is of one of these kinds, be it a faulty one."""
    try:
        return recognise(spec, kinds) is not None
    except AgentRMError:
        return True


def unknown(spec: str, role: ModelRole, kinds: Sequence[type[ModelSpec[Model]]]) -> AgentRMError:
    """The error for a spec that no kind knows; it offers the nearest spelling."""
    path = typed_path(spec)
    shown = without_secrets(spec) if ":" in spec.partition("@")[0] else spec
    if path.is_file():
        needed = "a model folder or a .gguf file" if role == "policy" else "the folder of a Transformers classifier"
        return UsageError(f"{spec}: this file is no {role_name(role)}", f"Give {needed}.")
    if "/" in spec or spec.startswith((".", "~")) or path.suffix.lower() in (".safetensors", ".gguf"):
        return DataError(f"{shown} does not exist")
    near = nearest(spec, (word for kind in kinds for word in kind.spellings()))
    forms = ", ".join(form for kind in kinds for form in kind.syntax)
    return UsageError(
        f"unknown {role_name(role)} {shown[:80]!r}", f"Did you mean {near!r}?" if near else f"Use one of: {forms}."
    )
