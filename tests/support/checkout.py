from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The root of the checkout that these tests belong to."""

ROOMS = ("domain", "eventlog", "projections", "pipelines", "flavors", "workers", "cli")
