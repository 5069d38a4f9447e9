"""The client's part about `up` and `down`: what a stack's components need on this machine is started, and ended."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from stackledger.client.results import Stack
from stackledger.client.stacks import StackClient
from stackledger.client.workers import Fleet, WorkerClient
from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import InvalidValue, NotFound, Refused, StackledgerError, near_names
from stackledger.domain.names import quoted
from stackledger.domain.wording import counted

if TYPE_CHECKING:
    from stackledger.client.asking import Answer
    from stackledger.client.results import Component
    from stackledger.eventlog.lock import FileLock
    from stackledger.workers.fleet.local_processes import Background
    from stackledger.workers.fleet.protocol.messages import Role
    from stackledger.workers.fleet.trust.keys import PublicKey

COORDINATOR = "coordinator"
_TURN = 120.0
"""Seconds to wait for another `up` or `down` of the same orchestrator."""
_READY = 30.0
"""Seconds in which a process that was started has to be of use."""
_LOOK_EVERY = 0.1
_RENEW_BEFORE = 30 * 24 * 3600 * 1_000_000
"""Microseconds before a list of coordinators expires from which on it is renewed."""
_MAX_PORT = 65_535
_LONGER = 15.0
"""Seconds that a process has to end, beyond the grace period of steps."""


class ProvisioningClient(StackClient, WorkerClient):
    """Starting and ending what components need to run. What is done is told to `notify`, sentence by sentence."""

    def start_stack(self, name_id_or_prefix: str | None = None, *, metrics_port: int | None = None) -> None:
        """Start what the components of a stack need; what runs already is left alone.

        With a `metrics_port` Prometheus may ask a coordinator that is started there, and workers at the ports after it.
        """
        for kind, component_id in _parts(self.get_stack(name_id_or_prefix, allow_name_prefix_match=False)):
            self.start_component(kind, component_id, metrics_port=metrics_port)

    def stop_stack(self, name_id_or_prefix: str | None = None, *, force: bool = False) -> None:
        """End on this machine what `start_stack` started; with `force` delete what it made on servers, too."""
        for kind, component_id in _parts(self.get_stack(name_id_or_prefix, allow_name_prefix_match=False)):
            self.stop_component(kind, component_id, force=force)

    def start_component(
        self, component_type: str, name_id_or_prefix: str | None = None, *, metrics_port: int | None = None
    ) -> None:
        """Start what a component needs, with metrics as of `start_stack`."""
        component = self._provisioned(component_type, name_id_or_prefix)
        if component is not None:
            self._start_fleet(self._fleet(component.id), metrics_port)

    def stop_component(self, component_type: str, name_id_or_prefix: str | None = None, *, force: bool = False) -> None:
        """End on this machine what `start_component` started; with `force` delete what it made on servers, too."""
        component = self._provisioned(component_type, name_id_or_prefix)
        if component is not None:
            self._stop_fleet(component, force=force)

    def component_logs(self, component_type: str, name: str | None = None) -> list[str]:
        """Return what the processes that `start_component` began on this machine wrote since they were last begun."""
        from stackledger.workers.fleet.local_processes import folder_of

        component = self.get_stack_component(component_type, name)
        files = sorted(folder_of(self._ledger.home, component.id).glob("*.log"))
        texts = [(file.stem, file.read_text(encoding="utf-8", errors="replace")) for file in files]
        return [f"[{process}] {line}" for process, text in texts for line in text.splitlines()]

    def runs_on_fleet(self, component_type: str, name_id_or_prefix: str | None = None) -> bool:
        """Say whether a component needs coordinators and workers, and queues, which others may use too."""
        return self._runs_on_fleet(self.get_stack_component(component_type, name_id_or_prefix))

    def stop_workers(self, name: str | None = None, *, orchestrator: str | None = None) -> None:
        """End the worker of that name which runs in the background of this machine, or all of them."""
        component = self._fleet_component(orchestrator)
        workers = [each for each in self._processes(component) if each.name != COORDINATOR]
        chosen = [each for each in workers if name in (None, each.name)]
        if name is not None and not chosen:
            raise NotFound(
                f"No worker {quoted(name)} of {component.name!r} runs in the background of this machine.",
                near=near_names(name, [each.name for each in workers]),
                hint="`stackledger worker list` shows which workers there are; one elsewhere ends by SIGTERM.",
            )
        if not chosen:
            self._notify(f"No worker of {component.name!r} runs in the background of this machine.")
        self._end_workers(chosen)

    def _provisioned(self, component_type: str, name: str | None) -> Component | None:
        """Return a component for which processes have to run; of any other one, say how that is."""
        component = self.get_stack_component(component_type, name, allow_name_prefix_match=False)
        kind = ComponentType(component.type)
        _, flavor = self._flavor(kind, component.flavor)
        if flavor.runs_on_fleet:
            return component
        self._notify(f"{kind} `{component.name}`: {flavor.provisioning}")
        return None

    # Up

    def _start_fleet(self, fleet: Fleet, metrics_port: int | None) -> None:
        from stackledger.workers.fleet.broker.visiting import visiting

        self._refuse_if_moved()
        workers = _workers(fleet)
        ports = _ports(metrics_port, 1 + len(workers))
        with self._turn(fleet.component):
            with visiting(fleet.address) as visit:
                self._notify(f"{visit.checked(fleet.topology)} will do: it has and allows what is needed.")
            self._make_keys(fleet)
            coordinator = self._begin(fleet, COORDINATOR, "coordinator", "start", fleet.component.id, *ports[0])
            self._await_queues(fleet, coordinator)
            self._await_workers(
                fleet, [self._begin_worker(fleet, *each, *port) for each, port in zip(workers, ports[1:], strict=True)]
            )

    def _turn(self, component: Component) -> FileLock:
        from stackledger.eventlog.lock import FileLock
        from stackledger.workers.fleet.local_processes import folder_of

        folder = folder_of(self._ledger.home, component.id)
        folder.parent.mkdir(exist_ok=True, mode=0o700)
        return FileLock(folder.with_suffix(".lock"), timeout=_TURN)

    def _begin_worker(self, fleet: Fleet, name: str, queue: str, *more: str) -> Background:
        options = ("--queue", queue, "--slots", str(fleet.config.slots), *more)
        return self._begin(fleet, name, "worker", "start", fleet.component.id, *options)

    def _begin(self, fleet: Fleet, name: str, *arguments: str) -> Background:
        from stackledger.workers.fleet.local_processes import begin, note_of, running

        there = {each.name: each for each in running(fleet.folder)}
        note = note_of(fleet.component.configuration)
        if name in there:
            as_it_was = "" if there[name].note == note else ", with the configuration as it was: `stack down` ends it"
            self._notify(f"The {name} runs already (pid {there[name].pid}{as_it_was}).")
            return there[name]
        # -P keeps modules of the folder that it runs in out; a secret is never among the arguments.
        command = [sys.executable, "-P", "-m", "stackledger", *arguments]
        begun = begin(fleet.folder, name, command, self._environment(), note=note)
        self._notify(f"Started the {name} (pid {begun.pid}); it writes to {begun.log}.")
        return begun

    def _environment(self) -> Mapping[str, str]:
        return {**self._ledger.environment, "STACKLEDGER_HOME": str(self._ledger.home)}

    def _await_queues(self, fleet: Fleet, coordinator: Background) -> None:
        """Wait until a coordinator has made the queues."""
        from stackledger.workers.fleet.broker.visiting import visiting

        deadline = time.monotonic() + _READY
        with visiting(fleet.address) as visit:
            while lacking := set(fleet.topology.queues) - visit.step_queues(fleet.topology).keys():
                _check_alive(coordinator)
                if time.monotonic() > deadline:
                    raise StackledgerError(
                        f"No coordinator has made the queues {', '.join(sorted(lacking))} within {_READY:g} s.",
                        hint=f"See {coordinator.log}. One that was started before the orchestrator was changed knows it"
                        " as it was: `stackledger stack down`, then `up`.",
                    )
                time.sleep(_LOOK_EVERY)

    def _await_workers(self, fleet: Fleet, workers: Sequence[Background]) -> None:
        """Wait until the workers answer; one that does not in time may still, so that is only told."""
        pids = {each.pid for each in workers}

        def answered(answers: list[Answer]) -> bool:
            return pids <= {each.said.pid for each in answers}

        deadline = time.monotonic() + _READY
        while workers:
            for each in workers:
                _check_alive(each)
            if answered(self._who_is_there(fleet, answered).answers):
                break
            if time.monotonic() > deadline:
                self._notify(f"Not all of them have answered within {_READY:g} s; their files say why.")
                return
        self._notify(
            f"{fleet.component.name!r} is up: a coordinator, and {counted(len(workers), 'worker')} on this machine."
        )

    # Keys

    def _make_keys(self, fleet: Fleet) -> None:
        """Make and enroll what keys this machine lacks: one of each role, and the root key where the log has none."""
        queues = fleet.config.queue_names
        if self._own_key("coordinator") is None:
            self._make_root_key()
            self._make_key("coordinator")
        if self._own_key("submitter") is None:
            self._make_key("submitter")
        if self._own_key("worker", lambda row: set(queues) <= set(row.queues)) is None:
            self._make_key("worker", queues)
        self._renew_list()

    def _make_root_key(self) -> None:
        root = self.root_public()
        here = [key.public for key in self._keys_of("root")]
        if root is not None and root not in here:
            raise Refused(
                "No coordinator's key of this home counts, and the root key, which can enroll one, is in another home.",
                hint="Here: `stackledger key create NAME --role coordinator`. There: `stackledger key enroll`, with the"
                " line that the first command prints.",
            )
        if not here:
            key = self.create_key(_name("root"), "root")
            self._notify(
                f"Made the root key {key.name!r} of this log, in {self._ledger.home / 'keys'}: who has it says which"
                " coordinators workers obey. Keep a copy in a safe place."
            )

    def _make_key(self, role: Role, queues: Sequence[str] = ()) -> None:
        # One that was never enrolled is left of somebody who was interrupted.
        known = {row.id for row in self._known_keys()}
        left = [key.name for key in self._keys_of(role) if key.key_id not in known]
        key = self.enroll_key(left[0] if left else self.create_key(_name(role), role).name, queues=queues)
        served = f" for {', '.join(queues)}" if queues else ""
        self._notify(f"Enrolled the key {key.name!r} of a {role}{served}.")

    def _keys_of(self, role: Role) -> list[PublicKey]:
        from stackledger.workers.fleet.trust.keys import keys_in

        return [key for key in keys_in(self._ledger.home) if key.role == role]

    def _renew_list(self) -> None:
        """Renew the list of coordinators in good time, where the root key is in this home."""
        from stackledger.projections import key_queries

        trust = self._read(key_queries.trust)
        if trust is None or trust.root not in [key.public for key in self._keys_of("root")]:
            return
        if trust.expires - self._ledger.now() < _RENEW_BEFORE:
            self._notify(f"Renewed the list of coordinators: it is good until {self.renew_trust().expires}.")

    # Down

    def _stop_fleet(self, component: Component, *, force: bool) -> None:
        with self._turn(component):
            processes = self._processes(component)
            if not processes:
                self._notify(f"Nothing of {component.name!r} runs in the background of this machine.")
            # The coordinator last: what workers come to, it records.
            self._end_workers([each for each in processes if each.name != COORDINATOR])
            self._end([each for each in processes if each.name == COORDINATOR], _LONGER)
            if force:
                self._delete_queues(self._fleet(component.id))

    def _processes(self, component: Component) -> list[Background]:
        from stackledger.workers.fleet.local_processes import folder_of, running

        return running(folder_of(self._ledger.home, component.id))

    def _end_workers(self, workers: Sequence[Background]) -> None:
        from stackledger.workers.fleet.working import GRACE

        if workers:
            self._notify(f"Steps that run have {GRACE:g} seconds to come to an end, then other workers do them anew.")
        self._end(workers, GRACE + _LONGER)

    def _end(self, processes: Sequence[Background], seconds: float) -> None:
        from stackledger.workers.fleet.local_processes import end

        killed = end(processes, seconds)
        for each in processes:
            how = f"Killed the {each.name}, which did not end in time" if each in killed else f"Ended the {each.name}"
            self._notify(f"{how} (pid {each.pid}).")

    def _delete_queues(self, fleet: Fleet) -> None:
        from stackledger.workers.fleet.broker.visiting import visiting

        with visiting(fleet.address) as visit:
            lost = visit.delete(fleet.topology)
        again = (
            " The steps that they were about are in the log, and sent again by the next coordinator." if lost else ""
        )
        self._notify(f"Deleted the queues of {fleet.component.name!r}, with {counted(lost, 'message')} in them.{again}")


def _parts(stack: Stack) -> list[tuple[str, str]]:
    return [(kind, ref.id) for kind, refs in stack.components.items() for ref in refs]


def _workers(fleet: Fleet) -> list[tuple[str, str]]:
    """Return the names of the workers to run here, and which queue each serves: each queue has as many."""
    return [
        (f"worker-{queue}-{number}", queue)
        for queue in fleet.config.queue_names
        for number in range(1, fleet.config.workers + 1)
    ]


def _ports(first: int | None, number: int) -> list[tuple[str, ...]]:
    """Return what is said to each process of where its metrics are: each has a port of its own."""
    if first is None:
        return [()] * number
    if first + number - 1 > _MAX_PORT:
        raise InvalidValue(
            f"{number} processes are to be started, and there are no {number} ports from {first} on.",
            hint="Choose a lower --metrics-port.",
        )
    return [("--metrics-port", str(port)) for port in range(first, first + number)]


def _name(role: str) -> str:
    # Nobody chooses it, nothing of it tells of a person or machine: it stands in the log.
    return f"{role}-{os.urandom(3).hex()}"


def _check_alive(process: Background) -> None:
    if process.has_ended():
        raise StackledgerError(
            f"The {process.name} ended soon after it was started. Its last words:\n{process.last_words()}",
            hint=f"All that it wrote is in {process.log}.",
        )
