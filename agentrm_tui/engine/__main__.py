"""`python -m agentrm_tui.engine DESCRIPTOR`: how a link starts its engine; not meant to be typed."""

from __future__ import annotations

import sys

from agentrm_tui.engine.process import serve

if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1])))
