"""The client's part about settings, and about repositories: folders with an active stack of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stackledger.client.stacks import StackClient
from stackledger.domain.errors import AlreadyExists, NotFound, StackledgerError, near_names
from stackledger.domain.names import quoted, user_name
from stackledger.projections.registry_queries import active_stack
from stackledger.settings import CONFIG_FILE, REPOSITORY_FOLDER, change_settings, read_settings, write_whole

if TYPE_CHECKING:
    from stackledger.client.home_results import Repository

SETTINGS = {
    "user": "the name under which you give commands",
    "log": "where the log is: an address postgresql://…, or env:NAME for that in a variable; empty for this home",
}
"""What `config set` knows, and what it means."""


class RepositoryClient(StackClient):
    """Settings of a home, and repositories."""

    def get_config(self) -> dict[str, str]:
        """Return the settings as they hold now."""
        return {"user": self._ledger.user, "log": self._ledger.reader.name}

    def set_config(self, key: str, value: str) -> None:
        """Change a setting of this home."""
        if key not in SETTINGS:
            raise NotFound(
                f"There is no setting {quoted(key)}.",
                near=near_names(key, SETTINGS),
                hint=f"There is {', '.join(SETTINGS)}.",
            )
        if key == "log":
            from stackledger.eventlog.address import checked_setting

            checked = checked_setting(value) if value else ""
        else:
            checked = user_name(value)
        change_settings(self._ledger.home, self._ledger.home / CONFIG_FILE, {key: checked})

    def repository_at(self, path: Path) -> Repository | None:
        """Return the repository that the folder is, or None."""
        from stackledger.client.home_results import Repository

        path = _absolute(path)
        file = path / REPOSITORY_FOLDER / CONFIG_FILE
        try:
            if not file.exists():
                return None
        except OSError as error:
            raise _unusable(path, error) from error
        repository_id = read_settings(file).get("repository_id", "")
        active = self._read(
            lambda view: active_stack(view, user_id=self._ledger.user_id or "", repository_id=repository_id)
        )
        return Repository(id=repository_id, path=str(path), active_stack=active.stack.name, files=0)

    def init_repository(self, path: Path, *, template: str | None = None) -> Repository:
        """Make the folder a repository with an active stack of its own.

        With a template its files are written too; what is there and differs is never replaced. Raises AlreadyExists for
        a folder that is a repository.
        """
        from stackledger.client.home_results import Repository
        from stackledger.domain import stacks
        from stackledger.domain.stack_state import Scope
        from stackledger.eventlog.ids import new_id

        path = _absolute(path)
        if self.repository_at(path):
            raise AlreadyExists(
                f"The folder {path} is a Stackledger repository already.",
                hint="Choose another one with --path for the template." if template else "",
            )
        files = _template_files(template, path) if template else {}
        if not self._dry_run:
            # First, so that no event tells of a folder that cannot be.
            try:
                (path / REPOSITORY_FOLDER).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _unusable(path, error) from error
        stack = self.active_stack
        repository_id = new_id()
        command = stacks.ActivateStack(stack_id=stack.id, scope=Scope("repository", repository_id))
        if not self._dry_run:
            # Before the event too: where there is no room for them, nothing is recorded.
            for target, source in files.items():
                write_whole(target, source.read_bytes())
        position = self._change(stacks.DECIDER, command).known.position
        try:
            change_settings(self._ledger.home, path / REPOSITORY_FOLDER / CONFIG_FILE, {"repository_id": repository_id})
        except StackledgerError as error:
            raise StackledgerError(
                f"The folder {path} is no repository yet: {error.message}"
                f" What the log has about it, at position {position}, has no effect.",
                hint="Mend that, then give the command again.",
            ) from error
        return Repository(id=repository_id, path=str(path), active_stack=stack.name, files=len(files))


def _absolute(path: Path) -> Path:
    try:
        return path.absolute()
    except FileNotFoundError as error:
        raise StackledgerError(
            "The working directory was deleted.",
            hint="Go to a folder that is there, or give its whole path with --path.",
        ) from error


def _unusable(path: Path, error: OSError) -> StackledgerError:
    return StackledgerError(
        f"{path} cannot be made a repository: {error.strerror}.", hint="Choose another folder with --path."
    )


def _template_files(template: str, target: Path) -> dict[Path, Path]:
    """Return where each file of a template goes, and where it comes from."""
    from stackledger import pipelines

    folder = Path(pipelines.__file__).parent / "templates"
    templates = sorted(each.name for each in folder.iterdir() if each.is_dir())
    if template not in templates:
        raise NotFound(
            f"There is no template {quoted(template)}.",
            near=near_names(template, templates),
            hint=f"There is {', '.join(templates)}.",
        )
    sources = [
        each for each in sorted((folder / template).rglob("*")) if each.is_file() and "__pycache__" not in each.parts
    ]
    files = {target / source.relative_to(folder / template): source for source in sources}
    # What is the same may be of an earlier `init` that did not come to its end.
    there = [str(path) for path, source in files.items() if path.exists() and not _same(path, source)]
    if there:
        raise AlreadyExists(
            f"The template would replace {', '.join(there)}, so nothing was written.",
            hint="Choose an empty folder with --path.",
        )
    return files


def _same(path: Path, source: Path) -> bool:
    return path.is_file() and path.read_bytes() == source.read_bytes()
