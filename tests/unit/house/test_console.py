from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.console import Example, Shell, differences, examples, matches

DOCUMENT = """\
# Title

```console
$ echo one
one
$ echo two \\
    three
two three
```

```python
$ not a console
```

```console fails
$ true
$ cat <<X; false
> four
> X
four
```
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path, os.environ, tmp_path / "state")


def test_commands_are_found_with_their_lines_and_output() -> None:
    assert list(examples(DOCUMENT)) == [
        Example(4, "echo one", "one"),
        Example(6, "echo two \\\n    three", "two three"),
        Example(16, "true", ""),
        Example(17, "cat <<X; false\nfour\nX", "four", fails=True),
    ]


def test_a_block_that_begins_with_output_is_refused() -> None:
    with pytest.raises(ValueError, match="line 2"):
        list(examples("```console\none\n$ echo one\n```\n"))


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("", "\n"),
        ("a.b", "a.b   \n\n"),
        ("id … made", "id 0192-ab made\n"),
        ("first\n...\nlast", "first\nlast\n"),
        ("first\n...\nlast", "first\n1\n2\nlast\n"),
        ("...", ""),
    ],
)
def test_output_as_printed_matches(expected: str, actual: str) -> None:
    assert matches(expected, actual)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("", "something\n"),
        ("a.b", "axb\n"),
        ("id … made", "id 1\n made\n"),
        ("first\n...\nlast", "first\nlast\nmore\n"),
        ("one", "one\ntwo\n"),
    ],
)
def test_other_output_does_not_match(expected: str, actual: str) -> None:
    assert not matches(expected, actual)


def test_the_folder_and_variables_last_from_one_command_to_the_next(shell: Shell, tmp_path: Path) -> None:
    assert shell.run("mkdir 'a b' && cd 'a b' && export COLOUR='dark\nred'") == (0, "")
    assert shell.run('pwd; echo "$COLOUR"') == (0, f"{tmp_path}/a b\ndark\nred\n")


def test_a_failed_command_keeps_the_session(shell: Shell) -> None:
    assert shell.run("export A=1; echo out; echo err >&2; exit 3") == (3, "out\nerr\n")
    assert shell.run("echo $A") == (0, "1\n")


def test_a_document_that_tells_the_truth_has_no_differences(shell: Shell) -> None:
    assert list(differences(DOCUMENT, shell)) == []


def test_what_a_document_gets_wrong_is_told_by_line(shell: Shell) -> None:
    wrong = "```console\n$ echo one\ntwo\n$ false\n$ true\n```\n"
    first, second = differences(wrong, shell)
    assert first.startswith("line 2: `echo one` is said to print\ntwo\nbut printed\none")
    assert second.startswith("line 4: `false` exited with 1")
