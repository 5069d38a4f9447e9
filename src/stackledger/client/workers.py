"""The client's part about workers: being one, seeing which there are, and telling another machine how to be one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from stackledger.client.components import ComponentClient
from stackledger.client.keys import KeyClient
from stackledger.client.moments import iso
from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import NotFound, Refused
from stackledger.projections import registry_queries

if TYPE_CHECKING:
    from stackledger.client.asking import Answer, Heard
    from stackledger.client.results import Component
    from stackledger.client.worker_results import Worker, Working
    from stackledger.flavors.rabbitmq_orchestrator import RabbitMQOrchestratorConfig
    from stackledger.projections.engine import View
    from stackledger.projections.key_queries import KeyRow
    from stackledger.workers.fleet.broker.address import BrokerAddress
    from stackledger.workers.fleet.broker.topology import Topology
    from stackledger.workers.fleet.joining import Join
    from stackledger.workers.fleet.protocol.messages import Doing, Present, Role
    from stackledger.workers.fleet.trust.keys import SigningKey

_OPENS_THE_LOG = "PGPASSWORD"


class Fleet(NamedTuple):
    """An orchestrator whose steps workers execute: as it is configured, and what is where on its broker.

    `folder` is where its processes on this machine have their files.
    """

    component: Component
    config: RabbitMQOrchestratorConfig
    address: BrokerAddress
    topology: Topology
    folder: Path


class WorkerClient(ComponentClient, KeyClient):
    """Workers of an orchestrator: that of the active stack, if none is named."""

    def list_workers(self, orchestrator: str | None = None) -> list[Worker]:
        """Return the workers that answer now, with what they say that they do."""
        fleet = self._fleet(orchestrator)
        heard = self._who_is_there(fleet)
        if not heard.coordinator:
            self._notify(
                f"No coordinator of {fleet.component.name!r} answered, and without one workers are not asked."
                " `stackledger stack up` starts one here; `stackledger coordinator start` is one."
            )
        return self._workers(fleet, heard)

    def join_file(self, orchestrator: str | None = None) -> dict[str, Any]:
        """Return what stands in the file that a worker on another machine needs, as JSON; there is no secret in it."""
        return self._join(self._fleet_component(orchestrator)).model_dump(mode="json")

    def work(
        self,
        orchestrator: str | None = None,
        *,
        join_file: Path | None = None,
        key: str | None = None,
        queue: str | None = None,
        slots: int | None = None,
        grace: float = 25.0,
        max_steps: int = 1_000,
        memory: str | None = None,
        step_timeout: float | None = None,
        idle_timeout: float | None = None,
        liveness_file: Path | None = None,
        metrics: tuple[str, int] | None = None,
        log_format: str = "text",
    ) -> NoReturn:
        """Be a worker of this home's log, or of the one that a join file tells of, until a signal to stop comes.

        Or until there was nothing to do for `idle_timeout` seconds, if that is given.
        With a join file nothing of this home is read but its keys, of which `key` names one. `metrics` is the host and
        the port at which Prometheus may ask. This process is another program from here on, and nothing of the present
        one is left: what a person may want to know it writes to standard error, line by line, as text or as json.
        """
        from stackledger.workers.fleet.joining import read_join
        from stackledger.workers.fleet.metrics import Endpoint
        from stackledger.workers.fleet.working import Handed, Service, become, chosen_queue, memory_limit

        environment = dict(self._ledger.environment)
        if join_file is not None:
            join = read_join(join_file)
            config = join.settings(environment=environment)
            signer = self._key_here("worker", key)
        else:
            fleet = self._fleet(orchestrator)
            join, config = self._join(fleet.component), fleet.config
            environment |= self._secrets_of_stores(fleet.component.id)
            environment.pop(_OPENS_THE_LOG, None)  # what opens the log here is not for steps
            signer = self._key_here("worker", key) if key else self._worker_key(chosen_queue(config, queue))
            self.close()  # from here on the log is nobody's business
        service = Service(
            queue=chosen_queue(config, queue),
            slots=slots or config.slots,
            grace=grace,
            max_steps=max_steps,
            memory=memory_limit(memory),
            step_timeout=step_timeout,
            idle_timeout=idle_timeout,
            alive=liveness_file,
            metrics=metrics and Endpoint(*metrics),
        )
        handed = Handed(
            join=join,
            config=config,
            key_id=signer.key_id,
            service=service,
            home=self._ledger.home,
            log_format=log_format,
        )
        become(handed, join.environment_of_steps(config, environment))

    # Fleets

    def _runs_on_fleet(self, component: Component) -> bool:
        return self._flavor(ComponentType(component.type), component.flavor)[1].runs_on_fleet

    def _fleet_component(self, orchestrator: str | None) -> Component:
        component = self.get_stack_component(ComponentType.ORCHESTRATOR, orchestrator, allow_name_prefix_match=False)
        if not self._runs_on_fleet(component):
            raise Refused(
                f"The orchestrator {component.name!r} is of the flavor {component.flavor!r}, which has no workers.",
                hint="Name one of the flavor rabbitmq; `stackledger orchestrator list` shows which there are.",
            )
        return component

    def _fleet(self, orchestrator: str | None) -> Fleet:
        from stackledger.flavors.rabbitmq_orchestrator import RabbitMQOrchestratorConfig, RabbitMQOrchestratorFlavor
        from stackledger.flavors.validation import configured
        from stackledger.workers.fleet.broker.configured import broker_address, topology
        from stackledger.workers.fleet.local_processes import folder_of

        component, environment = self._fleet_component(orchestrator), self._ledger.environment
        config = configured(
            RabbitMQOrchestratorFlavor, component.configuration, self._secret_lookup(), environment=environment
        )
        assert isinstance(config, RabbitMQOrchestratorConfig)
        return Fleet(
            component,
            config,
            broker_address(config),
            topology(config, self._ledger.standing.name, component.id),
            folder_of(self._ledger.home, component.id),
        )

    def _join(self, component: Component) -> Join:
        from stackledger.workers.fleet.joining import Join

        self._refuse_if_moved()  # nobody would say anything to workers of what it was
        root, standing = self.root_public(), self._ledger.standing
        if root is None:
            raise Refused(
                "No root key of this log has said yet which coordinators workers are to go by.",
                hint="`stackledger stack up` makes all keys that one machine needs; `stackledger key --help` tells of"
                " several machines.",
            )
        return Join(
            log_id=standing.log_id,
            incarnation=standing.incarnation,
            orchestrator_id=component.id,
            orchestrator=component.name,
            configuration=component.configuration,
            root=root,
        )

    def _secrets_of_stores(self, orchestrator_id: str) -> dict[str, str]:
        """Return the secrets of the artifact stores beside an orchestrator, as workers find them around them."""
        from stackledger.domain.references import secret_references
        from stackledger.workers.fleet.execution.own_secrets import variable_of

        def query(view: View) -> list[Mapping[str, object]]:
            stacks = registry_queries.stacks_using(view, orchestrator_id)
            ids = {ref.id for stack in stacks for ref in stack.components.get(ComponentType.ARTIFACT_STORE, ())}
            return [row.configuration for row in registry_queries.components_by_id(view, ids).values()]

        lookup = self._secret_lookup()
        references = {each for configuration in self._read(query) for each in secret_references(configuration)}
        return {variable_of(name, key): lookup(name).get(key, "") for name, key in references}

    # Keys

    def _key_here(self, role: Role, name: str | None = None) -> SigningKey:
        """Return the key of this home with that name, or the first one of the role; NotFound or Refused without."""
        from stackledger.workers.fleet.trust.folder import key_file
        from stackledger.workers.fleet.trust.keys import key_of, keys_in, read_key

        home = self._ledger.home
        keys = [key_of(home, name)] if name is not None else [key for key in keys_in(home) if key.role == role]
        if not keys:
            raise NotFound(
                f"This home has no key of a {role}.",
                hint=f"Make one with `stackledger key create NAME --role {role}`, and have it enrolled.",
            )
        if keys[0].role != role:
            raise Refused(f"The key {keys[0].name!r} is that of a {keys[0].role}, not of a {role}.")
        return read_key(key_file(home, keys[0].key_id))

    def _worker_key(self, queue: str) -> SigningKey:
        """Return a worker's key of this home that counts for a queue, or raise NotFound or Refused."""
        found = self._own_key("worker", lambda row: queue in row.queues)
        if found is not None:
            return found
        there = self._key_here("worker")
        raise Refused(
            f"No worker's key of this home counts for the queue {queue!r}.",
            hint=f"`stackledger stack up` makes and enrolls one. Else, where the log is: stackledger key enroll"
            f" {there.shown} --queue {queue}; a key that is enrolled already is good for its queues only.",
        )

    def _own_key(self, role: Role, fits: Callable[[KeyRow], bool] = lambda _: True) -> SigningKey | None:
        """Return a key of this home that counts in the log and fits, None where there is none."""
        from stackledger.workers.fleet.trust.keys import signing_key

        ids = {row.id for row in self._known_keys("enrolled") if row.role == role and fits(row)}
        return signing_key(self._ledger.home, role, ids)

    def _known_keys(self, status: str | None = None) -> list[KeyRow]:
        """Return the keys in the log, all or those of one status."""
        from stackledger.projections import key_queries
        from stackledger.projections.listing import MAX_SIZE, Asked, Filters

        def query(view: View) -> list[KeyRow]:
            rows: list[KeyRow] = []
            for number in count(1):
                page = key_queries.keys(view, Asked(Filters(status=status), None, number, MAX_SIZE))
                rows += page.items
                if len(rows) >= page.total:
                    break
            return rows

        return self._read(query)

    # What workers say

    def _who_is_there(self, fleet: Fleet, enough: Callable[[list[Answer]], bool] | None = None) -> Heard:
        from stackledger.client.asking import who_is_there

        signer = self._own_key("submitter") or self._own_key("coordinator")
        if signer is None:
            raise Refused(
                "Workers answer those who have the key of a submitter or coordinator, and none in this home counts.",
                hint="On one machine `stackledger stack up` makes and enrolls it. Else `stackledger key create NAME"
                " --role submitter` makes one, to be enrolled where the root key is.",
            )
        return who_is_there(fleet.address, fleet.topology, signer, self._known_keys("enrolled"), enough)

    def _workers(self, fleet: Fleet, heard: Heard) -> list[Worker]:
        """Return the workers that answered."""
        runs = self._names_of_runs(
            {each.taken.ref.run_id for answer in heard.answers for each in answer.said.executions}
        )
        processes = self._local_processes(fleet)
        return [_worker(answer, runs, processes) for answer in heard.answers]

    def _names_of_runs(self, run_ids: set[str]) -> dict[str, str]:
        from stackledger.projections import run_queries

        return self._read(lambda view: run_queries.names_of_runs(view, run_ids))

    def _local_processes(self, fleet: Fleet) -> dict[tuple[str, int], str]:
        """Return the names of the processes that `stack up` began here, by host and number."""
        import platform

        from stackledger.workers.fleet.local_processes import running

        return {(platform.node(), process.pid): process.name for process in running(fleet.folder)}


def _worker(answer: Answer, runs: Mapping[str, str], processes: Mapping[tuple[str, int], str]) -> Worker:
    from stackledger.client.worker_results import Worker

    said = answer.said
    return Worker(
        name=answer.key,
        process=processes.get((said.host, said.pid)),
        host=said.host,
        pid=said.pid,
        queue=said.queue,
        slots=said.slots,
        status=_status(said),
        since=iso(said.began),
        executions=[_working(each, runs) for each in said.executions],
        unable=said.unable,
    )


def _status(said: Present) -> str:
    if said.stopping:
        return "stopping"
    return "working" if said.executions else "idle" if said.unable is None else "unable"


def _working(doing: Doing, runs: Mapping[str, str]) -> Working:
    from stackledger.client.worker_results import Working

    taken = doing.taken
    return Working(
        run=runs.get(taken.ref.run_id, taken.ref.run_id),
        run_id=taken.ref.run_id,
        step=taken.ref.step,
        attempt=taken.ref.attempt,
        execution=taken.execution,
        status="waiting" if taken.waiting else "running",
        since=iso(doing.began),
    )
