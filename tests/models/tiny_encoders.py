"""Tiny random encoders with one output, each with a tokenizer that adds special tokens of its own."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf
from tiny_models import TEXTS
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

FAMILIES = ("bert", "roberta", "deberta-v2", "t5", "modernbert")
_WORDS = [*TEXTS, "User: Assistant: System: Goal: the red key. [user] [assistant] <pad>"] * 5


def tiny_encoder(family: str, window: int) -> tuple[Any, Any]:
    """A classifier that reads `window` tokens (T5: as many as there are), and its tokenizer."""
    torch.manual_seed(0)
    shape = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    shape |= {"intermediate_size": 48, "num_labels": 1, "max_position_embeddings": window}
    ends = {"bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2, "pad_token_id": 0}
    match family:
        case "bert":
            return _spread(hf.BertForSequenceClassification(hf.BertConfig(**shape))), _word_pieces()
        case "roberta":
            shape |= {"max_position_embeddings": window + 2, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
            return _spread(hf.RobertaForSequenceClassification(hf.RobertaConfig(**shape))), _bytes()
        case "deberta-v2":
            config = hf.DebertaV2Config(**shape, relative_attention=True, pos_att_type=["p2c", "c2p"])
            return _spread(hf.DebertaV2ForSequenceClassification(config)), _word_pieces()
        case "modernbert":
            config = hf.ModernBertConfig(**shape, **ends, global_attn_every_n_layers=2, local_attention=8)
            return _spread(hf.ModernBertForSequenceClassification(config)), _word_pieces()
        case "t5":
            sizes = {"vocab_size": 300, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
            ends = {"eos_token_id": 1, "pad_token_id": 0, "decoder_start_token_id": 0}
            return _spread(hf.T5ForSequenceClassification(hf.T5Config(**sizes, **ends, num_labels=1)), 1.5), _pieces()
        case _:
            raise KeyError(family)


def _spread(model: Any, factor: float = 8.0) -> Any:
    """Weights large enough that other texts have other scores."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.mul_(factor)
    return model.eval()


def _word_pieces() -> Any:
    names = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=names, show_progress=False)
    backend.train_from_iterator(_WORDS, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    roles = dict(zip(("pad_token", "cls_token", "sep_token", "unk_token", "mask_token"), names, strict=True))
    return hf.PreTrainedTokenizerFast(tokenizer_object=backend, **roles)


def _bytes() -> Any:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_WORDS, trainer)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    roles = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"}
    return hf.PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", **roles)


def _pieces() -> Any:
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    names = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=140, special_tokens=names, unk_token="<unk>", show_progress=False)
    backend.train_from_iterator(_WORDS, trainer)
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    roles = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return hf.PreTrainedTokenizerFast(tokenizer_object=backend, **roles)
