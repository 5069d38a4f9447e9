"""`stackledger dead-letter`: messages of a fleet that nobody could do anything with, and what becomes of them."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from stackledger.cli.calls import Call, Done
from stackledger.cli.fleet_options import OfOrchestrator
from stackledger.cli.groups import Group
from stackledger.cli.options import Yes
from stackledger.cli.printing import Column, Details, Listing, Table, plain
from stackledger.domain.errors import UsageError
from stackledger.domain.wording import counted

GROUP = Group("dead-letter")

_ENOUGH = 12
"""Digits of an id that tell it from others, for people."""

_COLUMNS = [
    Column("ID", "id", show=lambda letter_id: letter_id[:_ENOUGH]),
    Column("REASON", "reason"),
    Column("KIND", "kind"),
    Column("KEY", "key"),
    Column("QUEUE", "came_from"),
    Column("PARKED", "parked"),
    Column("RUN", "run"),
    Column("RUN ID", "run_id", shown=False),
    Column("STEP", "step"),
    Column("ATTEMPT", "attempt", shown=False),
    Column("SIZE", "size", shown=False),
    Column("COPIES", "copies", shown=False),
]
_BYTES_SHOWN = 256
"""Bytes of a message that nobody can read that are shown."""

LetterId = Annotated[str, typer.Argument(metavar="ID", help="The id, or four digits of its beginning at least.")]


@GROUP.listing("list", example="stackledger dead-letter list", as_of=False)
def list_letters(call: Call, orchestrator: OfOrchestrator = None) -> Listing:
    """List the dead letters and why they were parked. Looking at them takes none away."""
    items = [letter.to_json() for letter in call.client.list_dead_letters(orchestrator)]
    return Listing(items, _COLUMNS, nothing="No dead letters found.")


@GROUP.query("show", example="stackledger dead-letter show 3fa94c0b77d1", as_of=False)
def show(call: Call, letter: LetterId, orchestrator: OfOrchestrator = None) -> Details:
    """Show a dead letter, and what is in it as far as that can be read."""
    item = call.client.get_dead_letter(letter, orchestrator).to_json()
    facts = [column.key for column in _COLUMNS]
    rows = [[key.upper().replace("_", " "), plain(item[key])] for key in facts if item[key] is not None]
    if item["message"] is not None:
        inside = json.dumps(item["message"], indent=2, ensure_ascii=False)
    else:
        more = f"… ({item['size']:,} bytes)" if item["size"] > _BYTES_SHOWN else ""
        inside = f"It is no message. Its bytes: {item['bytes'][: 2 * _BYTES_SHOWN]}{more}"
    return Details(item, [Table(["PROPERTY", "VALUE"], rows, title=f"Dead letter {item['id'][:_ENOUGH]}"), inside])


@GROUP.change("requeue", example="stackledger dead-letter requeue 3fa94c0b77d1")
def requeue(call: Call, letter: LetterId, orchestrator: OfOrchestrator = None) -> Done:
    """Try again what a parked dispatch asked for.

    That makes a new attempt, if the log says that the one in the message still waits; the message is never sent again.
    """
    found = call.client.requeue_dead_letter(letter, orchestrator)
    return Done(
        f"Attempt {found.attempt} at the step '{found.step}' of the run '{found.run}' is followed by another; its"
        " message is removed.",
        found.to_json(),
    )


@GROUP.plain("discard", example="stackledger dead-letter discard 3fa94c0b77d1")
def discard(
    call: Call,
    letters: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Ids, or four digits of their beginnings at least.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are there.")] = False,
    orchestrator: OfOrchestrator = None,
    yes: Yes = False,
) -> Done:
    """Remove dead letters for good.

    Nothing that counts depends on them: the log says what is to be done.
    """
    if bool(letters) is everything:
        raise UsageError("Give the ids of dead letters, or --all.", hint="`stackledger dead-letter list` shows them.")
    what = "all dead letters" if everything else counted(len(letters or ()), "dead letter")
    call.confirm(f"Remove {what} for good?", yes=yes)
    if everything:
        removed = call.client.discard_all_dead_letters(orchestrator)
    else:
        removed = call.client.discard_dead_letters(letters or (), orchestrator)
    return Done(f"Removed {counted(removed, 'message')}.")
