"""Documents that repeat what the code knows must say the same."""

from __future__ import annotations

import re
from pathlib import Path

from agentrm_tui.ui.actions import keys_markdown

ROOT = Path(__file__).parent.parent


def test_the_keys_page_is_the_action_registry() -> None:
    assert keys_markdown().strip() in (ROOT / "docs" / "keys.md").read_text()


def test_links_between_documents_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []
