"""Policies on servers that speak OpenAI's protocol, named by their addresses."""

from __future__ import annotations

from dataclasses import dataclass

from agentrm_models.kinds import ModelSpec, SpecText
from agentrm_models.load_options import LoadOptions
from agentrm_models.policies.base import Policy
from agentrm_models.policies.server_quirks import Quirks, read_served_policy
from agentrm_models.server_spec import ServedSpec


@dataclass(frozen=True)
class ServerSpec(ModelSpec[Policy]):
    """A chat model behind one or several OpenAI-compatible servers."""

    syntax = ("http(s)://HOST/v1[#MODEL]",)
    reads = True

    spec: str
    served: ServedSpec[Quirks]

    @classmethod
    def parse(cls, text: SpecText) -> ServerSpec | None:
        """Addresses, which hold no password."""
        if not text.whole.lower().startswith(("http://", "https://")):
            return None
        return cls(text.whole, read_served_policy(text.whole))

    def describe(self) -> str:
        """Where it is."""
        return f"policy served at {self.spec}"

    def load(self, options: LoadOptions) -> Policy:
        """Ask the server for its models; devices and threads are its own."""
        from agentrm_models.policies.openai_api import OpenAIPolicy

        return OpenAIPolicy(self.spec)
