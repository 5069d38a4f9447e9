from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(service: str, why: str) -> NoReturn:
    """Skip on a laptop, fail in CI: there a test that cannot run is not a test that passed."""
    message = f"{service} is not there: {why}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
