"""Files that commands read and write: YAML of stacks and secrets, lists of requirements."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from stackledger.cli.values import file_text
from stackledger.domain.errors import StackledgerError, UsageError
from stackledger.domain.names import quoted, visible


def yaml_text(value: Mapping[str, Any]) -> str:
    """Return a mapping as YAML."""
    import yaml  # 15 ms that only some commands need

    return str(yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True))


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file. No aliases, no tags, no key twice: nothing but data comes from outside."""
    import yaml

    text = file_text(str(path))

    class Strict(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("aliases are not accepted")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            if not all(isinstance(key, str) for key in keys):
                raise yaml.YAMLError("a key is not a text")
            if len(set(keys)) < len(keys):
                raise yaml.YAMLError("a key occurs twice in one mapping")
            return super().construct_mapping(node, deep)

    try:
        found = yaml.load(text, Strict)  # noqa: S506 - a SafeLoader that accepts less
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        why = f"{getattr(error, 'problem')} in line {mark.line + 1}" if mark else str(error)  # noqa: B009 - of some errors
        raise StackledgerError(f"The file {quoted(str(path))} is not plain YAML: {visible(why)}.") from error
    if not isinstance(found, dict):
        raise StackledgerError(f"The file {quoted(str(path))} holds no mapping of names to values.")
    return found


def write_new(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Write a file that is not there yet, or that may be replaced."""
    try:
        with path.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise StackledgerError(
            f"The file {quoted(str(path))} is there already.", hint="Choose another name."
        ) from error
    except (OSError, ValueError) as error:
        if not overwrite:
            with suppress(OSError):
                path.unlink(missing_ok=True)  # half of it, if anything
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"The file {quoted(str(path))} cannot be written: {why}.") from error
