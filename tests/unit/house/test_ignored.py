from __future__ import annotations

from tests.support.checkout import ROOT


def test_secrets_of_deployments_are_ignored_by_git() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"deploy/secrets/", "deploy/kubernetes/secrets/", "deploy/kubernetes/join.json"} <= set(ignored)
