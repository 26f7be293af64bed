"""Reward models behind servers: vLLM, SGLang, Text Embeddings Inference and llama-server."""
