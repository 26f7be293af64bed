"""A policy without a model that gives the replies of a text file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from time import perf_counter

from agentrm_models.errors import DataError, UsageError
from agentrm_models.kinds import ModelSpec, SpecText
from agentrm_models.load_options import LoadOptions
from agentrm_models.policies.base import Candidate, Policy, PolicyTraits, ProposeRequest
from agentrm_models.sampling import check_decoding
from agentrm_models.typed_path import refuse_endless, typed_path
from agentrm_models.usage import Progress, ProgressHook, Usage, ignore_progress


@dataclass(frozen=True)
class ScriptFileSpec(ModelSpec[Policy]):
    """The spec `scripted:FILE`."""

    syntax = ("scripted:FILE",)

    spec: str
    file: Path

    @classmethod
    def parse(cls, text: SpecText) -> ScriptFileSpec | None:
        """The word and a file."""
        if text.head != "scripted" or text.rest is None:
            return None
        if not text.rest:
            raise UsageError(
                "scripted: lacks its file", "Write scripted:FILE, or scripted alone for the seeded player."
            )
        return cls(text.whole, typed_path(text.rest))

    def describe(self) -> str:
        """Which file."""
        return f"replies from {self.file}"

    def load(self, options: LoadOptions) -> Policy:
        """Read the file."""
        return FileScriptPolicy(self.file)


class FileScriptPolicy:
    """Gives the replies of a text file, one for each step, separated by blank lines; the last one repeats."""

    notice = ""

    def __init__(self, file: Path) -> None:
        refuse_endless(file)
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise DataError(f"cannot read the script {file}: {reason}") from None
        self._replies = [part.strip("\n") for part in re.split(r"\n[ \t]*\n", text) if part.strip()]
        if not self._replies:
            raise DataError(
                f"the script {file} has no reply", "Write one reply for each step, with blank lines between."
            )
        self._name = f"scripted:{file.name}"
        self._digest = blake2b(text.encode(), digest_size=8).hexdigest()
        self._usage = Usage()

    @property
    def traits(self) -> PolicyTraits:
        """It always gives the same reply at the same step."""
        return PolicyTraits(name=self._name, digest=self._digest, deterministic=True)

    @property
    def usage(self) -> Usage:
        """No tokens are computed; words are counted as generated tokens."""
        return self._usage

    def propose(
        self, requests: Sequence[ProposeRequest], progress: ProgressHook = ignore_progress
    ) -> list[list[Candidate]]:
        """Answer with the reply of the current step, which is the number of assistant messages so far."""
        started = perf_counter()
        answers = []
        for done, request in enumerate(requests):
            progress(Progress("reading the script", done, len(requests)))
            check_decoding(request.decoding, request.n)
            step = sum(message.role == "assistant" for message in request.conversation)
            text = self._replies[min(step, len(self._replies) - 1)]
            answers.append([Candidate(text, 0.0, len(text.split()))] * request.n)
        self._usage += Usage(
            tokens_generated=sum(reply.tokens for replies in answers for reply in replies),
            requests=1,
            milliseconds=(perf_counter() - started) * 1e3,
        )
        return answers

    def new_episode(self) -> None:
        """Nothing is kept between calls."""

    def close(self) -> None:
        """Nothing is held."""
