"""The client's part about fleets: coordinating the runs of an orchestrator."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from stackledger.client.workers import Fleet, WorkerClient
from stackledger.domain.errors import LogMoved, Refused

if TYPE_CHECKING:
    from stackledger.flavors.rabbitmq_orchestrator import RabbitMQOrchestratorConfig
    from stackledger.projections.engine import View
    from stackledger.workers.fleet.broker.told import Inbox
    from stackledger.workers.fleet.coordinating import Post
    from stackledger.workers.fleet.protocol.coordinator import Pace
    from stackledger.workers.fleet.telling import Tell


class FleetClient(WorkerClient):
    """Fleets: orchestrators whose steps are executed by workers."""

    def coordinate(
        self,
        orchestrator: str | None,
        tell: Tell,
        inbox: Inbox | None = None,
        *,
        trouble: Tell | None = None,
        liveness_file: Path | None = None,
        metrics: tuple[str, int] | None = None,
    ) -> None:
        """Drive the runs of an orchestrator, by name or id, of the active stack if none is named.

        It ends when Stop is put into the inbox; without one by SIGTERM or SIGINT, for the main thread of a process.
        `tell` gets what a person may want to know, line by line, `trouble` what of that is wrong; a liveness file is
        touched every second; `metrics` is the host and the port at which Prometheus may ask. Any number may do this at
        once, and one of them is active. The caller's thread has this client for itself.

        A log that cannot be reached is waited for, at the beginning too; LogForbidden where it is there and does not
        let this one in, LogMoved where it has gone on elsewhere.
        """
        from dataclasses import replace
        from functools import partial
        from queue import SimpleQueue

        from stackledger.workers.fleet.coordinating import Audience, as_soon_as_there, coordinate
        from stackledger.workers.fleet.liveness import life_sign
        from stackledger.workers.fleet.metrics import Endpoint, exposed, of_coordinator
        from stackledger.workers.fleet.signals import stopped_by_signals
        from stackledger.workers.tracing import sending

        say, trouble = tell, trouble or tell
        with ExitStack() as stack:
            if inbox is None:
                inbox = SimpleQueue()
                # By whichever `say` there is by then: once the log has been read, it names the orchestrator.
                stack.enter_context(stopped_by_signals(inbox, lambda line: say(line)))  # noqa: PLW0108
            alive = stack.enter_context(life_sign(liveness_file))
            waiting = Audience(tell, trouble=trouble, alive=alive.show)
            made = as_soon_as_there(lambda: self._fleet_and_post(orchestrator), inbox, waiting)
            if made is None:
                return
            fleet, post = made
            name = fleet.component.name
            say, trouble = partial(tell, orchestrator=name), partial(trouble, orchestrator=name)
            say(f"Coordinator of {name!r} (id {fleet.component.id}), broker at {fleet.address.place}.")
            audience = Audience(say, trouble=trouble, alive=alive.show)
            measured = partial(of_coordinator, audience, name)
            stack.enter_context(exposed(measured, metrics and Endpoint(*metrics), say))
            found = stack.enter_context(sending(trouble))
            try:
                coordinate(replace(post, tracing=found), inbox, audience)
            except LogMoved:
                self._refuse_if_moved()  # says the names of people
                raise

    def _fleet_and_post(self, orchestrator: str | None) -> tuple[Fleet, Post]:
        fleet = self._fleet(orchestrator)
        return fleet, self._post(fleet)

    def _post(self, fleet: Fleet) -> Post:
        """Return what this home's coordinator of a fleet needs, or raise Refused where it has no key."""
        from stackledger.workers.fleet.coordinating import Post
        from stackledger.workers.fleet.trust.trusting import EnrolledKeys

        key = self._own_key("coordinator")
        if key is None:
            raise Refused(
                "Only who has a coordinator's key can coordinate, and none of this home counts in the log.",
                hint="On one machine `stackledger stack up` makes and enrolls it. Else `stackledger key create NAME"
                " --role coordinator` makes one, to be enrolled where the root key is.",
            )
        return Post(
            topology=fleet.topology,
            seat=self._ledger.seat(fleet.component.id),
            open_runs=self._open_runs,
            context=self._context,
            newcomers=self._ledger.enrolment,
            address=fleet.address,
            signer=key,
            verifier=EnrolledKeys,
            pace=_pace(fleet.config),
            prefetch=fleet.config.prefetch,
        )

    def _open_runs(self) -> tuple[int, Sequence[str]]:
        from stackledger.projections import run_queries

        def query(view: View) -> tuple[int, Sequence[str]]:
            return view.position, [run.id for run in run_queries.unfinished_runs(view)]

        return self._read(query)


def _pace(config: RabbitMQOrchestratorConfig) -> Pace:
    """Return how long a coordinator waits for workers: heartbeats may get lost, and long steps are claimed late."""
    from stackledger.workers.fleet.protocol.coordinator import Pace

    return Pace(
        silence=max(5.0, 4.5 * config.heartbeat),
        probe_grace=80.0 + config.lease_after + 2 * config.broker_heartbeat,
    )
