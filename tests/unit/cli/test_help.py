from __future__ import annotations

import re

import pytest

from stackledger.cli.app import PROGRAM
from stackledger.cli.lazy import LazyGroup
from stackledger.cli.reference import commands, helps, reference
from stackledger.domain.component_types import ComponentType
from tests.support.checkout import ROOT
from tests.support.program import stackledger


def test_every_command_has_help_and_an_example_that_calls_it() -> None:
    texts = dict(helps())
    for name, command in commands():
        assert command.help, name
        if not isinstance(command, LazyGroup):
            text = " ".join(texts[name].split())
            # `run list` is short for `pipeline runs list`.
            called = name.replace("pipeline runs", "run")
            assert f"Example: {called}" in text, name


def test_every_option_and_argument_has_help() -> None:
    for name, command in commands():
        for parameter in command.params:
            assert parameter.help, (name, parameter.name)


_WITHOUT_VIEW = (
    r"""stack (diff|restore)|(integration|log|projection|config|worker|dead-letter) .*|key create|status|doctor"""
    r"""|version|.* (logs|explain|resume)"""
)
"""Queries that read no view, or as of moments of their own."""


def test_every_query_of_a_view_takes_as_of_and_no_change_does() -> None:
    for name, command in commands():
        if isinstance(command, LazyGroup):
            continue
        options = {option for parameter in command.params for option in parameter.opts}
        if "--output" in options and not re.fullmatch(_WITHOUT_VIEW, name.split(maxsplit=1)[1]):
            assert ("--as-of" in options) is ("--dry-run" not in options), name


def test_every_change_says_why_and_can_be_tried() -> None:
    together = {"--reason", "--ticket", "--dry-run"}
    for name, command in commands():
        options = {option for parameter in command.params for option in parameter.opts}
        assert together & options in (set(), together), name
        if together <= options:
            assert "--output" in options, name


def test_every_list_has_pages_and_is_sorted() -> None:
    for name, command in commands():
        if name.endswith((" list", " history")) and not isinstance(command, LazyGroup):
            options = {option for parameter in command.params for option in parameter.opts}
            assert {"--columns", "--page", "--size", "--output"} <= options, name
            assert "--sort-by" in options or name.endswith("log list"), name


def test_the_help_of_a_group_cuts_no_sentence_short() -> None:
    for name, text in helps():
        assert not re.search(r"^  \S+ .*\w\.\.\.$", text, re.MULTILINE), name


def test_no_two_options_of_a_command_look_alike() -> None:
    for name, command in commands():
        spelled = [option for parameter in command.params for option in parameter.opts if option.startswith("-")]
        assert len(spelled) == len(set(spelled)), name


def test_the_table_of_contents_says_what_each_command_says() -> None:
    listed = {name: command.help for name, command in commands() if name.count(" ") == 1}
    shown = stackledger("--help").out
    for name, text in listed.items():
        first = text.split(". ")[0].splitlines()[0].removesuffix(".")
        assert re.search(rf"^  {name.removeprefix(f'{PROGRAM} ')} +{re.escape(first)}\.$", shown, re.MULTILINE), name


def test_every_component_type_has_its_group() -> None:
    assert {kind.group for kind in ComponentType} <= {name.split()[1] for name, _ in commands() if " " in name}


def test_the_reference_is_what_the_program_says() -> None:
    written = (ROOT / "docs/cli-reference.md").read_text(encoding="utf-8")
    assert written == reference(), "run: python -m stackledger.cli.reference > docs/cli-reference.md"


@pytest.mark.parametrize("asked", [["--help"], ["-h"], ["stack", "-h"], ["stack", "list", "--help"]])
def test_help_is_a_result(asked: list[str]) -> None:
    done = stackledger(*asked)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("Usage: stackledger")


def test_the_version_is_printed_by_option_and_by_command() -> None:
    assert stackledger("--version").out == stackledger("version").out != ""
