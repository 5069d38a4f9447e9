"""The client's part about runs that go on: ending them, and watching those that others execute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackledger.client.runs import RunClient
from stackledger.domain.errors import Refused
from stackledger.domain.run_status import DEAD, RunStatus

if TYPE_CHECKING:
    from stackledger.client.run_results import Run
    from stackledger.projections.run_queries import RunDetails

_START_AGAIN = "Start it anew: call the pipeline again, as `python run.py` does."


class RunChangeClient(RunClient):
    """Cancelling runs, and going on with them."""

    def cancel_run(self, name_or_id: str) -> Run:
        """End a run, wherever it is executed: what still goes on in it has no effect. Refused for one that has ended.

        Whoever executes it learns of it: on a fleet at once, in a process of somebody's own at the end of the step
        that it is at. A run of this home whose process died has failed instead.
        """
        from stackledger.domain.runs import RUN, CancelRun, EndRun, RunCommand

        details = self._changeable(name_or_id)
        run_id = details.run.id
        command: RunCommand = EndRun(run_id, "process died") if run_id in self._dead() else CancelRun(run_id)
        handled = self._change(RUN, command)
        return self._made(handled, lambda position: self.describe_pipeline_run(run_id, as_of=position))

    def resume_run(self, name_or_id: str) -> Run:
        """Watch a run that a fleet executes to its end, coordinating meanwhile where this home may; RunFailed.

        KeyboardInterrupt leaves it going on. Refused for a run that has ended, and for one that is executed by the
        process that began it: where that died, the run has failed.
        """
        from stackledger.progress import watcher
        from stackledger.workers.fleet.orchestrator import follow

        details = self._changeable(name_or_id)
        self._check_goes_on(details)
        configuration = next(
            each["configuration"] for each in details.stack["components"] if each["type"] == "orchestrator"
        )
        with watcher() as progress:
            finished = follow(
                details.run.id,
                self._ledger.reader,
                progress,
                self._coordinate_of(details.stack),
                lease_after=float(configuration.get("lease_after", 30.0)),
            )
        finished.raise_if_failed()
        return self.describe_pipeline_run(details.run.id)

    def _changeable(self, name_or_id: str) -> RunDetails:
        """Return a run by id, beginning of an id, or name."""
        from stackledger.projections import run_queries

        return self._read(lambda view: run_queries.run(view, name_or_id, prefix=False))

    def _check_goes_on(self, details: RunDetails) -> None:
        run = details.run
        if run.status != RunStatus.RUNNING:
            ended = "was cancelled" if run.status == RunStatus.STOPPED else f"has {run.status}"
            again = "" if run.status == RunStatus.COMPLETED else _START_AGAIN
            raise Refused(f"The run {run.name!r} {ended}: there is nothing left to go on with.", hint=again)
        if details.code.get("archive"):
            return
        if run.id in self._dead():
            self._end_dead_runs()
            raise Refused(
                f"The run {run.name!r} is {DEAD}: the process that executed it ended, and no other has its steps.",
                hint=_START_AGAIN,
            )
        raise Refused(
            f"The run {run.name!r} is executed by the process that began it, and goes on there.",
            hint=f"`stackledger run steps '{run.name}'` shows how far it has come.",
        )
