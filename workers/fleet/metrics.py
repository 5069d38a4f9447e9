"""What Prometheus may ask the processes of a fleet: read from their state when it asks, and kept nowhere.

Only here is its library known, and it is loaded only where metrics are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from stackledger.domain.errors import Refused
from stackledger.workers.fleet.protocol.tally import SECONDS, WorkerTally

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from stackledger.workers.fleet.coordinating import Audience
    from stackledger.workers.fleet.protocol.worker import Worker

_OURS = "stackledger"


class Endpoint(NamedTuple):
    """Where metrics can be had; port 0 is any that is free."""

    host: str
    port: int


@contextmanager
def exposed(
    collect: Callable[[], Iterable[Metric]], endpoint: Endpoint | None, tell: Callable[[str], None]
) -> Iterator[None]:
    """Answer Prometheus meanwhile, in a thread of its own, if somebody said where; raise Refused if that cannot be."""
    if endpoint is None:
        yield
        return
    try:
        from prometheus_client import CollectorRegistry, start_http_server
        from prometheus_client.registry import Collector
    except ImportError as error:
        raise Refused(
            "Metrics need the library 'prometheus_client', which is not installed.",
            hint='Install it: `pip install "stackledger[observability]"`.',
        ) from error

    class Everything(Collector):
        def collect(self) -> Iterable[Metric]:
            return collect()

    registry = CollectorRegistry()
    registry.register(Everything())
    try:
        server, thread = start_http_server(endpoint.port, endpoint.host, registry)
    except (OSError, OverflowError) as error:
        raise Refused(
            f"Metrics cannot be had at port {endpoint.port} of {endpoint.host!r}: {error}.",
            hint="Choose another with --metrics-port and --metrics-host.",
        ) from error
    try:
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        tell(f"Metrics at http://{host}:{server.server_port}/metrics.")
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def of_coordinator(audience: Audience, orchestrator: str) -> Iterator[Metric]:
    """Yield what there is to say of a coordinator; what only an active one knows is left out of others."""
    active, tally = audience.active, audience.tally
    say = _Families(f"{_OURS}_coordinator", {"orchestrator": orchestrator})
    yield say.gauge("active", "Whether this coordinator drives the runs, or stands by.", active is not None)
    if active is not None:
        known = active.known
        yield say.gauge("connected", "Whether there is a connection to the broker.", active.is_connected)
        yield say.gauge("open_runs", "Runs that have not ended.", len(known.runs))
        states = {"queued": len(known.waiting), "claimed": len(known.held)}
        yield say.gauges("steps", "Attempts at steps that are queued, or claimed by workers.", "state", states)
        yield say.gauge("dispatches_unconfirmed", "Dispatches that the broker has not confirmed.", active.unconfirmed)
        yield say.gauge("log_position", "Position of the last event of the log that was looked at.", known.position)
    results = {"succeeded": tally.succeeded, "failed": tally.failed}
    yield say.counters("outcomes", "Outcomes of attempts that were appended.", "result", results)
    yield say.counters("lost_attempts", "Attempts of which nobody will say how they went.", "reason", dict(tally.lost))
    yield say.counter("parked_messages", "Messages that nobody could use.", tally.parked)
    yield say.counter("appends", "Appends to the log.", tally.appends)
    yield say.counter("events_appended", "Events appended to the log.", tally.events)


def of_worker(worker: Worker, tally: WorkerTally, slots: int, orchestrator: str, queue: str) -> Iterator[Metric]:
    """Yield what there is to say of a worker."""
    say = _Families(f"{_OURS}_worker", {"orchestrator": orchestrator, "queue": queue})
    yield say.gauge("connected", "Whether there is a connection to the broker.", worker.is_connected)
    yield say.gauge("slots", "Steps that can be executed at once.", slots)
    yield say.gauge("slots_busy", "Slots that execute a step, or have not said yet what came of it.", worker.busy)
    outcomes = {"succeeded": tally.succeeded, "failed": tally.failed, "stopped": tally.stopped}
    yield say.counters("executions", "Executions that came to an end.", "outcome", outcomes)
    yield say.counter("given_back", "Steps given back for others to execute.", tally.given_back)
    yield say.histogram("execution_seconds", "How long executions took that ended by themselves.", tally)


class _Families:
    """Makes families of metrics that begin with the same words, all with the same labels beside their own."""

    def __init__(self, words: str, labels: Mapping[str, str]) -> None:
        self._words = words
        self._labels = labels

    def gauge(self, name: str, text: str, value: float) -> Metric:
        from prometheus_client.core import GaugeMetricFamily

        family = GaugeMetricFamily(f"{self._words}_{name}", text, labels=list(self._labels))
        family.add_metric(list(self._labels.values()), value)
        return family

    def gauges(self, name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
        from prometheus_client.core import GaugeMetricFamily

        family = GaugeMetricFamily(f"{self._words}_{name}", text, labels=[*self._labels, label])
        for key, value in values.items():
            family.add_metric([*self._labels.values(), key], value)
        return family

    def counter(self, name: str, text: str, value: float) -> Metric:
        from prometheus_client.core import CounterMetricFamily

        family = CounterMetricFamily(f"{self._words}_{name}", text, labels=list(self._labels))
        family.add_metric(list(self._labels.values()), value)
        return family

    def counters(self, name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
        from prometheus_client.core import CounterMetricFamily

        family = CounterMetricFamily(f"{self._words}_{name}", text, labels=[*self._labels, label])
        for key, value in values.items():
            family.add_metric([*self._labels.values(), key], value)
        return family

    def histogram(self, name: str, text: str, tally: WorkerTally) -> Metric:
        from prometheus_client.core import HistogramMetricFamily

        ends = [*map(str, SECONDS), "+Inf"]
        family = HistogramMetricFamily(f"{self._words}_{name}", text, labels=list(self._labels))
        buckets = list(zip(ends, accumulate(list(tally.spans)), strict=True))
        family.add_metric(list(self._labels.values()), buckets, tally.seconds)
        return family
