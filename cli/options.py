"""The options that many commands share, each declared once."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import typer

from stackledger.cli.completion import component_names, flavor_names, secret_names, stack_names
from stackledger.domain.errors import UsageError

Format = Literal["table", "json", "yaml", "csv", "tsv"]


# Every command that prints.
Output = Annotated[Format, typer.Option(envvar="STACKLEDGER_OUTPUT", help="How to print the result.")]


def finite(number: float | None) -> float | None:
    """Return a number that was given, or raise UsageError for NaN and infinity, which no bound refuses."""
    if number is not None and not math.isfinite(number):
        raise UsageError(f"{number} is no number that anything can be measured by.")
    return number


def moment(text: str | None) -> str | None:
    """Return a POSITION|TIME, or raise UsageError for what is neither."""
    if text is not None:
        from stackledger.client.moments import check_moment  # most calls are about now

        check_moment(text)
    return text


# Queries.
AsOf = Annotated[
    str | None,
    typer.Option(metavar="POSITION|TIME", help="Answer as of this position or time of the log.", callback=moment),
]
Columns = Annotated[str | None, typer.Option(metavar="A,B,…", help="Print these columns only, in this order.")]
SortBy = Annotated[str | None, typer.Option(metavar="[desc:]FIELD", help="Sort the list by this field.")]
PageNumber = Annotated[
    int, typer.Option("--page", metavar="N", min=1, max=10**9, help="Which page of the list to print.")
]
PageSize = Annotated[int, typer.Option("--size", metavar="N", min=1, max=1000, help="How many items a page has.")]

# Changes.
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; kept in the log, so no personal data here.")]
Ticket = Annotated[str | None, typer.Option(metavar="ID", help="The ticket that asks for the change.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the events that would be appended, and append none.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Delete what it made on servers, such as queues.")]
Labels = Annotated[
    list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="Set a label; may be given repeatedly.")
]
LabelChanges = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        "-l",
        metavar="KEY[=VALUE]",
        help="Set a label, or with KEY alone take it off; may be given repeatedly.",
    ),
]

# Names.
StackName = Annotated[str, typer.Argument(metavar="STACK", autocompletion=stack_names, help="The stack.")]
ThisStack = Annotated[
    str | None,
    typer.Argument(metavar="STACK", autocompletion=stack_names, help="The stack; the active one if not given."),
]
ComponentName = Annotated[str, typer.Argument(metavar="NAME", autocompletion=component_names, help="The component.")]
ThisComponent = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME", autocompletion=component_names, help="The component; the active stack's if not given."
    ),
]
NewName = Annotated[str | None, typer.Argument(metavar="NEW_NAME", help="The new name.")]
NewNameOption = Annotated[str | None, typer.Option("--name", "-n", metavar="NEW_NAME", help="The new name.")]
NameOfCopy = Annotated[str, typer.Argument(metavar="NEW_NAME", help="The name of the copy.")]
FlavorName = Annotated[str, typer.Argument(metavar="FLAVOR", autocompletion=flavor_names, help="The flavor.")]
SecretName = Annotated[str, typer.Argument(metavar="SECRET", autocompletion=secret_names, help="The secret.")]
Interactive = Annotated[bool, typer.Option("--interactive", "-i", help="Ask for every value that is not given.")]


def one_name(argument: str | None, option: str | None) -> str:
    """Return the new name, given as an argument or with -n."""
    if (argument is None) == (option is None):
        raise UsageError("Give the new name once.", hint="As an argument, or with -n NEW_NAME.")
    return argument or option or ""
