from __future__ import annotations

import pytest

from tests.support.program import stackledger

REFUSED = [
    (["stak"], "No such command 'stak'. Did you mean 'stack'"),
    (["stack", "lst"], "No such command 'lst'. Did you mean 'list'"),
    (["stack", "list", "--nam=x"], "No such option: --nam"),
    (["stack", "list", "extra"], "unexpected extra argument"),
    (["stack", "list", "--output", "xml"], "'xml' is not one of"),
    (["stack", "list", "--as-of", "yesterday"], "neither a position nor a time"),
    (["stack", "get", "--as-of", "12x"], "neither a position nor a time"),
    (["stack", "restore", "x", "--as-of", "-1"], "There is no position -1"),
    (["stack", "diff", "--from", "x"], "neither a position nor a time"),
    (["stack", "diff", "--from", "1", "--to", ""], "neither a position nor a time"),
    (["log", "list", "--since", "x"], "neither a position nor a time"),
    (["log", "list", "--until", "x"], "neither a position nor a time"),
    (["stack", "list", "--page", "0"], "0 is not in the range"),
    (["stack", "list", "--size", "100000"], "is not in the range"),
    (["stack", "rename"], "Missing argument 'STACK'"),
    (["stack", "register", "x"], "Missing option '--orchestrator'"),
    (["stack", "register", "x", "-o", "default"], "Missing option '--artifact-store'"),
    (["stack", "register", "x", "-o", "a", "-o", "b", "-a", "c"], "A stack has one orchestrator, and 2 were given"),
    (["stack", "update", "x", "-dv", "a", "--data_validator", "b"], "A stack has one data validator"),
    (["stack", "import"], "Neither a name nor a file"),
    (["artifact-store", "register", "x"], "Missing option '--flavor'"),
    (["artifact-store", "register", "x", "--flavour=local"], "no option --flavour. Did you mean '--flavor'?"),
    (["artifact-store", "register", "x", "-f", "local", "--path"], "--path has no value"),
    (["artifact-store", "register", "x", "-f", "local", "--path=1", "--path=2"], "more than once"),
    (["artifact-store", "register", "x", "-f", "local", "--path=@missing"], "cannot be read"),
    (["artifact-store", "register", "x", "-f", "local", "--label", "nonsense"], "KEY=VALUE"),
    (["secret", "create", "x"], "has no keys"),
    (["secret", "create", "x", "--a=-", "--b=-"], "Only one value"),
    (["log", "show", "first"], "not a valid int"),
    (["stack", "list", "\udcff"], "not valid text"),
    (["init", "--path", "nul\0byte"], "holds a NUL"),
    (["log", "list", "--page", "99999999999999999999"], "is not in the range"),
    (["stack", "describe", "--as-of", "x" * 10_000], "… (10,002 characters) is neither a position nor a time"),
    (["worker", "start", "--grace", "nan"], "nan is no number that"),
    (["worker", "start", "--step-timeout", "inf"], "inf is no number that"),
    (["artifact", "prune", "--grace", "nan"], "nan is no number that"),
    (["flavor", "list", "--type", "artefact-store"], "Did you mean 'artifact-store'"),
]


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("arguments", "message"), REFUSED, ids=[" ".join(a).encode("ascii", "replace").decode() for a, _ in REFUSED]
)
def test_what_parsing_can_refuse_exits_with_2(arguments: list[str], message: str) -> None:
    done = stackledger(*arguments)
    assert done.status == 2, done
    assert done.out == ""
    assert message in " ".join(done.err.split())


@pytest.mark.usefixtures("home")
def test_a_malformed_moment_is_refused_before_anything_is_said() -> None:
    assert stackledger("stack", "list", "--as-of", "bad").err.startswith("Error: 'bad' is neither")


@pytest.mark.usefixtures("home")
def test_a_refusal_spells_control_characters_out() -> None:
    for arguments in (["\x1b[31m"], ["stack", "--\x1b[31m"], ["stack", "list", "--output", "\x1b[31m\u202e"]):
        done = stackledger(*arguments)
        assert done.status == 2
        assert not {"\x1b", "\u202e"} & set(done.err)


def test_a_group_without_a_command_shows_its_help_aside() -> None:
    done = stackledger("stack")
    assert (done.status, done.out) == (2, "")
    assert "Commands:" in done.err


@pytest.mark.usefixtures("home")
def test_an_unknown_default_output_is_a_usage_error() -> None:
    done = stackledger("stack", "list", env={"STACKLEDGER_OUTPUT": "xml"})
    assert done.status == 2
    assert "STACKLEDGER_OUTPUT" in done.err
