from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import ROOT

_ROW = re.compile(r"^\| (?!promise \|)(?!---)(?P<promise>.+?) \| (?P<tests>.+?) \|$", re.MULTILINE)
_REFERENCE = re.compile(r"`(?P<path>tests/[\w/]+\.py)::(?P<name>\w+)(?:::(?P<method>\w+))?`")
_LINK = re.compile(r"\[[^\]]*\]\((?!https?:|#|mailto:)(?P<target>[^)#\s]+)[^)]*\)")

GUARANTEES = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
DOCUMENTS = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "deploy/**/*.md") for path in ROOT.glob(pattern) if path.is_file()
)


def _names(nodes: list[ast.stmt]) -> Iterator[str]:
    for node in nodes:
        match node:
            case ast.FunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name, body=body):
                yield name
                yield from (f"{name}::{inner}" for inner in _names(body))
            # A hypothesis state machine becomes a test by `TestRegistry = Registry.TestCase`.
            case ast.Assign(targets=[ast.Name(id=name)]):
                yield name
            case _:
                pass


def test_every_guarantee_names_a_test_that_exists() -> None:
    rows = list(_ROW.finditer(GUARANTEES))
    assert rows
    missing = []
    for row in rows:
        references = list(_REFERENCE.finditer(row["tests"]))
        if not references:
            missing.append(f"no test proves: {row['promise']}")
        for reference in references:
            name = "::".join(filter(None, (reference["name"], reference["method"])))
            path = ROOT / reference["path"]
            if not path.is_file() or name not in set(_names(ast.parse(path.read_text(encoding="utf-8")).body)):
                missing.append(f"{reference['path']}::{name} does not exist, which should prove: {row['promise']}")
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_links_of_a_document_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    broken = [link["target"] for link in _LINK.finditer(text) if not (document.parent / link["target"]).exists()]
    assert not broken


def test_decisions_are_numbered_without_a_gap() -> None:
    numbers = sorted(int(path.name[:4]) for path in (ROOT / "docs/adr").glob("[0-9]*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_help_of_make_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split())
    listed = subprocess.run(["make", "-C", ROOT, "help"], check=True, capture_output=True, text=True).stdout
    assert phony == set(re.findall(r"^  make (\w+)", listed, re.MULTILINE))
