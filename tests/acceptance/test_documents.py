from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tests.support.console import Shell, differences


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("document", ["README.md"])
def test_the_console_sessions_of_a_document_do_what_they_show(
    document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    shell = Shell(tmp_path / "work", os.environ, tmp_path / "state")
    wrong = list(differences((ROOT / document).read_text(encoding="utf-8"), shell))
    assert not wrong, "\n\n".join(wrong)
