"""The program `stackledger`: its table of contents, and the one place where errors become messages.

Importing this loads Typer and nothing else of weight: each group is imported when it is named.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer

from stackledger import __version__
from stackledger.cli.lazy import PLAIN, SETTINGS, LazyGroup, Stub
from stackledger.cli.talk import complain, say
from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import StackledgerError, UsageError
from stackledger.domain.names import quoted

PROGRAM = "stackledger"

_COMPLETE = "_STACKLEDGER_COMPLETE"
"""The variable by which a shell asks what a word could become."""

_GROUPS = {
    "stack": ("Combine components into stacks, and activate one.", "stacks"),
    **{kind.group: (f"Configure components of type {kind.words}.", "components") for kind in ComponentType},
    "flavor": ("See the kinds of components, and add your own.", "flavors"),
    "secret": ("Keep values that must not stand in any configuration.", "secrets"),
    "integration": ("Install the libraries that flavors need.", "integrations"),
    "pipeline": ("See the pipelines that ran, and their runs.", "pipelines"),
    "run": ("See runs, their steps and what these printed.", "runs"),
    "artifact": ("See what steps put out.", "artifacts"),
    "coordinator": ("Drive the runs that workers execute.", "coordinators"),
    "worker": ("Execute the steps of runs, and see who does.", "workers"),
    "dead-letter": ("See and clear what nobody on a fleet could use.", "dead_letters"),
    "key": ("Say whose word counts on a fleet.", "keys"),
    "log": ("Read the events that all else is derived from.", "events"),
    "projection": ("See and rebuild the views of the log.", "projections"),
    "config": ("See and change the settings of this home.", "settings"),
}
_COMMANDS = {
    "init": "Give a folder an active stack of its own.",
    "status": "Say who and where you are, on which stack.",
    "doctor": "Look for what is wrong with this installation.",
    "clean": "Remove what can be made again.",
    "version": "Print the version.",
}


def _print_version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


def _root_options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """A registry of ML stacks and a runner of pipelines on one append-only event log."""


def root() -> LazyGroup:
    """Return the whole command line; groups and commands are loaded when they are named."""
    app = typer.Typer(name=PROGRAM, cls=LazyGroup, no_args_is_help=True, context_settings=SETTINGS, **PLAIN)
    app.callback()(_root_options)
    group = typer.main.get_command(app)
    assert isinstance(group, LazyGroup)
    for name, (text, module) in _GROUPS.items():
        group.add_command(Stub(name, text, _group_loader(name, text, module)), name)
    for name, text in _COMMANDS.items():
        group.add_command(Stub(name, text, _command_loader(name)), name)
    return group


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 1 refused or failed, 2 usage, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _refuse_what_is_no_text(given)
        if _COMPLETE in os.environ:
            import_module("stackledger.cli.completion").prepare(os.environ)
        status = root().main(args=given, prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        return _explain(error)
    except StackledgerError as error:
        complain(str(error))
        return 2 if isinstance(error, UsageError) else 1
    except typer.Abort:
        say("Aborted.")
        return 1
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if error.filename is not None:
            raise
        return _output_lost(error)
    return status if isinstance(status, int) else 0


def run() -> NoReturn:
    """Run the command line as a process."""
    # Looking through all installed packages for plug-ins of pydantic costs a change 5 % of its time; we have none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    _open_closed_streams()
    if sys.stdout.encoding.lower().replace("-", "") != "utf8" and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a box is not worth a traceback
    sys.exit(main())


def _open_closed_streams() -> None:
    """Let a stream that the shell closed (`>&-`) lead nowhere.

    Otherwise the next file to be opened, such as the log, gets its number, and whatever is printed by others.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115 - a number


def _group_loader(name: str, text: str, module: str) -> Callable[[], Any]:
    def load() -> Any:
        room = import_module(f"stackledger.cli.{module}")
        group = room.component_group(name) if module == "components" else room.GROUP
        group.help = text
        return group.build()

    return load


def _command_loader(name: str) -> Callable[[], Any]:
    return lambda: import_module("stackledger.cli.home").GROUP.command(name)


def _refuse_what_is_no_text(arguments: Sequence[str]) -> None:
    for text in arguments:
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise UsageError("An argument is not valid text in the encoding of this terminal.", hint="Use UTF-8.")
        if "\0" in text:
            raise UsageError(f"The argument {quoted(text)} holds a NUL, which no name, value or path can.")


def _explain(error: typer.TyperException) -> int:
    """Say what was wrong with what was typed, and how to find out more."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        say(error.format_message())
        return error.exit_code
    if context is not None:
        say(f"{context.get_usage()}\nTry '{context.command_path} --help' for help.\n")
    complain(error.format_message())
    return error.exit_code


def _output_lost(error: OSError) -> int:
    """End quietly when nobody reads the output any more, with a word when it cannot be written."""
    if not isinstance(error, BrokenPipeError):
        complain(f"The output cannot be written: {error.strerror}.")
    # Python would try once more to write what is left when it ends.
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
