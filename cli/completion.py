"""What the shell may complete: names of what is there, and the words that an option knows.

A shell asks while somebody types, so nothing here ever fails, talks, or begins a log.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any

import typer

from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import StackledgerError

if TYPE_CHECKING:
    from stackledger.client import Client

_MOST = 200
"""More names than this help nobody to choose."""


def stack_names(incomplete: str) -> list[str]:
    """Return the names of stacks that begin so."""
    return _names(lambda client: client.list_stacks(name=_beginning(incomplete), size=_MOST).items)


def component_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of components that begin so, of the type whose group the command is in."""
    kind = _type_of(ctx)
    return components_of(kind)(incomplete) if kind else []


def components_of(kind: ComponentType) -> Callable[[str], list[str]]:
    """Return what completes the names of components of one type."""

    def complete(incomplete: str) -> list[str]:
        return _names(lambda client: client.list_stack_components(kind, name=_beginning(incomplete), size=_MOST).items)

    return complete


def flavor_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of flavors that begin so, of the type whose group the command is in."""
    kind = _type_of(ctx)
    return _beginning_so(_names(lambda client: client.list_flavors(kind)), incomplete) if kind else []


def secret_names(incomplete: str) -> list[str]:
    """Return the names of secrets that begin so."""
    return _names(lambda client: client.list_secrets(name=_beginning(incomplete), size=_MOST).items)


def run_names(incomplete: str) -> list[str]:
    """Return the names of runs that begin so, newest first."""
    return _names(lambda client: client.list_pipeline_runs(name=_beginning(incomplete), size=_MOST).items)


def pipeline_names(incomplete: str) -> list[str]:
    """Return the names of pipelines that begin so."""
    return _names(lambda client: client.list_pipelines(name=_beginning(incomplete), size=_MOST).items)


def artifact_names(incomplete: str) -> list[str]:
    """Return the names of artifacts that begin so."""
    found = _names(lambda client: client.list_artifact_versions(name=_beginning(incomplete), size=_MOST).items)
    return list(dict.fromkeys(found))


def integration_names(incomplete: str) -> list[str]:
    """Return the names of integrations that begin so."""
    from stackledger.client import Client  # as below

    return _beginning_so((each.name for each in Client().list_integrations()), incomplete)


def component_types(incomplete: str) -> list[str]:
    """Return the types of component that begin so."""
    return _beginning_so((kind.value if "_" in incomplete else kind.group for kind in ComponentType), incomplete)


def key_names(incomplete: str) -> list[str]:
    """Return the names of keys that count and begin so."""
    return _names(lambda client: client.list_keys(name=_beginning(incomplete), status="enrolled", size=_MOST).items)


def key_roles(incomplete: str) -> list[str]:
    """Return what a key can be enrolled for that begins so."""
    return _beginning_so(("coordinator", "worker", "submitter"), incomplete)


def statuses(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return what a run, or in the group of keys a key, can be that begins so."""
    if ctx.command_path.split()[-2] == "key":
        return _beginning_so(("enrolled", "revoked"), incomplete)
    from stackledger.domain.run_status import DEAD, RunStatus

    return _beginning_so([*RunStatus, DEAD], incomplete)


def event_types(incomplete: str) -> list[str]:
    """Return the types of event that begin so, without their versions."""
    from stackledger.domain.events import EVENT_TYPES

    return _beginning_so((name.partition("/")[0] for name in EVENT_TYPES), incomplete)


def prepare(environment: MutableMapping[str, str]) -> None:
    """Spell the options in what a shell wants completed as Typer looks for them.

    With dashes; and without the equals sign that bash makes a word of its own: `--orchestrator`, `=`, `d`.
    """
    if "COMP_CWORD" in environment:
        at = int(environment["COMP_CWORD"])
        words = environment["COMP_WORDS"].split("\n")
        signs = [i for i in range(2, len(words)) if i != at and words[i] == "=" and words[i - 1].startswith("--")]
        environment["COMP_WORDS"] = "\n".join(word for i, word in enumerate(words) if i not in signs)
        environment["COMP_CWORD"] = str(at - sum(i < at for i in signs))
    for name in ("COMP_WORDS", "_TYPER_COMPLETE_ARGS"):
        if name in environment:
            environment[name] = re.sub(
                r"(?<!\S)--[\w-]+", lambda option: option[0].replace("_", "-"), environment[name]
            )


def _beginning_so(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


def _beginning(incomplete: str) -> str | None:
    return f"startswith:{incomplete}" if incomplete else None


def _names(listed: Callable[[Client], Iterable[Any]]) -> list[str]:
    from stackledger.client import Client  # help and parsing do without it

    client = Client()
    try:
        # A shell would take a name with a space in it for two words.
        return [item.name for item in listed(client) if " " not in item.name] if client.has_log() else []
    except StackledgerError:
        return []
    finally:
        client.close()


def _type_of(ctx: typer.Context) -> ComponentType | None:
    groups = {kind.group: kind for kind in ComponentType}
    up = ctx.parent
    while up is not None:
        if up.info_name in groups:
            return groups[up.info_name]
        up = up.parent
    return None
