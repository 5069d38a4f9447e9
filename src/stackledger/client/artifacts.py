"""The client's part about artifacts, and about what does the work of a pinned stack's components.

Queries and results are imported where they are used: commands about the registry do without them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from stackledger.client import arguments
from stackledger.client.components import ComponentClient
from stackledger.client.moments import iso
from stackledger.client.results import Page
from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import FlavorError, NotFound, Refused, StackledgerError, raised
from stackledger.domain.names import quoted

if TYPE_CHECKING:
    from stackledger.client.collecting import Collector
    from stackledger.client.collection_results import Garbage
    from stackledger.client.run_results import Artifact
    from stackledger.domain.collection import CollectionCommand
    from stackledger.domain.event import Event
    from stackledger.domain.ports import ArtifactStore
    from stackledger.flavors.resolving import Redactor
    from stackledger.pipelines.responses import ArtifactResponse
    from stackledger.projections.engine import View
    from stackledger.projections.run_queries import ArtifactRow


GRACE_DAYS = 7.0
"""How long garbage must have been there before it is condemned, and from then until it may be collected."""


class ArtifactClient(ComponentClient):
    """Artifacts, and the stores that they are in."""

    def list_artifacts(
        self,
        *,
        sort_by: str | None = None,
        page: int = 1,
        size: int = 20,
        as_of: str | int | None = None,
        **filters: Any,
    ) -> Page[Artifact]:
        """Return a page of the artifacts, each in its newest version; filters as for all versions."""
        return self._artifacts(filters, sort_by, page, size, as_of, newest=True)

    def list_artifact_versions(
        self,
        *,
        sort_by: str | None = None,
        page: int = 1,
        size: int = 20,
        as_of: str | int | None = None,
        **filters: Any,
    ) -> Page[Artifact]:
        """Return a page of all versions of artifacts, newest first unless `sort_by` says otherwise.

        Filters are `name` as for stacks, `run` by name or id, and `step`.
        """
        return self._artifacts(filters, sort_by, page, size, as_of, newest=False)

    def describe_artifact_version(
        self, name_id_or_prefix: str, version: int | None = None, *, as_of: str | int | None = None
    ) -> Artifact:
        """Return what is known of an artifact by id, or of a version of a name: the newest if none is given."""
        return self._read(lambda view: _artifact(_version(view, name_id_or_prefix, version)), as_of)

    def get_artifact_version(self, name_id_or_prefix: str, version: int | None = None) -> ArtifactResponse:
        """Return a version of an artifact that can be loaded: `.load()` checks the bytes against the log's digest."""
        from stackledger.projections import run_queries

        def query(view: View) -> tuple[ArtifactRow, dict[str, Any]]:
            row = _version(view, name_id_or_prefix, version)
            return row, run_queries.run(view, row.run_id, prefix=False).stack

        return self._loadable(*self._read(query))

    def find_garbage(self, artifact_store: str | None = None, *, grace: float = GRACE_DAYS) -> list[Garbage]:
        """Return what is in an artifact store that nothing in the log refers to, and what pruning would do with it.

        The store is that of the active stack unless it is named, by id or name; `grace` is in days.
        """
        return self._collector(artifact_store, grace).found()

    def prune_artifacts(
        self, artifact_store: str | None = None, *, grace: float = GRACE_DAYS, not_shared: bool = False
    ) -> list[Garbage]:
        """Condemn garbage in an artifact store, collect what was condemned and is due, and return what was done.

        In a dry run nothing is changed. Refused where another log, or a copy of this one, may refer to objects in the
        store, unless the caller says that it is `not_shared`, which is kept in mind.
        """
        collector = self._collector(artifact_store, grace)
        if self._dry_run:
            return collector.found()
        self._context()  # refuses where nothing can come into the log, before anything is changed
        collector.refuse_shared(not_shared=not_shared)
        return collector.collected()

    def sharing_of(self, artifact_store: str | None = None) -> str | None:
        """Return in words why another log may refer to what is in an artifact store; None if none is known to do.

        Where one may, nothing is pruned there, unless somebody says that the store is not shared.
        """
        return self._collector(artifact_store, GRACE_DAYS).sharing()

    def _collector(self, name: str | None, grace: float) -> Collector:
        from stackledger.client.collecting import Collector, seconds_of
        from stackledger.domain.collection import DECIDER
        from stackledger.domain.ports import CollectableStore

        row, _ = self._seen_component(ComponentType.ARTIFACT_STORE, name)
        pinned = {
            "id": row.id,
            "name": row.name,
            "type": row.type,
            "flavor": row.flavor,
            "configuration": row.configuration,
        }
        store = self._store({"components": [pinned]})
        if not isinstance(store, CollectableStore):
            raise Refused(
                f"Garbage cannot be collected out of the artifact store {row.name!r}: its flavor {row.flavor!r} lacks"
                " what that takes.",
                hint="Its class needs the methods of stackledger.domain.ports.CollectableStore.",
            )

        def decide(command: CollectionCommand) -> Sequence[Event]:
            return [recorded.event for recorded in self._change(DECIDER, command).events]

        return Collector(
            store_id=row.id,
            name=row.name,
            store=store,
            ledger=self._ledger,
            decide=decide,
            grace=seconds_of(grace),
        )

    def _artifacts(
        self,
        filters: Mapping[str, object],
        sort_by: str | None,
        page: int,
        size: int,
        as_of: str | int | None,
        *,
        newest: bool,
    ) -> Page[Artifact]:
        from stackledger.projections import run_queries

        def query(view: View) -> Page[Artifact]:
            asked = self._asked(("name", "run", "step"), filters, sort_by, page, size)
            if asked.filters.run is not None:
                run_id = run_queries.run(view, asked.filters.run).run.id
                asked = asked._replace(filters=asked.filters._replace(run=run_id))
            found = run_queries.artifacts(view, asked, newest=newest)
            return Page([_artifact(row) for row in found.items], found.total, page, size)

        return self._read(query, as_of)

    def _loadable(self, row: ArtifactRow, stack: Mapping[str, Any]) -> ArtifactResponse:
        """Return an artifact that loads from the store of the stack that was pinned when it was made."""
        from stackledger.domain.events.runs import Produced
        from stackledger.pipelines.responses import ArtifactResponse
        from stackledger.workers.execute import load

        produced = Produced(
            output=row.output,
            artifact_id=row.id,
            artifact=row.name,
            digest=row.digest,
            size=row.size,
            layout=cast("Any", row.layout),
            materializer=row.materializer,
            data_type=row.data_type,
        )
        return ArtifactResponse(
            id=row.id,
            name=row.name,
            version=row.version,
            digest=row.digest,
            size=row.size,
            materializer=row.materializer,
            data_type=row.data_type,
            loader=lambda: load(self._store(stack), produced),
        )

    def _store(self, stack: Mapping[str, Any], redactor: Redactor | None = None) -> ArtifactStore:
        """Return the artifact store of a pinned stack."""
        return cast("ArtifactStore", self._implementation(stack, ComponentType.ARTIFACT_STORE, redactor))

    def _implementation(self, stack: Mapping[str, Any], kind: ComponentType, redactor: Redactor | None) -> Any:
        """Return what does the work of a pinned stack's component: its flavor's class, made with its configuration.

        Raises FlavorError if it cannot be made: the class may be somebody's own.
        """
        from stackledger.flavors.catalogue import load_implementation
        from stackledger.flavors.validation import configured

        component = next(each for each in stack["components"] if each["type"] == kind)
        try:
            _, flavor = self._flavor(kind, component["flavor"])
        except NotFound as error:
            raise FlavorError(
                f"The {kind.words} {component['name']!r} is of the flavor {component['flavor']!r},"
                " which is not there any more.",
                hint=f"Register it again: `stackledger {kind.group} flavor register module.Class`.",
            ) from error
        config = configured(flavor, component["configuration"], self._secret_lookup(), redactor)
        implementation = load_implementation(flavor)
        try:
            return implementation(config, home=self._ledger.home, component_id=component["id"])
        except StackledgerError:
            raise
        except Exception as error:  # whatever somebody's own code raises
            raise FlavorError(
                f"Making {quoted(flavor.implementation)} of the {kind.words} flavor {flavor.name!r} failed:"
                f" {raised(type(error).__name__, str(error))}."
            ) from error


def _version(view: View, name: str, version: int | None) -> ArtifactRow:
    from stackledger.projections import run_queries

    return run_queries.artifact(
        view, name, None if version is None else arguments.number(version, "The version of an artifact")
    )


def _artifact(row: ArtifactRow) -> Artifact:
    from stackledger.client.run_results import Artifact
    from stackledger.pipelines.materializers import runs_code

    return Artifact(
        id=row.id,
        name=row.name,
        version=row.version,
        run=row.run or row.run_id,
        run_id=row.run_id,
        step=row.step,
        output=row.output,
        data_type=row.data_type,
        materializer=row.materializer,
        runs_code=runs_code(row.materializer),
        digest=row.digest,
        size=row.size,
        created=iso(row.created),
    )
