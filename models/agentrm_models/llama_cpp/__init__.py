"""GGUF models through llama.cpp: native calls, sequences that share cells, tokenizer, and export."""
