"""Writes a Transformers policy folder as one GGUF file for llama.cpp, and checks that both compute the same.

**Tokenizer.** llama.cpp does not read `tokenizer.json`'s pre-tokenizer; it knows some by a label, and a wrong label
silently gives other tokens. These byte-level BPE configurations of the `tokenizers` library match exactly:

| `tokenizers` pre-tokenizer | label |
|---|---|
| `Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=True)])` | `smollm` |
| `ByteLevel(add_prefix_space=False, use_regex=True)` | `gpt-2` |
| `Split(QWEN2_PATTERN)`, then `ByteLevel(add_prefix_space=False, use_regex=False)` | `qwen2` |
| `Split(LLAMA3_PATTERN)`, then `ByteLevel(add_prefix_space=False, use_regex=False)` | `llama-bpe` |

Small models that are trained here should use the first: digits stay single, so numbers cost what they should. No
normalizer, no prefix space, no post-processor that adds tokens, `initial_alphabet=ByteLevel.alphabet()`. Whatever the
configuration says, the label is accepted only if llama.cpp's tokens equal the tokenizer's on all probe texts; the probe
is stored in the file, and is repeated whenever one is loaded.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

from agentrm_models.errors import DataError, UsageError
from agentrm_models.llama_cpp.gguf_source import GGUFSource, PreTokenizer
from agentrm_models.llama_cpp.opening import PROBE_KEY, PROMPT_KEY
from agentrm_models.load_options import LoadOptions
from agentrm_models.loading import load_folder

if TYPE_CHECKING:
    from agentrm_models.llama_cpp.native import NativeModel

GGUFType: TypeAlias = Literal["f32", "f16", "bf16"]

LOGIT_TOLERANCE = 5e-4
"""Largest difference of logits allowed with 32-bit weights and cache, flash attention off."""


class ParityReport(NamedTuple):
    """What was checked on export.

    Attributes:
        file: The written file.
        label: The pre-tokenizer label.
        probe_texts: Texts on which both tokenizers gave the same tokens.
        logit_difference: Largest difference to Transformers with 32-bit weights, over all positions of the check.
        stored_difference: The same for the file as stored, whose weights may be rounded.
        checked: False when llama-cpp-python is not installed; the differences are NaN then.
        numbers: What was compared: logits, or rewards.
    """

    file: Path
    label: str
    probe_texts: int
    logit_difference: float
    stored_difference: float
    checked: bool
    numbers: str = "logits"

    def __str__(self) -> str:
        if not self.checked:
            return f"{self.file}: pre-tokenizer {self.label}, parity not checked (llama-cpp-python is not installed)"
        return (
            f"{self.file}: pre-tokenizer {self.label}, {self.probe_texts} texts tokenised alike, {self.numbers} within "
            f"{self.logit_difference:.1e} in 32 bits and {self.stored_difference:.1e} as stored"
        )


def export_gguf(
    folder: Path, out: Path, dtype: GGUFType = "f16", pre_tokenizer: PreTokenizer | None = None
) -> ParityReport:
    """Write a Llama- or Qwen2-architecture policy as GGUF.

    Args:
        folder: A Transformers folder: `config.json`, `tokenizer.json`, safetensors.
        out: The file to write; it appears only when everything was checked.
        dtype: How matrices are stored; vectors are always 32-bit.
        pre_tokenizer: Insist on this label instead of the one that the tokenizer's configuration calls for.

    Raises:
        UsageError: Unknown `dtype`, or an architecture that cannot be exported.
        DataError: Files missing or damaged, a tokenizer that llama.cpp cannot reproduce, or logits that differ.
    """
    return write_checked(GGUFSource(folder), out, dtype, lambda file: _logit_difference(folder, file), pre_tokenizer)


def write_checked(
    source: GGUFSource,
    out: Path,
    dtype: GGUFType,
    difference: Callable[[Path], float],
    pre_tokenizer: PreTokenizer | None = None,
) -> ParityReport:
    """Write a GGUF file that gives the source's tokens and numbers; errors as `export_gguf`.

    Args:
        difference: How far the numbers of a written file are from those of Transformers.
    """
    if dtype not in get_args(GGUFType):
        raise UsageError(f"unknown GGUF type {dtype!r}", f"Use one of: {', '.join(get_args(GGUFType))}.")
    probe = source.token_probe()
    labels = (pre_tokenizer,) if pre_tokenizer else source.labels()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        label, checked = _choose_label(source, labels, probe, Path(scratch))
        stored = Path(scratch) / "stored.gguf"
        _write(source, stored, dtype, label, probe)
        exact_difference = stored_difference = float("nan")
        if checked:
            stored_difference = exact_difference = difference(stored)
            if dtype != "f32":
                exact = Path(scratch) / "exact.gguf"
                _write(source, exact, "f32", label, probe)
                exact_difference = difference(exact)
            if not exact_difference <= LOGIT_TOLERANCE:
                raise DataError(
                    f"{source.folder}: llama.cpp's {source.numbers} differ by {exact_difference:.2e} from "
                    f"Transformers' (allowed {LOGIT_TOLERANCE:.0e})"
                )
        stored.replace(out)
    return ParityReport(out, label, len(probe), exact_difference, stored_difference, checked, source.numbers)


def _choose_label(
    source: GGUFSource, labels: tuple[PreTokenizer, ...], probe: list[tuple[str, list[int]]], scratch: Path
) -> tuple[PreTokenizer, bool]:
    """The first label with which llama.cpp gives the tokenizer's tokens, and whether that could be tested."""
    from agentrm_models.llama_cpp.native import NativeModel, load_library

    try:
        load_library()
    except DataError:
        return labels[0], False
    failed = ""
    for label in labels:
        file = scratch / "vocabulary.gguf"
        _write(source, file, "f32", label, probe, tensors=False)
        model = NativeModel(file, vocabulary_only=True)
        wrong = next((text for text, tokens in probe if model.tokenize(text, special=False) != tokens), None)
        model.close()
        if wrong is None:
            return label, True
        failed = failed or f"{label} differs on {wrong[:40]!r}"
    raise DataError(
        f"{source.folder}: llama.cpp cannot reproduce this tokenizer ({failed})",
        "Use one of the pre-tokenizers that the gguf_export module documents.",
    )


def _write(
    source: GGUFSource,
    file: Path,
    dtype: GGUFType,
    label: PreTokenizer,
    probe: list[tuple[str, list[int]]],
    tensors: bool = True,
) -> None:
    import gguf
    import numpy

    writer = gguf.GGUFWriter(file, source.architecture)
    _write_shape(writer, source, {"f32": 0, "f16": 1, "bf16": 32}[dtype])
    _write_tokenizer(writer, source, label)
    writer.add_string(PROBE_KEY, json.dumps(probe))
    if source.prompt:
        writer.add_string(PROMPT_KEY, source.prompt)
    if tensors:
        for name, tensor in source.tensors():
            array = tensor.contiguous().numpy()
            if dtype == "f32" or array.ndim == 1:
                writer.add_tensor(name, array)
            elif dtype == "f16":
                writer.add_tensor(name, array.astype(numpy.float16))
            else:
                kind = gguf.GGMLQuantizationType.BF16
                writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_shape(writer: Any, source: GGUFSource, file_type: int) -> None:
    config = source.config
    width = int(config.get("head_dim") or int(config["hidden_size"]) // source.heads)
    writer.add_name(source.folder.name)
    writer.add_file_type(file_type)
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(int(config["hidden_size"]))
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(source.heads)
    writer.add_head_count_kv(source.key_value_heads)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(source.rope_base)
    writer.add_layer_norm_rms_eps(float(config.get("rms_norm_eps", 1e-6)))
    writer.add_vocab_size(int(config["vocab_size"]))


def _write_tokenizer(writer: Any, source: GGUFSource, label: PreTokenizer) -> None:
    texts, kinds = source.vocabulary()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(label)
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    writer.add_token_merges(source.merges())
    writer.add_add_bos_token(False)
    ids: Mapping[str, int | None] = {name: source.token_id(f"{name}_token") for name in ("bos", "unk", "pad")}
    if ids["bos"] is not None:
        writer.add_bos_token_id(ids["bos"])
    if ids["unk"] is not None:
        writer.add_unk_token_id(ids["unk"])
    if ids["pad"] is not None:
        writer.add_pad_token_id(ids["pad"])
    stops = source.stop_tokens()
    if stops:
        writer.add_eos_token_id(stops[0])
        writer.add_eot_token_id(stops[-1])
    if source.chat_template():
        writer.add_chat_template(source.chat_template())


def parity_tokens(model: NativeModel) -> list[int]:
    """A seeded row of tokens for the comparison with Transformers."""
    random = Random(1)
    return [random.randrange(model.vocabulary_size) for _ in range(min(96, model.trained_context))]


def _logit_difference(folder: Path, file: Path) -> float:
    """Largest absolute difference of logits to Transformers on a seeded row of tokens."""
    import numpy
    import torch

    from agentrm_models.llama_cpp.native import NativeContext, NativeModel

    model = NativeModel(file, device="cpu")
    tokens = parity_tokens(model)
    context = NativeContext(model, cells=len(tokens), threads=1, exact=True)
    native = context.decode(tokens, range(len(tokens)), [0] * len(tokens), [True] * len(tokens))
    context.close()
    model.close()
    reference = load_folder(folder, "policy", LoadOptions(device="cpu")).model
    with torch.inference_mode():
        expected = reference(torch.tensor([tokens])).logits[0].numpy()
    if native is None:
        raise AssertionError("an empty context had no room for the parity check")
    return float(numpy.abs(native - expected).max())
