"""A Transformers folder as the source of a GGUF file: its tokenizer, its tensors by llama.cpp's names, its token probe.

**Weights.** Tensor names and the permutation of query and key rows (llama.cpp rotates neighbouring pairs, Transformers
the two halves of a head) follow the GGUF conversion of the llama.cpp project.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Literal, TypeAlias, get_args

from agentrm_models.checkpoint_files import checkpoint_files
from agentrm_models.errors import DataError, UsageError
from agentrm_models.folder_settings import read_settings
from agentrm_models.weight_files import check_safetensors

PreTokenizer: TypeAlias = Literal["smollm", "gpt-2", "qwen2", "llama-bpe"]

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
_HEADS = ("score", "v_head", "value_head", "mean", "std")
"""What belongs to a reward head, which llama.cpp does not compute."""

_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")
ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "LlamaForSequenceClassification": "llama",
    "Qwen2ForSequenceClassification": "qwen2",
}
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5


class GGUFSource:
    """A Transformers folder, read without loading the model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = _read_json(folder / "config.json")
        name = (self.config.get("architectures") or ["?"])[0]
        if name not in ARCHITECTURES:
            raise UsageError(f"{folder}: {name} cannot be exported", f"Known: {', '.join(ARCHITECTURES)}.")
        self.architecture = ARCHITECTURES[name]
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

    @property
    def numbers(self) -> str:
        """What the model gives."""
        return "rewards" if "Classification" in self.config["architectures"][0] else "logits"

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
    if name.endswith("rotary_emb.inv_freq") or name.partition(".")[0] in _HEADS:
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
