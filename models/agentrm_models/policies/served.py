"""Policies on a server that speaks OpenAI's protocol, named by its address."""

from __future__ import annotations

from dataclasses import dataclass

from agentrm_models.kinds import ModelSpec, SpecText
from agentrm_models.load_options import LoadOptions
from agentrm_models.policies.base import Policy
from agentrm_models.server_address import read_server_address

ADDRESS_FORM = "http://HOST:PORT/v1[#MODEL]"
"""How an address is written, for remedies."""


@dataclass(frozen=True)
class ServerSpec(ModelSpec[Policy]):
    """A chat model behind an OpenAI-compatible server."""

    syntax = ("http(s)://HOST/v1[#MODEL]",)
    reads = True

    spec: str

    @classmethod
    def parse(cls, text: SpecText) -> ServerSpec | None:
        """An address, which holds no password."""
        if not text.whole.lower().startswith(("http://", "https://")):
            return None
        read_server_address(text.whole, ADDRESS_FORM)
        return cls(text.whole)

    def describe(self) -> str:
        """Where it is."""
        return f"policy served at {self.spec}"

    def load(self, options: LoadOptions) -> Policy:
        """Ask the server for its models; devices and threads are its own."""
        from agentrm_models.policies.openai_api import OpenAIPolicy

        return OpenAIPolicy(self.spec)
