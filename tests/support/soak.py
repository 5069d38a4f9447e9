from __future__ import annotations

import os


def rounds(quick: int, soak: int) -> int:
    """How often a test that could go on for ever repeats itself: `make soak` asks for more."""
    return soak if os.environ.get("SOAK") else quick
