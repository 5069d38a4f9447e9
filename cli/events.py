"""`stackledger log`: the events from which everything else is derived."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from stackledger.cli.calls import Call, Done
from stackledger.cli.groups import Group
from stackledger.cli.options import Yes
from stackledger.cli.paging import pagination
from stackledger.cli.printing import JSON, Column, Details, Listing, Table, plain, print_stream
from stackledger.domain.errors import UsageError

GROUP = Group("log")


def _indented(data: JSON) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False)


_EVERYWHERE = ("actor:", "host:")
"""Tags that every event has; actor and host have columns of their own."""

_COLUMNS = [
    Column("POSITION", "position"),
    Column("TIME", "time"),
    Column("TYPE", "type"),
    Column("ACTOR", "actor"),
    Column("TAGS", "tags", show=lambda tags: "\n".join(tag for tag in tags if not tag.startswith(_EVERYWHERE))),
    Column("REASON", "reason"),
    Column("TICKET", "ticket", shown=False),
    Column("HOST", "host", shown=False),
    Column("ID", "id", shown=False),
    Column("VERSION", "version", shown=False),
    Column("DATA", "data", shown=False, show=_indented),
]


def event_listing(items: list[JSON], pages: JSON | None) -> Listing:
    """Return events as a list to print."""
    return Listing(items, _COLUMNS, pages, nothing="No events found.", keys=_keys())


def dry_run_listing(items: list[JSON]) -> Listing:
    """Return the events that a dry run stopped at as a list to print: what they hold matters, not where they stand."""
    first = ("type", "data")
    columns = [column._replace(shown=column.key in first) for column in _COLUMNS]
    nothing = "No events would be appended."
    return Listing(items, columns, title="Events that would be appended", nothing=nothing, keys=_keys())


def _keys() -> Sequence[str]:
    from stackledger.client.log_results import LogEvent

    return LogEvent._fields


@GROUP.listing(
    "list",
    example="stackledger log list --type stack.registered --since 2026-03-01",
    filters={
        "tag": "Only events with this tag; may be given repeatedly, then with all of them.",
        "type": "Only this type, or this version of it (stack.registered/1); may be given repeatedly.",
        "actor": "Only events of this user.",
        "since": "Only events from this POSITION or TIME on.",
        "until": "Only events up to this POSITION or TIME.",
    },
    as_of=False,
)
def list_events(call: Call) -> Listing:
    """List events, newest first if not sorted otherwise."""
    given = call.filters
    page = call.client.log_events(
        tags=given.get("tag", ()),
        types=given.get("type", ()),
        actor=given.get("actor"),
        since=given.get("since"),
        until=given.get("until"),
        **call.paging,
    )
    return event_listing([event.to_json() for event in page.items], pagination(page))


@GROUP.query("show", example="stackledger log show 12", as_of=False)
def show(
    call: Call, position: Annotated[int, typer.Argument(metavar="POSITION", min=1, help="Where it stands.")]
) -> Details:
    """Show one event, its data included."""
    item = call.client.log_event(position).to_json()
    rows = [[key.upper(), plain(value)] for key, value in item.items() if key not in {"tags", "data"}]
    rows += [["TAGS", "\n".join(item["tags"])], ["DATA", _indented(item["data"])]]
    return Details(item, [Table(["PROPERTY", "VALUE"], rows, title=f"Event {position}")])


@GROUP.query("tail", example="stackledger log tail -f --output json", as_of=False, columns=True)
def tail(
    call: Call,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted.")] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", metavar="N", min=0, max=1000, help="How many events to begin with.")
    ] = 10,
) -> None:
    """Print the newest events, a line each. With -f, go on with those that come."""
    newest: Sequence[Any] = call.client.log_events(size=lines).items if lines else []

    def events() -> Iterator[JSON]:
        for event in reversed(newest):
            yield event.to_json()
        if follow:
            for event in call.client.follow_log(after=newest[0].position if newest else None):
                yield event.to_json()

    print_stream(events(), _COLUMNS, call.output, call.columns, keys=_keys())


@GROUP.plain("create", example="stackledger log create postgresql://admin@db.example/stackledger")
def create(
    call: Call,
    address: Annotated[
        str | None,
        typer.Argument(
            metavar="ADDRESS", help="postgresql://[USER@]HOST[:PORT]/DATABASE; else as STACKLEDGER_LOG says."
        ),
    ] = None,
) -> Done:
    """Make a log in a PostgreSQL database. Its administrator does that: tables, functions and roles are made.

    Users are granted stackledger_writer or stackledger_reader, and name the log in STACKLEDGER_LOG or `config set log`.
    """
    name, log_id = call.client.create_log(address)
    return Done(
        f"Made the log {name} with the id {log_id}."
        " Let people in with GRANT stackledger_writer TO …, or stackledger_reader for looking alone."
    )


ExportFile = Annotated[Path, typer.Argument(metavar="FILE", help="The file, of JSON lines.")]


@GROUP.change("export", example="stackledger log export log.jsonl")
def export(
    call: Call,
    file: ExportFile,
    move: Annotated[
        bool, typer.Option("--move", help="Let the log go on where the file is imported: this one refuses all changes.")
    ] = False,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="TEXT", help="With --move: where to, for those who look for the log here later."),
    ] = None,
) -> Done:
    """Write the whole log into a new file. A CloudEvent on each line, with all that it takes to import it.

    Without --move it is a copy. Reason, ticket and dry run are about the move.
    """
    if to is not None and not move:
        raise UsageError("--to says where the log is moved to, so it needs --move.")
    written = call.client.export_log(file, move=move, destination=to)
    moved = (
        " The log goes on where that file is imported, once; nothing more comes into this one. Was that not meant:"
        " `stackledger log adopt`."
        if move
        else ""
    )
    return Done(
        f"Exported {written.events:,} events of the log {written.log_id} to {file}."
        f" Artifacts, the values of secrets and the names of people are not among them.{moved}"
    )


@GROUP.change("adopt", example="stackledger log adopt --reason 'the file was never imported'")
def adopt(call: Call, yes: Yes = False) -> Done:
    """Take a move back: let the log go on where it is. Only if its file was imported nowhere: else there are two."""
    call.confirm("Was the file of the moved log imported nowhere, and will it not be?", yes=yes)
    incarnation = call.client.adopt_log()
    return Done(
        f"The log goes on here, as its incarnation {incarnation}. Workers on other machines need new join files, and"
        " `stackledger stack up` starts what ran here."
    )


@GROUP.plain("import", example="stackledger log import log.jsonl")
def import_(call: Call, file: ExportFile) -> Done:
    """Make the log of an exported file, where there is none yet. It keeps its id, and events their positions.

    One that was exported with --move goes on here; of any other this is a copy, for when the log itself is lost.
    Into a fresh home; or into a database, as its administrator, if STACKLEDGER_LOG or the setting log names one.
    """
    loaded = call.client.import_log(file)
    goes_on = (
        " It goes on here, under a new incarnation: workers on other machines need new join files."
        if loaded.moved
        else " It is a copy: do not let it and the log itself drive the same fleet."
    )
    return Done(
        f"Imported {loaded.events:,} events of the log {loaded.log_id}.{goes_on} The names of people and hosts are not"
        " in the file: put subjects.db of the home that it came from into this one, or ids are shown in their place."
    )


@GROUP.query("stats", example="stackledger log stats", as_of=False)
def stats(call: Call) -> Details:
    """Count the log's events."""
    item = call.client.log_stats()
    counts = item.get("types", {})
    rows = [[key.replace("_", " ").upper(), plain(value)] for key, value in item.items() if not isinstance(value, dict)]
    parts: list[Table | str] = [Table(["PROPERTY", "VALUE"], rows, title="Event log")]
    if counts:
        parts.append(Table(["TYPE", "EVENTS"], [[kind, f"{count:,}"] for kind, count in counts.items()]))
    return Details(item, parts)
