from __future__ import annotations

import subprocess
import sys

import pytest

# Each of these costs more than a query. Rich draws tables, so it is not among them.
HEAVY = (
    "pydantic",
    "eventsourcing",
    "psycopg",
    "opentelemetry",
    "pika",
    "cryptography",
    "keyring",
    "yaml",
    "numpy",
    "pandas",
    "pyarrow",
    "sklearn",
)

# A program of its own, since this process has imported most of them.
PROGRAM = f"""
import atexit, sys
atexit.register(lambda: print(*(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr))
from stackledger.__main__ import main
main()
"""


def _heavy_modules(*arguments: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], check=True, capture_output=True, text=True)
    return done.stderr.splitlines()[-1].split()


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("stack", "list"),
        ("stack", "list", "--output", "json"),
        ("stack", "describe"),
        ("orchestrator", "list"),
        ("run", "list"),
        ("log", "list"),
        ("key", "list"),
        ("status",),
    ],
    ids=" ".join,
)
def test_a_query_of_a_current_view_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    subprocess.run([sys.executable, "-m", "stackledger", "stack", "list"], check=True, capture_output=True)
    assert _heavy_modules(*arguments) == []
