"""What a process of a fleet counts where nothing else tells."""

from __future__ import annotations

import pytest
from prometheus_client.core import Metric

from stackledger.domain.events.fleet import DispatchConfirmed, StepLost
from stackledger.workers.fleet.metrics import _Families
from stackledger.workers.fleet.protocol.tally import SECONDS, CoordinatorTally, WorkerTally


def samples(metric: Metric) -> dict[str, float]:
    return {sample.labels.get("le", sample.name): sample.value for sample in metric.samples}


def test_appends_their_events_and_lost_attempts_are_counted() -> None:
    tally = CoordinatorTally()
    lost = StepLost(run_id="r", step="s", attempt=1, because="lease ran out", retry_at=0)
    tally.appended([lost, lost])
    tally.appended([DispatchConfirmed(orchestrator_id="o", through=1)])
    assert (tally.appends, tally.events) == (2, 3)
    assert tally.lost == {"lease ran out": 2}
    assert (tally.succeeded, tally.failed) == (0, 0)


@pytest.mark.parametrize(
    ("seconds", "end"), [(0.0, "0.01"), (0.01, "0.01"), (0.011, "0.05"), (86_400.0, "86400.0"), (86_401.0, "+Inf")]
)
def test_an_execution_counts_in_every_span_that_it_fits_into(seconds: float, end: str) -> None:
    tally = WorkerTally()
    tally.took(seconds)
    found = samples(_Families("x", {}).histogram("seconds", "", tally))
    ends = [*map(str, SECONDS), "+Inf"]
    assert [found[each] for each in ends] == [float(position >= ends.index(end)) for position in range(len(ends))]
    assert found["x_seconds_sum"] == seconds
