"""`stackledger secret`: values that must not stand in any configuration."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any

import typer

from stackledger.cli.calls import Call, Done
from stackledger.cli.free_form import GIVEN, FreeForm
from stackledger.cli.groups import Group
from stackledger.cli.options import Interactive, NewName, NewNameOption, SecretName, Yes, one_name
from stackledger.cli.paging import pagination
from stackledger.cli.printing import Column, Details, Listing, Table
from stackledger.cli.talk import answer, say
from stackledger.cli.values import with_files
from stackledger.domain.errors import UsageError
from stackledger.domain.names import quoted, visible

GROUP = Group("secret")

_COLUMNS = [Column("NAME", "name"), Column("SECRET ID", "id"), Column("KEYS", "keys"), Column("OWNER", "owner")]
_MASK = "********"

Removed = Annotated[
    list[str] | None, typer.Option("--remove", "-r", metavar="KEY", help="Remove this key; may be given repeatedly.")
]


class KeysOfSecret(FreeForm):
    """A command whose undeclared options are keys of a secret, unless they look like a declared one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse what was hardly meant as a key: it would be kept as one, and the option would be missing."""
        rest = super().parse_args(ctx, args)
        options = [name[2:] for each in self.get_params(ctx) for name in each.opts if name.startswith("--")]
        for key in ctx.meta[GIVEN]:
            near = get_close_matches(key.replace("_", "-"), options, n=1, cutoff=0.8)
            if near:
                raise UsageError(
                    f"There is no option --{visible(key)}, and as a key of the secret it is too much like one.",
                    near=[f"--{near[0]}"],
                    hint="A key of that name can be given with -i.",
                )
        return rest


@GROUP.change("create", example="stackledger secret create aws --access_key=@key.txt --region=-", cls=KeysOfSecret)
def create(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the new secret.")],
    interactive: Interactive = False,
) -> Done:
    """Keep a secret. --KEY=@FILE takes a file's content, --KEY=- standard input, and -i asks."""
    values = _given(call) | (_asked() if interactive else {})
    if not values:
        raise UsageError("The secret has no keys.", hint="Give --KEY=@FILE, --KEY=- or -i.")
    secret = call.client.create_secret(name, values)
    return Done(f"Secret '{secret.name}' successfully created.", secret.to_json())


@GROUP.listing(
    "list",
    example="stackledger secret list",
    filters={
        "name": "Only this name; also contains:, startswith: or endswith:TEXT.",
        "owner": "Only those of this user.",
    },
)
def list_secrets(call: Call) -> Listing:
    """List the secrets and the names of their keys."""
    page = call.client.list_secrets(**call.filters, as_of=call.as_of, **call.paging)
    items = [secret.to_json() for secret in page.items]
    keys = ("id", "name", "keys", "owner")
    return Listing(items, _COLUMNS, pagination(page), nothing="No secrets found.", keys=keys)


@GROUP.query("get", example="stackledger secret get aws --reveal")
def get(
    call: Call,
    name: SecretName,
    reveal: Annotated[bool, typer.Option("--reveal", help="Print the values themselves.")] = False,
) -> Details:
    """Show a secret, its values masked."""
    if reveal and call.as_of is not None:
        raise UsageError("Earlier values are not kept, so --reveal and --as-of do not go together.")
    secret = call.client.get_secret(name, reveal=reveal, as_of=call.as_of)
    values = {key: secret.secret_values[key] if reveal else _MASK for key in secret.keys}
    item = {**secret.to_json(), "values": values}
    return Details(item, [Table(["KEY", "VALUE"], list(values.items()), title=f"'{secret.name}' secret")])


@GROUP.change("update", example="stackledger secret update aws --access_key=@new_key.txt -r region", cls=KeysOfSecret)
def update(call: Call, name: SecretName, removed: Removed = None, interactive: Interactive = False) -> Done:
    """Give keys of a secret new values. --KEY=… adds or changes a key, -r KEY removes one."""
    values = _given(call) | (_asked() if interactive else {})
    if not (values or removed):
        raise UsageError("Nothing to update was given.", hint="Give --KEY=@FILE, --KEY=-, -r KEY or -i.")
    secret = call.client.update_secret(name, add_or_update_values=values, remove_values=removed or [])
    return Done(f"Secret '{secret.name}' successfully updated.", secret.to_json())


@GROUP.change("rename", example="stackledger secret rename aws aws_production")
def rename(call: Call, name: SecretName, new_name: NewName = None, new_name_option: NewNameOption = None) -> Done:
    """Give a secret another name."""
    secret = call.client.update_secret(name, one_name(new_name, new_name_option))
    return Done(f"Secret successfully renamed to '{secret.name}'.", secret.to_json())


@GROUP.change("delete", example="stackledger secret delete aws --yes")
def delete(call: Call, name: SecretName, yes: Yes = False) -> Done:
    """Delete a secret that no configuration refers to."""
    # What is deleted is the one that was asked about, whoever has its name after the answer.
    secret = call.client.get_secret(name, allow_partial_name_match=False, reveal=False)
    call.confirm(f"Delete the secret '{secret.name}'?", yes=yes)
    call.client.delete_secret(secret.id)
    return Done(f"Secret '{secret.name}' successfully deleted.", secret.to_json())


def _given(call: Call) -> dict[str, str]:
    for key, values in call.given.items():
        if len(values) > 1:
            raise UsageError(f"The key {quoted(key)} was given more than once.")
    given = {key: values[0] for key, values in call.given.items()}
    if any(not value.startswith("@") and value != "-" for value in given.values()):
        say("Warning: others here can read a process's arguments. Better use --KEY=@FILE, --KEY=- or -i.")
    found = with_files(given, stdin=True)
    for key, value in found.items():
        if not value and given[key]:
            raise UsageError(
                f"What was given as the key {quoted(key)} is empty.", hint=f"If it is to be, write --{visible(key)}=."
            )
    return found


def _asked() -> dict[str, str]:
    values: dict[str, str] = {}
    while key := answer("Key (ENTER when there are no more)"):
        value = answer(f"Value of {key}", hidden=True)
        if not value:
            raise UsageError(f"There was no value for the key {quoted(key)}.")
        values[key] = value
    return values
