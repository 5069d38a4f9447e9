"""Running the command line: in this process for breadth, as a process of its own where that matters."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from unittest import mock

from stackledger.cli.app import main


@dataclass(frozen=True, slots=True)
class Finished:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, read as JSON."""
        return json.loads(self.out)


def stackledger(*arguments: str, answers: str = "", env: Mapping[str, str] | None = None) -> Finished:
    """Run a command in this process, its streams captured; whatever escapes it fails the test."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)]
    stdin = io.TextIOWrapper(io.BytesIO(answers.encode()), encoding="utf-8")
    with (
        mock.patch.multiple(sys, stdin=stdin, stdout=streams[0], stderr=streams[1]),
        mock.patch.dict(os.environ, env or {}),
    ):
        try:
            status = main(arguments)
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
    out, err = (stream.buffer.getvalue().decode() for stream in streams)
    return Finished(status, out, err)


def process(
    *arguments: str | bytes, answers: str = "", env: Mapping[str, str] | None = None, check: bool = False
) -> Finished:
    """Run a command as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "stackledger", *arguments],
        input=answers.encode(),
        capture_output=True,
        env={**os.environ, **(env or {})},
        timeout=100,
        check=False,
    )
    finished = Finished(done.returncode, done.stdout.decode(), done.stderr.decode())
    if check:
        assert finished.status == 0, finished.err
    return finished


def completions(*words: str) -> set[str]:
    """Return what bash would be offered for the last of the words."""
    done = process(
        env={
            "_STACKLEDGER_COMPLETE": "complete_bash",
            "COMP_WORDS": "\n".join(("stackledger", *words)),
            "COMP_CWORD": str(len(words)),
        }
    )
    return set(done.out.split())
