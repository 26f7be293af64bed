"""Does every family of models give what the library's own forward pass gives, whatever computes it here?

Each small random model is loaded as a policy or reward model. Outputs, log-probabilities and branches on trees of
texts shorter and longer than its windows are compared with `model(ids).logits` of each text alone, by a copy of the
model that nothing else touches. `python benchmarks/families.py --out docs/families.md` writes the table;
`python benchmarks/families.py policy granite mamba` looks at single ones.
"""

from __future__ import annotations

import argparse
import copy
import math
import random
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import transformers as hf
from family_models import KINDS, NotBuiltError, build

from agentrm_models.errors import DataError
from agentrm_models.rewards.reader import Reader
from agentrm_models.trie.backends import choose_backend
from agentrm_models.trie.cached import CachedBackend
from agentrm_models.trie.packed_check import PACKED_TOLERANCE, packed_difference
from agentrm_models.trie.states import Span, architecture_of
from agentrm_models.trie.tree_attention import UnsupportedAttentionError

EQUAL = 1e-3
"""Largest difference that counts as equal, in units of how far the expected outputs lie apart."""

Outcome = Literal["cached", "fallback", "refused", "not built", "WRONG"]


class Row(NamedTuple):
    """What became of one family in one role.

    Attributes:
        why: Why the prefix cache is off, why it was refused, or what stood in the way of building it.
        packed: Empty where it may be trained on packed trees, else why not.
        error: The largest difference from the library's own outputs, in units of their spread.
    """

    role: str
    family: str
    model: str
    outcome: Outcome
    why: str
    packed: str
    error: float


def examine(role: str, family: str, tokenizer: Any) -> Row:
    """Build, load and compare one family; anything but a `DataError` is raised."""
    try:
        model = build(role, family)
    except NotBuiltError as error:
        return Row(role, family, "", "not built", str(error), "", math.nan)
    name, own = type(model).__name__, OwnLogits(model)
    try:
        if role == "policy":
            backend, notice = choose_backend(architecture_of(model), 0, True)
        else:
            reader = Reader(model, tokenizer, 0, True)
            backend, notice = reader._backend, reader.notice
        found = policy_error(backend, own) if role == "policy" else reward_error(backend, own)
    except DataError as error:
        return Row(role, family, name, "refused", error.cause, packing(model), math.nan)
    outcome: Outcome = "cached" if isinstance(backend, CachedBackend) else "fallback"
    if not found <= EQUAL:
        outcome = "WRONG"
    return Row(role, family, name, outcome, notice.partition(": ")[2], packing(model), found)


class OwnLogits:
    """The library's own logits of single texts, by fresh copies of a model as it was built."""

    def __init__(self, model: Any) -> None:
        self._model = copy.deepcopy(model)
        config = model.config.get_text_config()
        self.whole = bool(getattr(model.config, "is_encoder_decoder", False))
        special = {getattr(config, name, None) for name in ("pad_token_id", "eos_token_id", "bos_token_id")}
        self.ids = [token for token in range(min(90, int(getattr(config, "vocab_size", 90)))) if token not in special]
        self.end: list[int] = [config.eos_token_id] if self.whole and config.eos_token_id is not None else []

    def of(self, text: Sequence[int]) -> torch.Tensor:
        """Logits (tokens, vocabulary) or (outputs,) of a text."""
        with torch.inference_mode():
            logits: torch.Tensor = copy.deepcopy(self._model)(input_ids=torch.tensor([list(text)])).logits[0]
        return logits.float()


def tree(own: OwnLogits) -> list[list[int]]:
    """Texts of 12 to 120 tokens that share beginnings."""
    draw = random.Random(3)

    def text(length: int) -> list[int]:
        return draw.choices(own.ids, k=length)

    stem = text(70)
    left, right = stem + text(30), stem[:40] + text(60)
    texts = [stem, left, left + text(20), right, left[:85] + text(9), text(12), text(90)]
    return [ids + own.end for ids in texts]


def reward_error(backend: Any, own: OwnLogits) -> float:
    """How far a reward model's scores are from the library's, read in two calls."""
    texts = tree(own)
    expected = torch.stack([own.of(text).flatten() for text in texts])
    first, again = backend.outputs(texts[:3]), backend.outputs(texts)
    found = torch.cat([first, again]).flatten(1).float()
    return apart([found], [torch.cat([expected[:3], expected])])


def policy_error(backend: Any, own: OwnLogits) -> float:
    """The same of a policy's outputs, of the log-probabilities of spans, and of branches that grow by 24 tokens."""
    texts = tree(own)
    logits = [own.of(text) for text in texts]
    found = [*backend.outputs(texts[:3]), *backend.outputs(texts)]
    expected = [part[-1] for part in (*logits[:3], *logits)]
    if architecture_of(own._model).vocabulary is not None:
        spans = [Span(len(text) // 2, len(text)) for text in texts]
        for text, span, logs, part in zip(texts, spans, backend.logs(texts, spans), logits, strict=True):
            odds = part[span.start - 1 : -1].log_softmax(-1)
            found.append(torch.from_numpy(logs[:, 0]))
            expected.append(odds.gather(1, torch.tensor(text[span.start :])[:, None])[:, 0])
    grown, wanted = branches(backend, own, [texts[1], texts[5], texts[3]])
    return apart(found + grown, expected + wanted)


def branches(backend: Any, own: OwnLogits, prompts: list[list[int]]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Outputs of branches of ragged prompts, some of which end early, and what the library gives these texts."""
    draw, home = random.Random(9), (0, 0, 1, 2, 2, 2)
    decoding = backend.decode(prompts, [2, 1, 3], [30, 30, 30])
    written = [list(prompts[place]) for place in home]
    found, expected = list(decoding.first), [own.of(prompt)[-1] for prompt in prompts]
    for step in range(24):
        rows = [0, 1, 2, 3, 4, 5] if step < 10 else [0, 2, 3, 5]
        tokens = [draw.choice(own.ids) for _ in rows]
        for row, token in zip(rows, tokens, strict=True):
            written[row].append(token)
        outputs = decoding.step(rows, tokens)
        if step in (0, 3, 12, 23):
            found += list(outputs)
            expected += [own.of(written[row])[-1] for row in rows]
    decoding.close()
    return found, expected


def apart(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    """The largest difference in units of the spread of what is expected; logits that are masked do not count."""
    left, right = (torch.cat([part.double().flatten() for part in parts]) for parts in (found, expected))
    counted = right.abs() < 1e30
    if not bool((left[~counted] == right[~counted]).all()):
        return math.inf
    unit = max(float(right[counted].std(correction=0)), 1e-2 * float(right[counted].abs().max()))
    return float((left - right)[counted].abs().max()) / unit


def packing(model: Any) -> str:
    """Why a model may not be trained on packed trees; empty where it may."""
    try:
        found = packed_difference(architecture_of(model))
    except (UnsupportedAttentionError, DataError) as error:
        return str(error)
    return "" if found <= PACKED_TOLERANCE else f"outputs differ by {found:.2g}"


def counts(rows: Sequence[Row]) -> str:
    """One line for each role."""
    lines = []
    for role in KINDS:
        mine = [row for row in rows if row.role == role]
        kinds = Counter(row.outcome for row in mine)
        packed = sum(row.outcome in ("cached", "fallback", "refused") and not row.packed for row in mine)
        each = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        lines.append(f"{role}: {len(mine)} families: {each}; {packed} may be trained packed")
    return "\n".join(lines)


def page(rows: Sequence[Row]) -> str:
    """The table as a page of the documentation."""
    head = f"""# Families of models

Every family that Transformers {hf.__version__} maps to causal models or sequence classifiers, built small with random
weights, loaded, and compared with `model(ids).logits` of each text alone, on trees of texts shorter and longer than its
windows.
Written by `python benchmarks/families.py --out docs/families.md`.

- **cached**: every unique token of a search tree is computed once.
- **fallback**: computed by the library's own forward pass, with what it keeps of earlier tokens where that is the same.
- **refused**: not loaded, with the reason.
- **not built**: cannot be built small from its configuration alone, or does not read plain text; not compared.

*packed* says whether `sft` and `fit` may train it on packed trees. *difference* is the largest one from the library's
logits, in units of their standard deviation.

"""
    lines = ["| role | family | outcome | why not cached | packed | difference |", "|---|---|---|---|---|---|"]
    for row in rows:
        packed = "" if row.outcome == "not built" else row.packed or "yes"
        error = "" if math.isnan(row.error) else f"{row.error:.0e}"
        cells = (row.role, f"`{row.family}`", row.outcome, row.why, packed, error)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    summary = "\n".join(f"- {line}" for line in counts(rows).splitlines())
    return f"{head}{summary}\n\n" + "\n".join(lines) + "\n"


def plain_tokenizer() -> Any:
    """A tokenizer whose ids nobody looks at: the reader of a reward model wants one."""
    from tokenizers import Tokenizer, models

    backend = Tokenizer(models.WordLevel({"<p>": 0, "<s>": 1, "</s>": 2, "a": 3}, unk_token="a"))
    ends = {"pad_token": "<p>", "bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
    return hf.PreTrainedTokenizerFast(tokenizer_object=backend, **ends)


def main(arguments: Sequence[str] | None = None) -> int:
    """Look at all families, or at those named; exit code 1 where one is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="roles (policy, reward) and families; none: all")
    parser.add_argument("--out", type=Path, help="a page to write")
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    hf.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)
    roles = [role for role in KINDS if role in given.names] or list(KINDS)
    families = set(given.names) - set(KINDS)
    tokenizer, rows = plain_tokenizer(), list[Row]()
    for role in roles:
        for family in KINDS[role][1]:
            if not families or family in families:
                rows.append(examine(role, family, tokenizer))
                row = rows[-1]
                print(f"{role:7}{family:26}{row.outcome:10}{row.error:9.0e}  {row.why}; packed: {row.packed or 'yes'}")
                sys.stdout.flush()
    print(counts(rows))
    if given.out:
        given.out.write_text(page(rows), "utf-8")
    return int(any(row.outcome == "WRONG" for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
