"""Policies that Python packages carry: `pip:NAME` by Transformers, `pip:NAME#gguf` by llama.cpp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentrm_models.errors import UsageError
from agentrm_models.kinds import ModelSpec, SpecText
from agentrm_models.load_options import LoadOptions
from agentrm_models.packaged import PackagedModel, converted_folder, find_packaged, installed_models
from agentrm_models.policies.base import Policy

if TYPE_CHECKING:
    from agentrm_models.policies.language_model import LanguageModelPolicy


@dataclass(frozen=True)
class PackagedSpec(ModelSpec[Policy]):
    """`pip:NAME`, or `pip:NAME#gguf`."""

    syntax = ("pip:NAME[#gguf]",)
    reads = True

    spec: str
    model: PackagedModel
    by_llama_cpp: bool

    @classmethod
    def parse(cls, text: SpecText) -> PackagedSpec | None:
        """A known name, whose package must be installed."""
        if text.head != "pip" or text.rest is None:
            return None
        name, mark, option = text.rest.partition("#")
        model = find_packaged(name)
        if mark and option != "gguf":
            raise UsageError(f"{text.whole[:80]!r}: unknown option {option[:40]!r}", f"Write {model.spec}#gguf.")
        model.require()
        return cls(text.whole, model, bool(mark))

    @classmethod
    def spellings(cls) -> list[str]:
        """Those that are installed."""
        return [model.spec for model in installed_models()]

    def describe(self) -> str:
        """What it is, and what computes it."""
        return f"{self.model.words}{', by llama.cpp' if self.by_llama_cpp else ''}"

    def load(self, options: LoadOptions) -> LanguageModelPolicy:
        """Load it; for Transformers it is converted the first time (under a minute)."""
        if self.by_llama_cpp:
            from agentrm_models.policies.gguf import gguf_policy

            return gguf_policy(self.model.require(), options, name=self.spec)
        from agentrm_models.policies.transformers import load_transformers_policy

        return load_transformers_policy(converted_folder(self.model), options, name=self.spec)
