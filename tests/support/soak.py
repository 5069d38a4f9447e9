from __future__ import annotations

import os


def rounds(quick: int, soak: int, *, ci: int | None = None) -> int:
    """How often a test that could go on for ever repeats itself.

    `make soak` asks for most. What is repeated more often in continuous integration than elsewhere is so once there,
    over the checkout: `QUICK` says that the same code was tested before.
    """
    if os.environ.get("SOAK"):
        return soak
    return ci if ci and os.environ.get("CI") and not os.environ.get("QUICK") else quick
