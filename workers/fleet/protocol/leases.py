"""Finding what nobody works on any more, without ever trusting that silence means death.

Messages of workers may be far behind in the outcome queue. So when something has been silent for too long the
coordinator puts a marker behind them, and believes in the silence only when the marker has come through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from stackledger.workers.fleet.protocol.known import Known, Waiting


class Markers:
    """Markers that were put into the outcome queue and have not come back."""

    def __init__(self, put: Callable[[], str]) -> None:
        self._put = put
        self._then: dict[str, Callable[[], None]] = {}

    def put(self, then: Callable[[], None]) -> None:
        """Put a marker, and call `then` when it comes."""
        self._then[self._put()] = then

    def came(self, marker: str) -> None:
        """Do what waited for this marker; one of an earlier connection means nothing."""
        then = self._then.pop(marker, None)
        if then is not None:
            then()

    def forget(self) -> None:
        """Wait for none of them any more."""
        self._then.clear()


class Leases:
    """When each execution that holds a claim was heard of, in seconds of an even clock."""

    def __init__(self, known: Known, markers: Markers, silence: float) -> None:
        self._known = known
        self._markers = markers
        self._silence = silence
        self._heard: dict[str, float] = {}
        self._asked: dict[str, float] = {}
        self._ran_out: list[str] = []

    def heard(self, execution: str, now: float) -> None:
        """Note a sign of life."""
        self._heard[execution] = now
        self._asked.pop(execution, None)

    def restart(self, now: float) -> None:
        """Begin all clocks anew: somebody else may have been deaf rather than they mute."""
        self._heard = dict.fromkeys(self._known.held, now)
        self._asked.clear()
        self._ran_out.clear()

    def look(self, now: float) -> None:
        """Put a marker behind the words of executions that have been silent for too long."""
        held = self._known.held
        self._heard = {execution: self._heard.get(execution, now) for execution in held}
        late = [
            execution
            for execution, heard in self._heard.items()
            if now - max(heard, self._asked.get(execution, heard)) > self._silence
        ]
        if late:
            self._asked.update(dict.fromkeys(late, now))
            self._markers.put(lambda: self._believe(late))

    def take_ran_out(self) -> list[str]:
        """Return, once, the executions that are taken for dead."""
        ran_out = [execution for execution in self._ran_out if execution in self._known.held]
        self._ran_out.clear()
        return ran_out

    def _believe(self, late: Iterable[str]) -> None:
        self._ran_out += [execution for execution in late if self._asked.pop(execution, None) is not None]


class Probes:
    """One probe at most in each step queue: what was before it, and is still unknown long after it, is lost."""

    def __init__(
        self, known: Known, markers: Markers, put: Callable[[str], str], *, every: float, grace: float
    ) -> None:
        self._known = known
        self._markers = markers
        self._put = put
        self._every = every
        self._grace = grace
        self._before: dict[str, tuple[str, list[Waiting]]] = {}
        self._put_at: dict[str, float] = {}
        self._echoed: list[tuple[float, list[Waiting]]] = []
        self._missing: list[Waiting] = []

    def look(self, now: float, under_way: Callable[[], set[int]]) -> None:
        """Put a probe into each queue where there has been none for a while, and see to those that came out."""
        queues = {waiting.queue for waiting in self._known.waiting.values()}
        for queue in queues:
            if now - self._put_at.get(queue, -self._every) >= self._every:
                unsent = under_way()
                waiting = self._known.waiting.values()
                before = [each for each in waiting if each.queue == queue and each.position not in unsent]
                if before:
                    self._put_at[queue] = now
                    self._before[queue] = (self._put(queue), before)
        due = [before for since, before in self._echoed if now - since >= self._grace]
        self._echoed = [(since, before) for since, before in self._echoed if now - since < self._grace]
        for before in due:
            self._markers.put(lambda before=before: self._conclude(before))  # type: ignore[misc]

    def echoed(self, queue: str, probe: str, now: float) -> None:
        """Note that a probe came out of its queue."""
        put, before = self._before.get(queue, ("", []))
        if put == probe:
            del self._before[queue]
            self._echoed.append((now, before))

    def restart(self) -> None:
        """Forget every probe: what they told is of a connection that is gone."""
        self._before.clear()
        self._put_at.clear()
        self._echoed.clear()
        self._missing.clear()

    def take_missing(self) -> list[Waiting]:
        """Return, once, the attempts that are in no queue and that no worker has."""
        missing = [each for each in self._missing if self._known.holds(each)]
        self._missing.clear()
        return missing

    def _conclude(self, before: Iterable[Waiting]) -> None:
        self._missing += before
