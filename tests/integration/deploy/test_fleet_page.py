"""docs/fleet.md, followed to the letter on servers of our own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from psycopg import sql

from stackledger.workers.fleet.local_processes import end, running
from tests.support.checkout import ROOT
from tests.support.console import Shell, differences
from tests.support.object_servers import ObjectServer
from tests.support.postgres import PASSWORD, Databases
from tests.support.rabbitmq import PrivateNode

pytestmark = [pytest.mark.xdist_group("rabbitmq"), pytest.mark.timeout(400)]


@pytest.fixture
def shell(home: Path, tmp_path: Path, rabbitmq_node: PrivateNode, postgres: Databases) -> Iterator[Shell]:
    """A shell as the page wants it; what was started from it is ended."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "STACKLEDGER_AMQP_URL": rabbitmq_node.url,
        "PGPASSWORD": PASSWORD,
        "AWS_ACCESS_KEY_ID": "fleet",
        "AWS_SECRET_ACCESS_KEY": "fleet-secret",
        "AWS_REGION": "us-east-1",
    }
    with ExitStack() as stack:
        for statement in ("DROP ROLE IF EXISTS ada", "DROP DATABASE IF EXISTS ledger WITH (FORCE)"):
            stack.callback(postgres.execute, sql.SQL(statement))
        stack.callback(lambda: end([each for folder in home.glob("fleet/*/") for each in running(folder)], 30.0))
        yield Shell(tmp_path / "work", environment, tmp_path / "state")


def test_whoever_follows_the_page_sees_what_it_shows(shell: Shell, postgres: Databases, s3: ObjectServer) -> None:
    server = urlsplit(postgres.admin).netloc
    user, place = server.partition(":")[0], server.rpartition("@")[2]
    text = (ROOT / "docs/fleet.md").read_text(encoding="utf-8")
    text = text.replace("postgres@127.0.0.1:5432", f"{user}@{place}").replace("127.0.0.1:5432", place)
    wrong = list(differences(text.replace("http://127.0.0.1:9000", s3.url), shell))
    assert not wrong, "\n\n".join(wrong)
