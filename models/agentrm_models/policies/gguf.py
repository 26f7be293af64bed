"""GGUF policies through llama.cpp: every token of a search tree is computed once, in one context.

A prompt is decoded on one sequence, whose cells its candidates share; candidates that have sampled the same tokens so
far are one row. After a call the sequences are kept, so the reply that a search goes on with is not computed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentrm_models.hub import HubName
from agentrm_models.kinds import ModelSpec, SpecText
from agentrm_models.llama_cpp.opening import (
    PROMPT_KEY,
    SEQUENCES,
    GGUFFiles,
    find_gguf,
    open_model,
    part_names,
    room_of,
)
from agentrm_models.load_options import DEFAULT_OPTIONS, LoadOptions
from agentrm_models.messages import PromptStyle
from agentrm_models.policies.base import Policy, PolicyTraits
from agentrm_models.typed_path import typed_path
from agentrm_models.weight_files import file_digest

if TYPE_CHECKING:
    from agentrm_models.policies.language_model import LanguageModelPolicy


@dataclass(frozen=True)
class GGUFSpec(ModelSpec[Policy]):
    """A language model in a GGUF file, here or on the hub."""

    syntax = ("FILE.gguf", "hf:ORG/REPO:FILE.gguf")
    reads = True

    spec: str
    files: GGUFFiles | None
    hub: HubName | None

    @classmethod
    def parse(cls, text: SpecText) -> GGUFSpec | None:
        """What ends in `.gguf`, and folders that hold such files."""
        if hub := HubName.parse(text) if text.whole.lower().endswith(".gguf") else None:
            return cls(text.whole, None, hub) if part_names(hub.file)[0] else None
        files = find_gguf(typed_path(text.whole)) if text.whole else None
        return None if files is None else cls(text.whole, files, None)

    def describe(self) -> str:
        """How large it is, where it is here."""
        if self.files is None:
            return "llama.cpp policy from the Hugging Face hub"
        parts = f" in {len(self.files.parts)} parts" if len(self.files.parts) > 1 else ""
        return f"llama.cpp policy, {self.files.size / 1e6:.1f} MB{parts}"

    def load(self, options: LoadOptions) -> LanguageModelPolicy:
        """Load it; `auto` uses a GPU if llama.cpp was built for one."""
        files = self.files
        if files is None:
            assert self.hub is not None
            names = part_names(self.hub.file)
            files = GGUFFiles(tuple(self.hub._replace(file=name).fetch(options.trust_remote_code) for name in names))
        files.check()
        return gguf_policy(files.first, options, name=self.spec, digest=files.digest)


def gguf_policy(
    file: Path,
    options: LoadOptions = DEFAULT_OPTIONS,
    *,
    name: str = "",
    prompt: PromptStyle | None = None,
    digest: str = "",
    exact: bool = False,
    sequences: int = SEQUENCES,
    stop_after_action: bool = True,
) -> LanguageModelPolicy:
    """A GGUF file as a policy.

    Args:
        file: Any architecture that llama.cpp can decode.
        options: A cache limit of 0 gives one context (at most 8,192 tokens) and room for candidates.
        name: Shown on screen; the file's name if empty.
        prompt: Which instruction the model is given; None takes what the file says, or `full`.
        digest: Identity of the weights; that of the file where empty.
        exact: 32-bit cache without flash attention, to compare with another library.
        sequences: Candidates and kept beginnings that can exist at once; more candidates are sampled in waves.
        stop_after_action: End a reply after a complete `Action:` line, for models that do not end their turns.

    Raises:
        DataError: The package is missing, the file cannot be loaded, its chat template is broken, or it tokenises
            otherwise than the tokenizer it was exported from.
        MemoryExhaustedError: No memory for the cache.
    """
    from agentrm_models.chat import ChatEncoder
    from agentrm_models.llama_cpp.backend import LlamaBackend
    from agentrm_models.llama_cpp.gguf_tokenizer import GGUFTokenizer
    from agentrm_models.llama_cpp.native import NativeContext
    from agentrm_models.policies.language_model import LanguageModelPolicy

    model = open_model(file, options.device)
    encoder = ChatEncoder(GGUFTokenizer(model), tuple(sorted(model.stop_tokens())))
    room = room_of(model, options.cache_bytes, exact)
    context = NativeContext(model, cells=room.cells, sequences=sequences, threads=options.threads, exact=exact)
    style = prompt or ("short" if model.metadata(PROMPT_KEY) == "short" else "full")
    return LanguageModelPolicy(
        LlamaBackend(context, sequences),
        encoder,
        PolicyTraits(name or file.name, digest or file_digest(file), style, context_length=room.window),
        notice=room.notice,
        beginning=model.adds_beginning(),
        stop_after_action=stop_after_action,
    )
