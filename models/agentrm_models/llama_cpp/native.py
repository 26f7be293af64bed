"""llama.cpp by its low-level interface: a model file, and a context whose sequences share key/value cells.

Only what prefix sharing needs: the high-level classes of llama-cpp-python know one sequence at a time.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy
from numpy.typing import NDArray

from agentrm_models.errors import DataError, MemoryExhaustedError, MissingExtraError, UsageError

_held: list[Any] = []
"""The log callback: llama.cpp keeps a bare pointer to it, so it must live as long as the process."""

_complaints: list[str] = []
"""Error lines of the last load, for the one line that a person sees."""

_F32 = 0
BATCH_ROWS = 512
"""Rows that one call can compute."""
_ERROR_LEVEL = 4


def load_library() -> Any:
    """Import llama-cpp-python, silence it, and start its backend once.

    Raises:
        MissingExtraError: The package is not installed.
    """
    try:
        import llama_cpp
    except ImportError:
        raise MissingExtraError(
            "llama-cpp-python is not installed", "pip install 'agentrm-tui[llama-cpp]' (needs a C++ compiler)"
        ) from None
    if not _held:
        _held.append(llama_cpp.llama_log_callback(_remember))
        llama_cpp.llama_log_set(_held[0], ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
    return llama_cpp


def _remember(level: int, text: bytes, data: object) -> None:
    """Print nothing; keep errors for `NativeModel` to quote."""
    if level == _ERROR_LEVEL:
        _complaints.append(text.decode("utf-8", "replace").strip())


class NativeModel:
    """A loaded GGUF file: weights, vocabulary and metadata."""

    def __init__(self, file: Path, *, device: str = "auto", vocabulary_only: bool = False) -> None:
        self._library = load_library()
        self.file = file
        if device.partition(":")[0] not in ("auto", "cpu", "cuda"):
            raise UsageError(f"--device {device[:80]} is not usable here", "Use cpu or auto.")
        if device.startswith("cuda") and not self._library.llama_supports_gpu_offload():
            raise UsageError(f"--device {device[:80]}: llama-cpp-python was built without CUDA", "Use cpu or auto.")
        settings = self._library.llama_model_default_params()
        settings.vocab_only = vocabulary_only
        settings.n_gpu_layers = 0 if device == "cpu" or vocabulary_only else -1
        if device.startswith("cuda:"):
            settings.main_gpu = int(device.removeprefix("cuda:"))
        _complaints.clear()
        self.handle = self._library.llama_model_load_from_file(os.fsencode(file), settings)
        if not self.handle:
            reason = next((line for line in _complaints if line), "it is damaged, or of an unknown kind")
            raise DataError(f"llama.cpp cannot load {file}: {reason[:200]}")
        self._vocabulary = self._library.llama_model_get_vocab(self.handle)
        if not vocabulary_only and self._library.llama_model_has_encoder(self.handle):
            self.close()
            raise not_causal(file)

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens, padding included."""
        return int(self._library.llama_vocab_n_tokens(self._vocabulary))

    @property
    def width(self) -> int:
        """Numbers in a hidden state."""
        return int(self._library.llama_model_n_embd(self.handle))

    @property
    def trained_context(self) -> int:
        """Tokens that the model was trained to read."""
        return int(self._library.llama_model_n_ctx_train(self.handle))

    @property
    def cell_bytes(self) -> int:
        """Bytes of one key/value cell in 16 bits, estimated from the model's shape."""
        library = self._library
        heads = max(1, library.llama_model_n_head(self.handle))
        width = library.llama_model_n_embd(self.handle) * library.llama_model_n_head_kv(self.handle) // heads
        return int(max(1, library.llama_model_n_layer(self.handle) * width * 2 * 2))

    def stop_tokens(self) -> frozenset[int]:
        """All tokens that end a turn or a text, by the vocabulary's own marks."""
        is_end = self._library.llama_vocab_is_eog
        return frozenset(token for token in range(self.vocabulary_size) if is_end(self._vocabulary, token))

    def token_id(self, name: Literal["bos", "eos"]) -> int | None:
        """The token that begins or ends a text, if there is one."""
        library = self._library
        token = int((library.llama_vocab_bos if name == "bos" else library.llama_vocab_eos)(self._vocabulary))
        return token if token >= 0 else None

    def special_texts(self) -> dict[str, str]:
        """Texts of the beginning and end tokens, as chat templates name them; empty where there is none."""
        tokens = {"bos_token": self.token_id("bos"), "eos_token": self.token_id("eos")}
        return {name: "" if token is None else self._text(token) for name, token in tokens.items()}

    def control_tokens(self) -> dict[int, str]:
        """Texts of all control tokens by id: what people's texts must not be able to write."""
        is_control = self._library.llama_vocab_is_control
        tokens = (token for token in range(self.vocabulary_size) if is_control(self._vocabulary, token))
        return {token: text for token in tokens if (text := self._text(token))}

    def _text(self, token: int) -> str:
        return self.piece(token, special=True).decode("utf-8", "replace")

    def adds_beginning(self) -> int | None:
        """The beginning token, if the file wants one before every text."""
        if not self._library.llama_vocab_get_add_bos(self._vocabulary):
            return None
        return self.token_id("bos")

    def metadata(self, key: str) -> str | None:
        """A text or number of the file's header; None where there is none."""
        size = self._library.llama_model_meta_val_str(self.handle, key.encode(), None, 0)
        if size < 0:
            return None
        room = ctypes.create_string_buffer(size + 1)
        self._library.llama_model_meta_val_str(self.handle, key.encode(), room, size + 1)
        return room.value.decode("utf-8", "replace")

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Encode without adding a beginning token.

        Args:
            text: Any text.
            special: Whether the texts of control tokens become those tokens: true for a template's own text, false
                for what people and environments wrote.
        """
        raw = text.encode()
        room = len(raw) + 8
        while True:
            tokens = (ctypes.c_int32 * room)()
            count = self._library.llama_tokenize(self._vocabulary, raw, len(raw), tokens, room, False, special)
            if count >= 0:
                return list(tokens[:count])
            room = -count

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes that a token stands for; control tokens have none unless `special`."""
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            count = self._library.llama_token_to_piece(self._vocabulary, token, buffer, room, 0, special)
            if count >= 0:
                return buffer.raw[:count]
            room = -count

    def close(self) -> None:
        """Free the weights."""
        if self.handle:
            self._library.llama_model_free(self.handle)
            self.handle = None


def not_causal(file: Path) -> DataError:
    """The error for models that read a whole text at once."""
    return DataError(f"{file} is not a causal language model", "Models with an encoder cannot be policies.")


class NativeContext:
    """Key/value cells of one model, shared by numbered sequences.

    Args:
        model: Stays open as long as this is used.
        cells: Key/value cells for all sequences together.
        sequences: How many sequences can exist at once.
        threads: CPU threads; 0 lets llama.cpp choose half of the machine's.
        exact: Keep keys and values in 32 bits and leave flash attention off, to compare with another library.
        hidden: Give hidden states after the last norm instead of logits.
    """

    def __init__(
        self,
        model: NativeModel,
        *,
        cells: int,
        sequences: int = 1,
        threads: int = 0,
        exact: bool = False,
        hidden: bool = False,
    ) -> None:
        self.model = model
        self._hidden = hidden
        self._library = library = load_library()
        settings = library.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch = cells, BATCH_ROWS, BATCH_ROWS
        settings.n_seq_max, settings.kv_unified = sequences, True
        settings.n_threads = settings.n_threads_batch = threads or max(1, (os.cpu_count() or 2) // 2)
        if exact:
            settings.type_k = settings.type_v = _F32
            settings.flash_attn_type = 0
        if hidden:
            settings.embeddings, settings.pooling_type = True, library.LLAMA_POOLING_TYPE_NONE
        self.handle = library.llama_init_from_model(model.handle, settings)
        if not self.handle:
            raise MemoryExhaustedError(
                f"no memory for {cells} cells of the key/value cache of {model.file}", "Lower the cache limit."
            )
        self.cells = int(library.llama_n_ctx(self.handle))
        self._memory = library.llama_get_memory(self.handle)
        if not self._memory:
            library.llama_free(self.handle)
            raise not_causal(model.file)
        self._size = model.width if hidden else model.vocabulary_size
        self._batch = library.llama_batch_init(BATCH_ROWS, 0, 1)

    def decode(
        self, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int], wanted: Sequence[bool]
    ) -> NDArray[numpy.float32] | None:
        """Run rows through the model: row i appends `tokens[i]` at `positions[i]` to `sequences[i]`.

        Returns:
            Logits of the wanted rows (rows, vocabulary), or their hidden states (rows, width); None when there are not
            enough free cells, and then nothing has changed.

        Raises:
            MemoryExhaustedError: llama.cpp could not compute the batch.
        """
        if len(tokens) > BATCH_ROWS:
            raise AssertionError(f"at most {BATCH_ROWS} rows can be decoded at once")
        batch = self._batch
        batch.n_tokens = len(tokens)
        for row, (token, position, sequence, want) in enumerate(zip(tokens, positions, sequences, wanted, strict=True)):
            batch.token[row] = token
            batch.pos[row] = position
            batch.n_seq_id[row] = 1
            batch.seq_id[row][0] = sequence
            batch.logits[row] = want
        code = self._library.llama_decode(self.handle, batch)
        if code == 1:
            return None
        if code != 0:
            raise MemoryExhaustedError(f"llama.cpp could not compute {len(tokens)} tokens (code {code})")
        return self._logits(wanted)

    def _logits(self, wanted: Sequence[bool]) -> NDArray[numpy.float32]:
        rows = [row for row, want in enumerate(wanted) if want]
        logits = numpy.empty((len(rows), self._size), numpy.float32)
        read = self._library.llama_get_embeddings_ith if self._hidden else self._library.llama_get_logits_ith
        for place, row in enumerate(rows):
            pointer = read(self.handle, row)
            logits[place] = numpy.ctypeslib.as_array(pointer, (self._size,))
        return logits

    def copy(self, source: int, target: int) -> None:
        """Let `target` share all cells of `source`."""
        self._library.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def cut(self, sequence: int, length: int) -> bool:
        """Keep the first `length` positions; false if this kind of memory cannot be cut there."""
        return bool(self._library.llama_memory_seq_rm(self._memory, sequence, length, -1))

    def drop(self, sequence: int) -> None:
        """Forget a sequence; cells that no other shares become free."""
        self._library.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def clear(self) -> None:
        """Forget all sequences."""
        self._library.llama_memory_clear(self._memory, True)

    def close(self) -> None:
        """Free the cells."""
        if self.handle:
            self._library.llama_batch_free(self._batch)
            self._library.llama_free(self.handle)
            self.handle = None
