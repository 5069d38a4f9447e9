"""The client's part about a fleet at a glance: what `status` says where steps are executed by workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

from stackledger.client.fleet import FleetClient
from stackledger.client.health import HealthClient
from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import StackledgerError, raised
from stackledger.projections import registry_queries

if TYPE_CHECKING:
    from stackledger.client.asking import Heard
    from stackledger.client.doctor import Finding
    from stackledger.client.fleet_results import CoordinatorSeen, FleetSeen, QueueSeen, StoreSeen
    from stackledger.client.results import Component
    from stackledger.client.workers import Fleet
    from stackledger.domain.ports import ArtifactStore

_IN_THIS_PROCESS = "local"
"""The flavor that needs nothing to be looked at. Most homes have no other, and load nothing to know that."""

_FOR_THE_STORE = 5.0
"""For how many seconds one waits for an artifact store: it is asked meanwhile, and may try for a minute itself."""


class FleetStatusClient(HealthClient, FleetClient):
    """What is to be seen of a fleet."""

    def status(self) -> dict[str, Any]:
        """Return who and where the caller is, and how far log and views have got; of a fleet what answers now."""
        item = super().status()
        fleet = self.fleet_status()
        if fleet is None:
            return item
        from stackledger.projections import key_queries

        trust = self._read(key_queries.trust)
        if trust is not None:
            self._tell_of_expiry(trust)
        return item | {"fleet": fleet.to_json()}

    def doctor(self) -> list[Finding]:
        """Look for what could be wrong; each finding is `ok`, a `warning` or an `error`."""
        from stackledger.client.doctor import about_brokers, about_keys

        return [*super().doctor(), *about_keys(self._ledger), *about_brokers(self._brokers)]

    def _brokers(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """Yield each orchestrator that has a broker: its name, and what asks which one that is."""
        kind, asked = ComponentType.ORCHESTRATOR.value, self._asked((), {}, None, 1, 1000)
        for row in self._read(lambda view: registry_queries.components(view, kind, asked)).items:
            if row.flavor != _IN_THIS_PROCESS and self._flavor(ComponentType.ORCHESTRATOR, row.flavor)[1].runs_on_fleet:
                yield row.name, partial(self._broker_of, row.id)

    def _broker_of(self, orchestrator_id: str) -> str:
        from stackledger.workers.fleet.broker.visiting import visiting

        with visiting(self._fleet(orchestrator_id).address) as visit:
            return visit.version()

    def fleet_status(self) -> FleetSeen | None:
        """Return what is to be seen of the active stack's fleet, None if it has none. What is away is told in it."""
        parts = self._read(lambda view: self._active(view)[0].stack.components)
        (ref,), (store,) = parts[ComponentType.ORCHESTRATOR], parts[ComponentType.ARTIFACT_STORE]
        if ref.flavor == _IN_THIS_PROCESS:
            return None
        component = self.get_stack_component(ComponentType.ORCHESTRATOR, ref.id)
        if not self._runs_on_fleet(component):
            return None
        self._tell_outdated(component)
        look = self._look_at(self.get_stack_component(ComponentType.ARTIFACT_STORE, store.id))
        return self._fleet_seen(component)._replace(store=look())

    def _look_at(self, component: Component) -> Callable[[], StoreSeen]:
        """Begin to look whether a store can be read from here; what is returned waits for that."""
        from stackledger.client.fleet_results import StoreSeen

        seen = StoreSeen(component.name, component.flavor, component.configuration.get("path"), None)
        try:
            store = self._store({"components": [component.to_json()]})
        except StackledgerError as error:
            trouble = str(error)
            return lambda: seen._replace(trouble=trouble)
        answers: SimpleQueue[str | None] = SimpleQueue()
        Thread(target=lambda: answers.put(_trouble_of(store)), daemon=True).start()

        def look() -> StoreSeen:
            try:
                return seen._replace(trouble=answers.get(timeout=_FOR_THE_STORE))
            except Empty:
                return seen._replace(trouble=f"it gave no answer within {_FOR_THE_STORE:.0f} seconds")

        return look

    def _tell_outdated(self, component: Component) -> None:
        """Tell of processes in the background that go by another configuration than the orchestrator's by now."""
        from stackledger.workers.fleet.local_processes import folder_of, outdated

        found = outdated(folder_of(self._ledger.home, component.id), component.configuration)
        if found:
            self._notify(
                f"In the background {', '.join(each.name for each in found)} of {component.name!r} go by its"
                f" configuration as it was: `stackledger orchestrator down {component.name}`, then `up`."
            )

    def _fleet_seen(self, component: Component) -> FleetSeen:
        from stackledger.client.fleet_results import FleetSeen

        seen = FleetSeen(component.name, "", None, [], None, [], self._open_runs_of(component), None)
        try:
            fleet = self._fleet(component.id)
            seen = seen._replace(place=fleet.address.place)
            broker, queues = self._broker(fleet)
            seen = seen._replace(broker=broker, queues=queues)
            if not _is_coordinated(queues):
                return seen  # nobody would say the question on
            heard = self._who_is_there(fleet)
        except StackledgerError as error:
            return seen._replace(trouble=str(error))
        return seen._replace(coordinator=self._coordinator(heard), workers=self._workers(fleet, heard))

    def _broker(self, fleet: Fleet) -> tuple[str, list[QueueSeen]]:
        """Return which broker it is, and what is to be seen of the queues there."""
        from stackledger.client.fleet_results import QueueSeen
        from stackledger.workers.fleet.broker.visiting import visiting
        from stackledger.workers.fleet.protocol.ports import OUTCOMES, PARKED

        kinds = {**dict.fromkeys(fleet.topology.queues, "steps"), OUTCOMES: OUTCOMES, PARKED: PARKED}
        with visiting(fleet.address) as visit:
            version = visit.version()
            found = {queue: visit.found(fleet.topology.on_broker(queue)) for queue in kinds}
        return version, [QueueSeen(queue, kinds[queue], *(each or (None, None))) for queue, each in found.items()]

    def _coordinator(self, heard: Heard) -> CoordinatorSeen | None:
        from stackledger.client.fleet_results import CoordinatorSeen
        from stackledger.client.moments import iso

        if heard.presides is None:
            return None
        key, said = heard.presides
        # It may have read what was appended since it was asked.
        lag = max(0, self._ledger.reader.head() - said.position)
        return CoordinatorSeen(key, said.host, said.pid, iso(said.began), said.position, lag)

    def _open_runs_of(self, component: Component) -> int:
        from stackledger.projections import run_queries

        return self._read(lambda view: run_queries.unfinished_runs_on(view, component.id))


def _is_coordinated(queues: list[QueueSeen]) -> bool:
    """Say whether a coordinator takes what comes into the outcome queue."""
    return any(queue.consumers for queue in queues if queue.kind == "outcomes")


def _trouble_of(store: ArtifactStore) -> str | None:
    """Look for an object that no store has, and say what goes wrong."""
    try:
        store.exists("0" * 64)
    except Exception as error:  # noqa: BLE001 - whatever somebody's own code raises
        return str(error) if isinstance(error, StackledgerError) else raised(type(error).__name__, str(error))
    return None
