"""`stackledger key`: keys of coordinators, workers and submitters, and the root key above them."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from stackledger.cli.calls import Call, Done
from stackledger.cli.completion import key_names
from stackledger.cli.groups import Group
from stackledger.cli.options import Yes
from stackledger.cli.paging import pagination
from stackledger.cli.printing import Column, Details, Listing
from stackledger.cli.talk import say
from stackledger.cli.values import with_files

GROUP = Group("key")

_COLUMNS = [
    Column("NAME", "name"),
    Column("KEY ID", "id"),
    Column("ROLE", "role"),
    Column("QUEUES", "queues"),
    Column("STATUS", "status"),
    Column("ENROLLED", "enrolled"),
    Column("OWNER", "owner"),
    Column("HERE", "here"),
    Column("PUBLIC", "public", shown=False),
]

Role = Literal["coordinator", "worker", "submitter"]
AnyRole = Literal["coordinator", "worker", "submitter", "root"]
ExpiresIn = Annotated[
    int,
    typer.Option("--expires-in", metavar="DAYS", min=1, max=3650, help="How long a new list of coordinators is good."),
]


@GROUP.query("create", example="stackledger key create gpu-1 --role worker > gpu-1.pub", as_of=False)
def create(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the new key.")],
    role: Annotated[AnyRole, typer.Option("--role", help="What the key is for.")],
) -> Details:
    """Make a key. Its private half stays in this home; the public half is printed, for `key enroll`."""
    key = call.client.create_key(name, role)
    say(
        f"Made the {role}'s key '{key.name}' with the id {key.id}. Its private half is in this home, and nowhere else."
        if role != "root"
        else f"Made the root key '{key.name}' with the id {key.id}. Enroll coordinators' keys in this home, and keep a"
        " copy of its folder keys/ in a safe place: a log goes by one root key for ever."
    )
    return Details(key.to_json(), [key.line])


@GROUP.change("enroll", example="stackledger key enroll @gpu-1.pub --queue gpu")
def enroll(
    call: Call,
    key: Annotated[
        str,
        typer.Argument(metavar="KEY", help="A key of this home by name or id, or @FILE with what `create` printed."),
    ],
    role: Annotated[Role | None, typer.Option("--role", help="Refuse a key that was made for anything else.")] = None,
    queues: Annotated[
        list[str] | None,
        typer.Option(
            "--queue", "-q", metavar="QUEUE", help="What a worker may serve, default if nothing is said; repeatable."
        ),
    ] = None,
    expires_in: ExpiresIn = 90,
) -> Done:
    """Let a key count from now on. A coordinator's is enrolled where the root key is."""
    enrolled = call.client.enroll_key(
        with_files({"key": key})["key"], role=role, queues=queues or (), expires_in=expires_in
    )
    return Done(f"Key '{enrolled.name}' of a {enrolled.role} successfully enrolled.", enrolled.to_json())


@GROUP.change("revoke", example="stackledger key revoke gpu-1 --reason 'sold the machine'")
def revoke(
    call: Call,
    key: Annotated[str, typer.Argument(metavar="KEY", autocompletion=key_names, help="The key, by name or id.")],
    expires_in: ExpiresIn = 90,
    yes: Yes = False,
) -> Done:
    """Let a key count for nothing from now on, and never again. A coordinator's is revoked where the root key is."""
    found = call.client.get_key(key, allow_partial_name_match=False)
    call.confirm(f"Revoke the key '{found.name}' of a {found.role} for good?", yes=yes)
    revoked = call.client.revoke_key(found.id, expires_in=expires_in)
    return Done(f"Key '{revoked.name}' of a {revoked.role} successfully revoked.", revoked.to_json())


@GROUP.change("renew", example="stackledger key renew --expires-in 30")
def renew(call: Call, expires_in: ExpiresIn = 90) -> Done:
    """Sign the list of coordinators anew, before it expires. Workers take no work by an expired one."""
    trust = call.client.renew_trust(expires_in=expires_in)
    return Done(f"The list of coordinators is good until {trust.expires}.", trust.to_json())


@GROUP.listing(
    "list",
    example="stackledger key list --status enrolled",
    filters={
        "name": "Only this name; also contains:, startswith: or endswith:TEXT.",
        "role": "Only coordinator, worker or submitter.",
        "status": "Only enrolled or revoked.",
        "owner": "Only those that this user enrolled.",
    },
)
def list_keys(call: Call) -> Listing:
    """List the keys that were ever enrolled. HERE says whose private half is in this home."""
    from stackledger.client.key_results import Key

    page = call.client.list_keys(**call.filters, as_of=call.as_of, **call.paging)
    items = [key.to_json() for key in page.items]
    return Listing(items, _COLUMNS, pagination(page), nothing="No keys found.", keys=Key._fields)
