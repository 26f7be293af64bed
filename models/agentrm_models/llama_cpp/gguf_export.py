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
is stored in the file, and `LlamaCppPolicy` repeats it when it loads one.

**Weights.** Tensor names and the permutation of query and key rows (llama.cpp rotates neighbouring pairs, Transformers
the two halves of a head) follow the GGUF conversion of the llama.cpp project.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from agentrm_models.checkpoint_files import checkpoint_files
from agentrm_models.errors import DataError, UsageError
from agentrm_models.folder_settings import read_settings
from agentrm_models.load_options import LoadOptions
from agentrm_models.loading import load_folder
from agentrm_models.weight_files import check_safetensors

GGUFType: TypeAlias = Literal["f32", "f16", "bf16"]
PreTokenizer: TypeAlias = Literal["smollm", "gpt-2", "qwen2", "llama-bpe"]

LOGIT_TOLERANCE = 5e-4
"""Largest difference of logits allowed with 32-bit weights and cache, flash attention off."""

PROBE_KEY = "agentrm.token_probe"
"""Metadata key of the token probe: a JSON list of [text, token ids]."""

PROMPT_KEY = "agentrm.prompt"
"""Metadata key of the instruction style that the model was trained with."""

_PROBE_TEXTS = (
    "Thought: the red key is behind door 12.\nAction: go to door 12\n",
    "it's we'll they've DON'T I'M you'D",
    " 1234 56,789 3.14 1/2 2024-11-20",
    "a  b   c    d\n\n\ne \n f\t\tg  \n",
    "x=1;y=2!!\n(ok)\n\n- item 1\n- item 2...\n",
    "100%\r\n\r\n$5.00\r",
    "日本語 héllo wörld Éa 12½ ٣٤ Ⅷ 🙂",
    "\u00a0\u3000wide\u2003space",
    "def f(x):\n    return [x_1, 'a']\n",
    "You see 7 boxes; OBSERVATION: Nothing happens.",
)
_TENSORS = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")
_ARCHITECTURES = {"LlamaForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2"}
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5


class ParityReport(NamedTuple):
    """What was checked on export.

    Attributes:
        file: The written file.
        label: The pre-tokenizer label.
        probe_texts: Texts on which both tokenizers gave the same tokens.
        logit_difference: Largest difference to Transformers with 32-bit weights, over all positions of the check.
        stored_difference: The same for the file as stored, whose weights may be rounded.
        checked: False when llama-cpp-python is not installed; the differences are NaN then.
    """

    file: Path
    label: str
    probe_texts: int
    logit_difference: float
    stored_difference: float
    checked: bool

    def __str__(self) -> str:
        if not self.checked:
            return f"{self.file}: pre-tokenizer {self.label}, parity not checked (llama-cpp-python is not installed)"
        return (
            f"{self.file}: pre-tokenizer {self.label}, {self.probe_texts} texts tokenised alike, logits within "
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
    if dtype not in get_args(GGUFType):
        raise UsageError(f"unknown GGUF type {dtype!r}", f"Use one of: {', '.join(get_args(GGUFType))}.")
    source = _Source(folder)
    probe = source.token_probe()
    labels = (pre_tokenizer,) if pre_tokenizer else source.labels()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        label, checked = _choose_label(source, labels, probe, Path(scratch))
        stored = Path(scratch) / "stored.gguf"
        _write(source, stored, dtype, label, probe)
        exact_difference = stored_difference = float("nan")
        if checked:
            stored_difference = exact_difference = _logit_difference(folder, stored)
            if dtype != "f32":
                exact = Path(scratch) / "exact.gguf"
                _write(source, exact, "f32", label, probe)
                exact_difference = _logit_difference(folder, exact)
            if not exact_difference <= LOGIT_TOLERANCE:
                raise DataError(
                    f"{folder}: llama.cpp's logits differ by {exact_difference:.2e} from Transformers' "
                    f"(allowed {LOGIT_TOLERANCE:.0e})"
                )
        stored.replace(out)
    return ParityReport(out, label, len(probe), exact_difference, stored_difference, checked)


def _choose_label(
    source: _Source, labels: tuple[PreTokenizer, ...], probe: list[tuple[str, list[int]]], scratch: Path
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


class _Source:
    """A Transformers folder, read without loading the model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = _read_json(folder / "config.json")
        name = (self.config.get("architectures") or ["?"])[0]
        if name not in _ARCHITECTURES:
            raise UsageError(f"{folder}: {name} cannot be exported", f"Known: {', '.join(_ARCHITECTURES)}.")
        self.architecture = _ARCHITECTURES[name]
        rope = self.config.get("rope_parameters") or self.config.get("rope_scaling") or {}
        if rope.get("rope_type", "default") != "default" or self.config.get("hidden_act", "silu") != "silu":
            raise UsageError(f"{folder}: scaled rotary positions and activations other than SiLU cannot be exported")
        self.rope_base = float(rope.get("rope_theta") or self.config.get("rope_theta") or 10_000.0)
        self.tokenizer = _read_json(folder / "tokenizer.json")
        self.tokenizer_config = _read_optional(folder / "tokenizer_config.json")
        self.generation = _read_optional(folder / "generation_config.json")
        self.prompt = read_settings(folder).prompt or ""
        self.weights = checkpoint_files(folder)
        for file in self.weights:
            check_safetensors(file)
        if self.tokenizer.get("model", {}).get("type") != "BPE":
            raise DataError(f"{folder}: only byte-level BPE tokenizers can be exported")

    def labels(self) -> tuple[PreTokenizer, ...]:
        """All labels, the one that the tokenizer's configuration calls for first."""
        parts = self.tokenizer.get("pre_tokenizer") or {}
        steps = parts.get("pretokenizers", [parts])
        patterns = [str(step["pattern"].get("Regex", "")) for step in steps if step.get("type") == "Split"]
        wanted: PreTokenizer
        if patterns:
            wanted = "llama-bpe" if r"\p{N}{1,3}" in patterns[0] else "qwen2"
        else:
            wanted = "smollm" if any(step.get("type") == "Digits" for step in steps) else "gpt-2"
        return (wanted, *(label for label in get_args(PreTokenizer) if label != wanted))

    def token_probe(self) -> list[tuple[str, list[int]]]:
        """Texts and their tokens: fixed ones, and seeded strings of the vocabulary's pieces, which provoke merges."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        special = {token["id"] for token in self.tokenizer.get("added_tokens", []) if token["special"]}
        pieces = [tokenizer.decode([token]) for token in range(tokenizer.get_vocab_size()) if token not in special]
        pieces = [piece for piece in pieces if piece and "\ufffd" not in piece]
        random = Random(0)
        own = ["".join(random.choices(pieces, k=24)) for _ in range(40)] if pieces else []
        texts = [text for text in (*_PROBE_TEXTS, *own) if not self._names_special_token(text)]
        return [(text, tokenizer.encode(text, add_special_tokens=False).ids) for text in texts]

    def _names_special_token(self, text: str) -> bool:
        return any(token["content"] in text for token in self.tokenizer.get("added_tokens", []) if token["special"])

    def vocabulary(self) -> tuple[list[str], list[int]]:
        """Token texts and GGUF token types by id, padded to the size of the embedding."""
        texts = {number: text for text, number in self.tokenizer["model"]["vocab"].items()}
        kinds = dict.fromkeys(texts, _NORMAL)
        for token in self.tokenizer.get("added_tokens", []):
            texts[token["id"]] = token["content"]
            kinds[token["id"]] = _CONTROL if token["special"] else _USER_DEFINED
        size = int(self.config["vocab_size"])
        if texts and max(texts) >= size:
            raise DataError(f"{self.folder}: the tokenizer has more tokens than the model ({max(texts) + 1} > {size})")
        names = [texts.get(number, f"[PAD{number}]") for number in range(size)]
        return names, [kinds.get(number, _UNUSED) for number in range(size)]

    def merges(self) -> list[str]:
        """Merges as `left right`, in order of rank."""
        return [merge if isinstance(merge, str) else " ".join(merge) for merge in self.tokenizer["model"]["merges"]]

    def stop_tokens(self) -> list[int]:
        """Tokens that end a reply, the end-of-turn token first."""
        stops = self.generation.get("eos_token_id", self.config.get("eos_token_id"))
        stops = stops if isinstance(stops, list) else [stops]
        return [int(token) for token in stops if token is not None]

    def chat_template(self) -> str:
        """The Jinja chat template; empty where there is none."""
        file = self.folder / "chat_template.jinja"
        if file.exists():
            return file.read_text(encoding="utf-8")
        template = self.tokenizer_config.get("chat_template", "")
        return template if isinstance(template, str) else ""

    def token_id(self, name: str) -> int | None:
        """The id of `bos_token`, `pad_token` or the like."""
        number = self.config.get(f"{name}_id")
        if isinstance(number, int):
            return number
        text = self.tokenizer_config.get(name)
        text = text.get("content") if isinstance(text, dict) else text
        found = {token["content"]: int(token["id"]) for token in self.tokenizer.get("added_tokens", [])}
        return found.get(text) if isinstance(text, str) else None

    def tensors(self) -> Iterator[tuple[str, Any]]:
        """GGUF names and 32-bit torch tensors, query and key rows in llama.cpp's order."""
        from safetensors import safe_open

        tied = bool(self.config.get("tie_word_embeddings", False))
        for file in self.weights:
            with safe_open(file, framework="pt") as opened:
                names = opened.keys()
                for name in names:
                    target = _gguf_name(name, self.folder)
                    if target is None or (tied and target == "output.weight"):
                        continue
                    yield target, self._permuted(target, opened.get_tensor(name).float())

    def _permuted(self, name: str, tensor: Any) -> Any:
        if self.architecture != "llama" or not re.search(r"\.attn_[qk]\.", name):
            return tensor
        heads = self.heads if ".attn_q." in name else self.key_value_heads
        halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
        return halves.swapaxes(1, 2).reshape(tensor.shape)

    @property
    def heads(self) -> int:
        """Query heads of a layer."""
        return int(self.config["num_attention_heads"])

    @property
    def key_value_heads(self) -> int:
        """Key and value heads of a layer."""
        return int(self.config.get("num_key_value_heads") or self.heads)


def _gguf_name(name: str, folder: Path) -> str | None:
    if name.endswith("rotary_emb.inv_freq"):
        return None
    stem, _, kind = name.rpartition(".")
    layer = _LAYER.fullmatch(stem)
    known = _TENSORS.get(layer.group(2) if layer else stem)
    if known is None or kind not in ("weight", "bias"):
        raise DataError(f"{folder}: unknown tensor {name!r}")
    return f"blk.{layer.group(1)}.{known}.{kind}" if layer else f"{known}.{kind}"


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not JSON"
        raise DataError(f"cannot read {file}: {reason}") from None


def _read_optional(file: Path) -> Any:
    return _read_json(file) if file.exists() else {}


def _write(
    source: _Source,
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


def _write_shape(writer: Any, source: _Source, file_type: int) -> None:
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


def _write_tokenizer(writer: Any, source: _Source, label: PreTokenizer) -> None:
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


def _logit_difference(folder: Path, file: Path) -> float:
    """Largest absolute difference of logits to Transformers on a seeded row of tokens."""
    import numpy
    import torch

    from agentrm_models.llama_cpp.native import NativeContext, NativeModel

    model = NativeModel(file, device="cpu")
    length = min(96, model.trained_context)
    random = Random(1)
    tokens = [random.randrange(model.vocabulary_size) for _ in range(length)]
    context = NativeContext(model, cells=length, threads=1, exact=True)
    native = context.decode(tokens, range(length), [0] * length, [True] * length)
    context.close()
    model.close()
    reference = load_folder(folder, "policy", LoadOptions(device="cpu")).model
    with torch.inference_mode():
        expected = reference(torch.tensor([tokens])).logits[0].numpy()
    if native is None:
        raise AssertionError("an empty context had no room for the parity check")
    return float(numpy.abs(native - expected).max())
