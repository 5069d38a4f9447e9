"""Under every format, whatever a command finds or changes, standard output is one document of that format."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.program import stackledger

pytestmark = pytest.mark.usefixtures("home")

FORMATS = ["json", "yaml", "csv", "tsv"]

# In this order: later ones find what earlier ones left, or nothing.
COMMANDS = """
artifact-store register st -f local --label a=b
stack register s1 -o default -a st --dry-run
stack register s1 -o default -a st
stack list
stack list --name nowhere
stack list --as-of 1
stack describe s1
stack get
stack history s1
stack diff s1 --from 8
stack set s1 --dry-run
stack set s1
stack set s1
stack update s1 --label a=b
stack update s1 --label a=b
stack update s1 -a st --dry-run
stack share s1
stack share s1
stack unshare s1
stack unshare s1
stack rename s1 s2
stack rename s2 s2
stack copy s2 s3
stack delete s3 --yes --dry-run
stack delete s3 --yes
stack restore s2 --as-of 8
stack restore s2 --as-of 8
stack export s2
stack export s2 stack.yaml
stack import s4 -f stack.yaml --dry-run
stack import s4 -f stack.yaml
stack export-requirements
stack export-requirements --output-file requirements.txt
init --dry-run
init
init
init --dry-run
artifact-store list
artifact-store list --name nowhere
alerter list
artifact-store describe st
artifact-store get
artifact-store history st
artifact-store explain
artifact-store logs st
artifact-store update st --label a=b
artifact-store update st --label c=d --dry-run
artifact-store remove-attribute st --label a
artifact-store copy st st2
artifact-store share st2
artifact-store rename st2 st3
artifact-store delete st3 --yes --dry-run
artifact-store delete st3 --yes
artifact-store flavor list
alerter flavor list
artifact-store flavor describe local
orchestrator flavor describe local
flavor list
secret list
secret create s --dry-run --key=@stack.yaml
secret create s --key=@stack.yaml
secret list
secret get s
secret update s --key=@stack.yaml
secret rename s t
secret delete t --yes
key list
key create k --role worker
key enroll k --dry-run
key enroll k
key list
key revoke k --yes
integration list
integration requirements sklearn
integration export-requirements
integration export-requirements --output-file packages.txt
pipeline list
pipeline runs list
run list
artifact list
log list
log list --tag no:where
log show 1
log stats
projection list
config list
config get user
status
doctor
version
"""

REFUSED = """
stack describe nowhere
stack diff s1 --from 999
alerter get
stack rename default other
stack list --as-of 999
stack list --columns nowhere
artifact-store register x --flavor local --nowhere=1
log show 999
run describe nowhere
run list --status nowhere
integration requirements nowhere
init --template nowhere
stack export default .
"""


def _read(text: str, output: str) -> None:
    if output == "json":
        json.loads(text)
    elif output == "yaml":
        assert len(list(yaml.safe_load_all(text))) == 1
    else:
        rows = list(csv.reader(io.StringIO(text), delimiter="," if output == "csv" else "\t"))
        assert rows, "not even a header"
        assert {len(row) for row in rows} == {len(rows[0])}


@pytest.mark.parametrize("output", FORMATS)
def test_every_command_prints_one_document_of_the_format_that_is_asked_for(output: str) -> None:
    for command in filter(None, COMMANDS.splitlines()):
        done = stackledger(*command.split(), "--output", output)
        assert done.status == 0, (command, done)
        try:
            _read(done.out, output)
        except (ValueError, AssertionError, yaml.YAMLError) as error:
            pytest.fail(f"`{command}` printed {done.out!r}: {error}")


@pytest.mark.parametrize("output", FORMATS)
def test_what_is_refused_prints_nothing_where_results_go(output: str) -> None:
    for command in filter(None, REFUSED.splitlines()):
        done = stackledger(*command.split(), "--output", output)
        assert done.status in {1, 2}, (command, done)
        assert done.out == "", command
        assert "Error: " in done.err, command


def test_a_repository_that_is_there_already_is_printed_as_it_was_when_it_was_made() -> None:
    first, second = (stackledger("init", "--output=json").json for _ in range(2))
    assert second == first


PIPELINE = """
from stackledger import pipeline, step


@step
def one() -> int:
    return 1


@pipeline
def few() -> None:
    one()


few()
"""


def test_what_a_list_begins_with_does_not_depend_on_whether_there_is_anything_in_it() -> None:
    empty = {"log list": "--tag=no:where", "stack list": "--name=nowhere", "artifact-store list": "--name=nowhere"}
    empty["log tail"] = "--lines=0"
    lists = [*empty, "run list", "artifact list", "pipeline list", "secret list", "key list"]
    before = {
        command: stackledger(*command.split(), *empty.get(command, "").split(), "--output=csv").out for command in lists
    }
    Path("few.py").write_text(PIPELINE, encoding="utf-8")
    subprocess.run([sys.executable, "few.py"], capture_output=True, timeout=100, check=True)
    for change in ("secret create s --key=-", "key create k --role worker", "key enroll k"):
        assert stackledger(*change.split(), answers="value").status == 0
    for command in lists:
        found = stackledger(*command.split(), "--output=csv").out
        assert found.splitlines()[1:], command
        assert found.splitlines()[:1] == before[command].splitlines(), command
    assert before["log tail"] == before["log list"]
