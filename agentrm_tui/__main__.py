"""`python -m agentrm_tui`: the same as `agentrm-tui`, where the scripts folder is not on the path."""

from __future__ import annotations

from agentrm_tui.cli import main

if __name__ == "__main__":
    main()
