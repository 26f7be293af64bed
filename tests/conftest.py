"""What all tests share: properties that repeat, quiet threads, and the rule for tests that need a compiled package."""

from __future__ import annotations

import importlib.util
import os

import pytest
from hypothesis import settings

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip llama.cpp tests by name where the package is missing, unless it is required."""
    if importlib.util.find_spec("llama_cpp") or os.environ.get("REQUIRE_LLAMA_CPP"):
        return
    for item in items:
        if item.get_closest_marker("llama_cpp"):
            item.add_marker(pytest.mark.skip(reason="llama-cpp-python is not installed (needs a C++ compiler)"))
