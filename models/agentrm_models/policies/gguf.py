"""GGUF policies through llama.cpp: every token of a search tree is computed once, in one context.

A prompt is decoded on one sequence, whose cells its candidates share; candidates that have sampled the same tokens so
far are one row. After a call the sequences are kept, so the reply that a search goes on with is not computed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agentrm_models.errors import DataError
from agentrm_models.hub import HubName
from agentrm_models.kinds import ModelSpec, SpecText
from agentrm_models.load_options import DEFAULT_OPTIONS, LoadOptions
from agentrm_models.messages import PromptStyle
from agentrm_models.policies.base import Policy, PolicyTraits
from agentrm_models.typed_path import typed_path
from agentrm_models.weight_files import check_gguf, file_digest

if TYPE_CHECKING:
    from agentrm_models.llama_cpp.native import NativeModel
    from agentrm_models.policies.language_model import LanguageModelPolicy

LONGEST_CONTEXT = 8_192
"""Context length used at most when no cache limit is given: foreign models declare up to a million tokens."""

SPARE_CELLS = 2_048
"""Cells beyond one full context, for candidates and for what is kept between calls."""

SEQUENCES = 64
"""Sequences of a context: candidates in flight together with beginnings that are kept."""


@dataclass(frozen=True)
class GGUFSpec(ModelSpec[Policy]):
    """A language model in a GGUF file, here or on the hub."""

    syntax = ("FILE.gguf", "hf:ORG/REPO:FILE.gguf")
    reads = True

    spec: str
    file: Path | None
    hub: HubName | None

    @classmethod
    def parse(cls, text: SpecText) -> GGUFSpec | None:
        """What ends in `.gguf`, unless it is a folder of that name."""
        if not text.whole.lower().endswith(".gguf"):
            return None
        if hub := HubName.parse(text):
            return cls(text.whole, None, hub) if hub.file else None
        file = typed_path(text.whole)
        return cls(text.whole, file, None) if file.is_file() else None

    def describe(self) -> str:
        """How large it is, where it is here."""
        if self.file is None:
            return "llama.cpp policy from the Hugging Face hub"
        return f"llama.cpp policy, {self.file.stat().st_size / 1e6:.1f} MB"

    def load(self, options: LoadOptions) -> LanguageModelPolicy:
        """Load it; `auto` uses a GPU if llama.cpp was built for one."""
        file = self.file
        if file is None:
            assert self.hub is not None
            file = self.hub.fetch(options.trust_remote_code)
        check_gguf(file)
        return gguf_policy(file, options, name=self.spec)


class _Room(msgspec.Struct, frozen=True):
    """How much of a context is used.

    Attributes:
        window: Tokens of one prompt and its reply.
        cells: Tokens of all sequences together.
        notice: Says that the model could read more; empty where it could not.
    """

    window: int
    cells: int
    notice: str


def gguf_policy(
    file: Path,
    options: LoadOptions = DEFAULT_OPTIONS,
    *,
    name: str = "",
    prompt: PromptStyle | None = None,
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
    from agentrm_models.llama_cpp.gguf_export import PROMPT_KEY
    from agentrm_models.llama_cpp.gguf_tokenizer import GGUFTokenizer
    from agentrm_models.llama_cpp.native import NativeContext, NativeModel
    from agentrm_models.policies.language_model import LanguageModelPolicy

    model = NativeModel(file, device=options.device)
    _check_probe(model)
    encoder = ChatEncoder(GGUFTokenizer(model), tuple(sorted(model.stop_tokens())))
    room = _room(model, options.cache_bytes, exact)
    context = NativeContext(model, cells=room.cells, sequences=sequences, threads=options.threads, exact=exact)
    style = prompt or ("short" if model.metadata(PROMPT_KEY) == "short" else "full")
    return LanguageModelPolicy(
        LlamaBackend(context, sequences),
        encoder,
        PolicyTraits(name or file.name, file_digest(file), style, context_length=room.window),
        notice=room.notice,
        beginning=model.adds_beginning(),
        stop_after_action=stop_after_action,
    )


def _room(model: NativeModel, cache_bytes: int, exact: bool) -> _Room:
    """Context length and number of cells, from the limit in bytes."""
    trained = model.trained_context or LONGEST_CONTEXT
    window = min(trained, LONGEST_CONTEXT)
    cells = window + SPARE_CELLS
    if cache_bytes:
        cells = max(256, cache_bytes // (model.cell_bytes * (2 if exact else 1)))
        window = min(trained, cells)
    if window == trained:
        return _Room(window, cells, "")
    name = model.file.name
    notice = f"{name} reads {window:,} tokens of the {trained:,} that it was trained for; raise --cache-mb for more"
    return _Room(window, cells, notice)


def _check_probe(model: NativeModel) -> None:
    """Repeat the token probe that an export of this project has stored in the file."""
    from agentrm_models.llama_cpp.gguf_export import PROBE_KEY

    stored = model.metadata(PROBE_KEY)
    try:
        probe = msgspec.json.decode(stored or "[]", type=list[tuple[str, list[int]]])
    except msgspec.DecodeError:
        model.close()
        raise DataError(f"{model.file} is damaged: its token probe cannot be read", "Export it again.") from None
    for text, tokens in probe:
        if model.tokenize(text, special=False) != tokens:
            model.close()
            raise DataError(
                f"{model.file} tokenises {text[:30]!r} otherwise than the tokenizer it was made from",
                "Its pre-tokenizer label is wrong, or the file is damaged; export it again.",
            )
