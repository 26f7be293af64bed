"""Models of the Hugging Face hub: their names, and how they come here."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from agentrm_models.errors import DataError, UsageError
from agentrm_models.kinds import SpecText

_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
"""What is fetched of a repository: never pickled weights, never code unless it is asked for."""


class HubName(NamedTuple):
    """`hf:ORG/REPO[:FILE]`, taken apart.

    Attributes:
        file: The one file that is wanted; empty for the whole repository.
    """

    repository: str
    file: str

    @classmethod
    def parse(cls, text: SpecText) -> HubName | None:
        """The name, if it is one.

        Raises:
            UsageError: It is not complete.
        """
        if text.head != "hf" or text.rest is None:
            return None
        repository, _, file = text.rest.partition(":")
        if repository.count("/") != 1 or not all(repository.split("/")):
            raise UsageError(f"{text.whole[:80]!r} is not a hub name", "Write hf:ORG/REPO or hf:ORG/REPO:FILE.")
        return cls(repository, file)

    def fetch(self, trust_remote_code: bool) -> Path:
        """Download what is not in the local hub cache yet, and return the folder or file.

        Raises:
            DataError: The download failed.
        """
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError

        try:
            if self.file:
                return Path(huggingface_hub.hf_hub_download(self.repository, self.file))
            patterns = [*_FILES, "*.py"] if trust_remote_code else _FILES
            return Path(huggingface_hub.snapshot_download(self.repository, allow_patterns=patterns))
        except (HfHubHTTPError, OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            name = f"hf:{self.repository}" + (f":{self.file}" if self.file else "")
            raise DataError(f"cannot get {name} from the Hugging Face hub: {reason[:200]}") from None
