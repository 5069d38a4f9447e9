from __future__ import annotations

import pytest

from stackledger.domain.collection import DECIDER, MAX_OBJECTS, CollectObjects, CondemnObjects
from stackledger.domain.event import Event
from stackledger.domain.events.artifacts import ArtifactsCollected, ArtifactsCondemned
from stackledger.domain.events.fleet import StepQueued
from stackledger.domain.events.runs import Code, Execution, Kept, StepFailed, StepStarted, StepSucceeded
from tests.support.given import specification
from tests.support.run_plans import RUN_ID, output_of, planned, started

NOW = 7_000_000
STORE = "a"
A, B = (Kept(digest=letter * 64, size=3) for letter in "ab")

given = specification(DECIDER)


def condemned(*objects: Kept, due: int = NOW, store: str = STORE) -> ArtifactsCondemned:
    return ArtifactsCondemned(store_id=store, objects=objects, due=due)


def collected(*objects: Kept, collection: str = "c", store: str = STORE) -> ArtifactsCollected:
    return ArtifactsCollected(store_id=store, collection=collection, objects=objects)


def collect(*objects: Kept, now: int = NOW) -> CollectObjects:
    return CollectObjects(STORE, objects, "c", now)


def condemn(*objects: Kept) -> CondemnObjects:
    return CondemnObjects(STORE, objects, NOW)


PUT_OUT = output_of("a").model_copy(update={"digest": A.digest})
LOG = Execution(id="e", worker="w", began=1, ended=2, log=A)
WITH_PARAMETERS = planned("a").model_copy(update={"kept_parameters": A})
REFERRING = {
    "an output": StepSucceeded(run_id=RUN_ID, step="a", attempt=1, outputs=(PUT_OUT,)),
    "a log": StepSucceeded(run_id=RUN_ID, step="a", attempt=1, outputs=(), execution=LOG),
    "a log of a failure": StepFailed(
        run_id=RUN_ID, step="a", attempt=1, error="E", message="", retry_at=None, execution=LOG
    ),
    "an input": StepStarted(run_id=RUN_ID, step="a", attempt=1, inputs={"x": A.digest}),
    "an input on a fleet": StepQueued(
        run_id=RUN_ID, step="a", attempt=1, queue="default", dispatch="d", inputs={"x": A.digest}
    ),
    "code": started({"a": ()}).model_copy(update={"code": Code(digest="c", commit=None, dirty=False, archive=A)}),
    "many parameters": started({"a": ()}).model_copy(update={"steps": (WITH_PARAMETERS,)}),
}


def test_what_nothing_refers_to_is_condemned_once() -> None:
    given().when(condemn(A, B)).then(condemned(A, B))
    given(condemned(A)).when(condemn(A, B)).then(condemned(B))
    given(condemned(A, B)).when(condemn(A, B)).then_nothing()


def test_what_was_condemned_is_collected_when_it_is_due() -> None:
    given(condemned(A, B)).when(collect(A, B)).then(collected(A, B))
    given(condemned(A, due=NOW + 1), condemned(B)).when(collect(A, B)).then(collected(B))
    given(condemned(A, due=NOW + 1)).when(collect(A)).then_nothing()


def test_what_was_not_condemned_is_not_collected() -> None:
    given().when(collect(A)).then_nothing()
    given(condemned(A), collected(A)).when(collect(A)).then_nothing()


@pytest.mark.parametrize("event", REFERRING.values(), ids=REFERRING)
def test_what_an_event_refers_to_is_neither_condemned_nor_collected(event: Event) -> None:
    given(event).when(condemn(A, B)).then(condemned(B))
    given(condemned(A, B), event).when(collect(A, B)).then(collected(B))
    given(event, condemned(A)).when(collect(A)).then_nothing()


def test_what_was_collected_and_put_again_may_be_condemned_again() -> None:
    given(condemned(A), collected(A)).when(condemn(A)).then(condemned(A))
    given(condemned(A), collected(A), condemned(A)).when(collect(A)).then(collected(A))


def test_each_store_is_collected_for_itself() -> None:
    given(condemned(A, store="b")).when(condemn(A)).then(condemned(A))
    given(condemned(A, store="b")).when(collect(A)).then_nothing()
    given(condemned(A), collected(A, store="b")).when(collect(A)).then(collected(A))


def test_an_event_is_about_a_bounded_number_of_objects() -> None:
    objects = tuple(Kept(digest=f"{number:064x}", size=1) for number in range(MAX_OBJECTS + 1))
    with pytest.raises(ValueError, match="at most"):
        DECIDER.boundary(condemn(*objects))
    assert len(DECIDER.boundary(condemn(*objects[1:]))) == 2 * MAX_OBJECTS
