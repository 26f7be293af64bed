"""GGUF reward models: the backbone in llama.cpp, the head as a small safetensors file beside it.

`NAME.gguf` and `NAME.head.safetensors`, or a folder that holds both. Where the reward counts the likelihood of the
reply, `NAME.language.gguf` is the language model that tells it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agentrm_models.errors import DataError, UsageError
from agentrm_models.kinds import ModelSpec, SpecText
from agentrm_models.llama_cpp.opening import SEQUENCES, GGUFFiles, find_gguf, open_model, room_of
from agentrm_models.load_options import LoadOptions
from agentrm_models.messages import Conversation
from agentrm_models.rewards.base import RewardModel, RewardTraits
from agentrm_models.rewards.heads import choice as heads
from agentrm_models.rewards.heads.choice import HeadChoice, choice_of
from agentrm_models.rewards.heads.head import HeadPlan, RewardHead
from agentrm_models.rewards.heads.plan import FolderFacts, plan_head
from agentrm_models.rewards.heads.sidecar import ENDING, SidecarHead, read_sidecar
from agentrm_models.spec_options import take_options
from agentrm_models.typed_path import typed_path
from agentrm_models.weight_files import file_digest

if TYPE_CHECKING:
    from agentrm_models.context import Encodes
    from agentrm_models.llama_cpp.native import NativeModel
    from agentrm_models.rewards.reader import ConversationReader

LANGUAGE = ".language.gguf"
"""The ending of the language model's file."""


@dataclass(frozen=True)
class GGUFRewardSpec(ModelSpec[RewardModel]):
    """A backbone in a GGUF file, and its head beside it."""

    syntax = ("FILE.gguf",)

    spec: str
    files: GGUFFiles
    head_file: Path
    choice: HeadChoice

    @classmethod
    def parse(cls, text: SpecText) -> GGUFRewardSpec | None:
        """A `.gguf` file, or a folder that holds one."""
        name = text.whole if typed_path(text.whole).exists() else text.whole.partition("#")[0]
        files = find_gguf(typed_path(name)) if name else None
        if files is None:
            return None
        choice = choice_of(take_options(text.whole, heads.OPTIONS).values, text.whole)
        head_file = files.first.with_name(files.stem + ENDING)
        alone = files.first.with_name("head.safetensors")
        if not head_file.is_file() and alone.is_file():
            head_file = alone
        if not head_file.is_file():
            raise DataError(
                f"{files.first}: a GGUF reward model needs its head beside it, {head_file.name}",
                "agentrm-train export writes both.",
            )
        spec = cls(text.whole, files, head_file, choice)
        spec.plan(read_sidecar(head_file))
        return spec

    @property
    def language(self) -> Path:
        """The language model that tells how likely a reply is."""
        return self.files.first.with_name(self.files.stem + LANGUAGE)

    def plan(self, head: SidecarHead) -> HeadPlan:
        """Which output is the reward; errors as `plan_head`."""
        labels = {str(number): name for number, name in enumerate(head.labels)}
        config = {"architectures": ["GGUFForSequenceClassification"], "id2label": labels}
        facts = FolderFacts(self.files.first, config, None, None, len(labels))
        plan = plan_head(facts, self.choice.over(head.settings.head))
        if any(plan.place):
            raise UsageError(f"{self.spec[:80]!r}: a GGUF reward model has no other head than its linear one")
        return plan

    def describe(self) -> str:
        """How large it is."""
        return f"llama.cpp reward model, {self.files.size / 1e6:.1f} MB"

    def load(self, options: LoadOptions) -> RewardModel:
        """Load it; `auto` uses a GPU if llama.cpp was built for one."""
        from agentrm_models.rewards.explicit import ExplicitReward

        self.files.check()
        head = read_sidecar(self.head_file)
        bound = self.plan(head).bind(None, self.spec)
        counts = any((head.settings.likelihood, *(each.weight for each in head.settings.likelihoods)))
        told_by = self._told_by(head) if counts else None
        shares = LoadOptions(
            device=options.device,
            threads=options.threads,
            cache_bytes=options.cache_bytes // (2 if told_by else 1),
        )
        digests = [self.files.digest, file_digest(self.head_file), msgspec.json.encode(bound.columns).decode()]
        reader, notice = _read_through(self.files.first, shares, bound, head)
        language = None
        if told_by is not None:
            digests += [file_digest(told_by)] if told_by != self.files.first else []
            language, _ = _read_through(told_by, shares, RewardHead(), None)
        traits = RewardTraits(
            self.spec,
            hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16],
            head.settings.prompt or "short",
            environments=head.settings.environments,
            threshold=head.settings.stop_at,
            head=bound.words,
        )
        likelihoods = {each.instruction: each.weight for each in head.settings.likelihoods}
        return ExplicitReward.over(
            reader,
            traits,
            bound,
            likelihood=head.settings.likelihood,
            likelihoods=likelihoods,
            language=language,
            notice=notice,
        )

    def _told_by(self, head: SidecarHead) -> Path:
        """The file of the model that tells how likely a reply is."""
        if not head.settings.likelihood_model:
            return self.files.first
        if not self.language.is_file():
            cause = f"{self.files.first}: its reward counts how likely a reply is, and {self.language.name} is missing"
            raise DataError(cause, "agentrm-train export writes it.")
        return self.language


class _WithBeginning:
    """Puts the token that a file wants before every text."""

    def __init__(self, encoder: Encodes, beginning: int) -> None:
        self._encoder, self._beginning = encoder, beginning

    def ids(self, conversation: Conversation, add_generation_prompt: bool = False) -> list[int]:
        found = self._encoder.ids(conversation, add_generation_prompt)
        return found if found[:1] == [self._beginning] else [self._beginning, *found]


def _read_through(
    file: Path, options: LoadOptions, bound: RewardHead, head: SidecarHead | None
) -> tuple[ConversationReader, str]:
    """A reader over a file: of outputs where a head is given, otherwise of likelihoods; and a notice."""
    from agentrm_models.chat import ChatEncoder
    from agentrm_models.llama_cpp.gguf_tokenizer import GGUFTokenizer
    from agentrm_models.llama_cpp.native import NativeContext
    from agentrm_models.llama_cpp.scoring import LlamaScoringBackend
    from agentrm_models.rewards.reader import ConversationReader

    model = open_model(file, options.device)
    if head is not None and head.weight.shape[1] != model.width:
        widths = f"a head of {head.weight.shape[1]} numbers does not fit hidden states of {model.width}"
        model.close()
        raise DataError(f"{file}: {widths}", "Give the head that belongs to it.")
    encoder = ChatEncoder(GGUFTokenizer(model))
    beginning = model.adds_beginning()
    room = room_of(model, options.cache_bytes, exact=True)
    context = NativeContext(
        model, cells=room.cells, sequences=SEQUENCES, threads=options.threads, exact=True, hidden=head is not None
    )
    reader = ConversationReader(
        LlamaScoringBackend(context, SEQUENCES, None if head is None else head.outputs),
        encoder,
        encoder if beginning is None else _WithBeginning(encoder, beginning),
        columns=bound.columns,
        context_length=room.window,
        tells_likelihood=head is None,
        free=_closing(context.close, model),
    )
    return reader, room.notice


def _closing(close: Callable[[], None], model: NativeModel) -> Callable[[], None]:
    def free() -> None:
        close()
        model.close()

    return free
