"""Policies from Transformers folders, bundled, local or on the hub: our own generation loop over a prefix cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentrm_models.adapters import AS_NAMED, AdapterChoice
from agentrm_models.bundled import bundled_models
from agentrm_models.kinds import ModelSpec, SpecText
from agentrm_models.load_options import DEFAULT_OPTIONS, LoadOptions
from agentrm_models.messages import PromptStyle
from agentrm_models.model_folder import ModelFolder
from agentrm_models.policies.base import Policy, PolicyTraits

if TYPE_CHECKING:
    from agentrm_models.policies.language_model import LanguageModelPolicy


@dataclass(frozen=True)
class TransformersSpec(ModelSpec[Policy]):
    """A Transformers causal language model."""

    syntax = ("bundled:NAME", "FOLDER", "hf:ORG/REPO")
    reads = True

    spec: str
    source: ModelFolder

    @classmethod
    def parse(cls, text: SpecText) -> TransformersSpec | None:
        """A folder here, bundled or on the hub."""
        source = ModelFolder.find(text, "policy")
        return None if source is None else cls(text.whole, source)

    @classmethod
    def spellings(cls) -> list[str]:
        """The bundled policies."""
        return [model.spec for model in bundled_models() if model.role == "policy"]

    @property
    def folder(self) -> Path | None:
        """The folder, unless it is still on the hub."""
        return self.source.here

    def describe(self) -> str:
        """Where it is."""
        return self.source.words

    def load(self, options: LoadOptions) -> LanguageModelPolicy:
        """Load it: float32 on a CPU, bfloat16 on a GPU."""
        return load_transformers_policy(
            self.source.fetch(options), options, name=self.spec, adapter=self.source.adapter
        )


def load_transformers_policy(
    folder: Path, options: LoadOptions = DEFAULT_OPTIONS, *, name: str = "", adapter: AdapterChoice = AS_NAMED
) -> LanguageModelPolicy:
    """Load a local model folder: float32 on a CPU, bfloat16 on a GPU.

    Raises:
        DataError: The folder is missing, incomplete, cut off or of another kind.
        MemoryExhaustedError: The weights do not fit.
    """
    from agentrm_models.loading import load_folder

    found = load_folder(folder, "policy", options, adapter=adapter)
    return transformers_policy(
        found.model,
        found.tokenizer,
        name=name or str(folder),
        prompt=found.settings.prompt or "full",
        digest=found.digest,
        environments=found.settings.environments,
        cache_bytes=options.cache_bytes,
        notice=found.notice,
    )


def transformers_policy(
    model: Any,
    tokenizer: Any,
    *,
    name: str = "",
    prompt: PromptStyle = "full",
    digest: str = "",
    environments: tuple[str, ...] = (),
    cache_bytes: int = 0,
    use_cache: bool = True,
    stop_after_action: bool = True,
    notice: str = "",
) -> LanguageModelPolicy:
    """A causal language model in memory as a policy.

    Args:
        model: A `transformers` causal language model in evaluation mode.
        tokenizer: Its tokenizer.
        prompt: Which instruction the model is given.
        digest: Identity of the weights; computed where empty.
        environments: What it was trained on.
        cache_bytes: Limit of the prefix cache; 0 takes a share of the memory that is free.
        use_cache: False computes everything anew, for comparison.
        stop_after_action: End a reply after a complete `Action:` line, for models that do not end their turns.
        notice: What a person should know of how it was loaded.
    """
    from agentrm_models.chat import ChatEncoder
    from agentrm_models.loading import digest_of_weights
    from agentrm_models.policies.language_model import LanguageModelPolicy
    from agentrm_models.trie.backends import choose_backend
    from agentrm_models.trie.states import architecture_of

    parts = architecture_of(model)
    encoder = ChatEncoder(tokenizer, _stop_ids(model))
    backend, why = choose_backend(parts, cache_bytes, use_cache)
    traits = PolicyTraits(
        name or getattr(model, "name_or_path", "") or type(model).__name__,
        digest or digest_of_weights(model),
        prompt,
        context_length=parts.context_length,
        environments=environments,
    )
    return LanguageModelPolicy(
        backend, encoder, traits, notice=" ".join(filter(None, (notice, why))), stop_after_action=stop_after_action
    )


def _stop_ids(model: Any) -> tuple[int, ...]:
    """Ids that the model's generation configuration ends at."""
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return tuple(ends) if isinstance(ends, list | tuple) else (ends,) if isinstance(ends, int) else ()
