"""`stackledger config`: the settings of this home."""

from __future__ import annotations

from typing import Annotated

import typer

from stackledger.cli.calls import Call, Done
from stackledger.cli.groups import Group
from stackledger.cli.printing import Column, Details, Listing
from stackledger.domain.errors import NotFound, near_names
from stackledger.domain.names import quoted, visible

GROUP = Group("config")

Key = Annotated[str, typer.Argument(metavar="KEY", help="The setting.")]


@GROUP.listing("list", example="stackledger config list", as_of=False)
def list_settings(call: Call) -> Listing:
    """List the settings."""
    settings = call.client.get_config()
    items = [{"key": key, "value": value} for key, value in settings.items()]
    return Listing(items, [Column("KEY", "key"), Column("VALUE", "value")])


@GROUP.query("get", example="stackledger config get user", as_of=False)
def get(call: Call, key: Key) -> Details:
    """Print one setting."""
    settings = call.client.get_config()
    if key not in settings:
        raise NotFound(f"There is no setting {quoted(key)}.", near=near_names(key, settings))
    return Details({"key": key, "value": settings[key]}, [str(settings[key])])


@GROUP.plain("set", example="stackledger config set user ada")
def set_setting(
    call: Call, key: Key, value: Annotated[str, typer.Argument(metavar="VALUE", help="Its value.")]
) -> Done:
    """Change a setting, for example the name that your changes carry."""
    call.client.set_config(key, value)
    return Done(f"{visible(key)} is {visible(value) or 'what it is by default'} now.")
