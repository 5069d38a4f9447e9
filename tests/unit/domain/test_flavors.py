from __future__ import annotations

import pytest

from stackledger.domain.errors import AlreadyExists, InUse, InvalidName, InvalidValue, NotFound
from stackledger.domain.events.components import FlavorDeleted, FlavorRegistered
from stackledger.domain.flavors import DECIDER, DeleteFlavor, RegisterFlavor
from tests.support.given import specification
from tests.support.registry import ARTIFACT_STORE, ORCHESTRATOR, component, gone

given = specification(DECIDER)

TAPE = FlavorRegistered(type=ARTIFACT_STORE, name="tape", source="mine.stores.Tape")
GONE = FlavorDeleted(type=ARTIFACT_STORE, name="tape")
USER = component("a1", flavor="tape", custom_flavor=True)
REGISTER = RegisterFlavor(
    type=ARTIFACT_STORE,
    name="tape",
    source="mine.stores.Tape",
    catalogue={"local": "Stackledger", "s3": "an installed package"},
)
DELETE = DeleteFlavor(type=ARTIFACT_STORE, name="TAPE")


def registering(name: str = "tape", source: str = "mine.Tape") -> RegisterFlavor:
    return RegisterFlavor(type=ARTIFACT_STORE, name=name, source=source, catalogue=REGISTER.catalogue)


def test_a_flavor_is_registered() -> None:
    given().when(REGISTER).then(TAPE)


def test_a_name_of_the_catalogue_is_taken() -> None:
    given().when(registering("LOCAL")).then_raises(AlreadyExists, "comes with Stackledger")
    given().when(registering("S3")).then_raises(AlreadyExists, "comes with an installed package")


def test_a_registered_name_is_taken_ignoring_case() -> None:
    given(TAPE).when(registering("Tape")).then_raises(AlreadyExists, "flavor delete")


def test_the_same_name_is_free_for_another_type() -> None:
    given(FlavorRegistered(type=ORCHESTRATOR, name="tape", source="a.B")).when(REGISTER).then(TAPE)


def test_the_name_of_a_deleted_flavor_is_free() -> None:
    given(TAPE, GONE).when(REGISTER).then(TAPE)


@pytest.mark.parametrize("source", ["", "Tape", ".Tape", "mine.", "mine..Tape", "mine/Tape", "a b.C", "a.1", "a.B\n"])
def test_a_source_is_the_dotted_path_of_a_class(source: str) -> None:
    given().when(registering(source=source)).then_raises(InvalidValue, "module.Class")


def test_a_hostile_name_is_refused() -> None:
    with pytest.raises(InvalidName):
        DECIDER.boundary(registering("a/b"))


def test_an_unused_flavor_goes() -> None:
    given(TAPE).when(DELETE).then(GONE)


def test_a_flavor_with_components_stays() -> None:
    given(TAPE, USER).when(DELETE).then_raises(InUse, "because 1 component is of it: 'a1'")


def test_deleted_components_do_not_hold_their_flavor() -> None:
    given(TAPE, USER, gone(USER)).when(DELETE).then(GONE)


def test_components_of_another_flavor_or_type_do_not_hold_it() -> None:
    others = component("a2"), component("o2", ORCHESTRATOR, flavor="tape", custom_flavor=True)
    given(TAPE, *others).when(DELETE).then(GONE)


def test_a_flavor_that_is_not_there_cannot_be_deleted() -> None:
    given().when(DELETE).then_raises(NotFound, "flavor list")
    given(TAPE, GONE).when(DELETE).then_raises(NotFound)
