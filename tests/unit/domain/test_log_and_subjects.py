from __future__ import annotations

import pytest

from stackledger.domain import log, subjects
from stackledger.domain.errors import Refused
from stackledger.domain.event import Event
from stackledger.domain.events.components import ComponentRegistered
from stackledger.domain.events.log import LogAdopted, LogCreated, LogMoved, SubjectEnrolled
from stackledger.domain.events.stacks import StackRegistered
from stackledger.domain.log import AdoptLog, MoveLog
from stackledger.domain.subjects import EnrollSubject
from tests.support.given import specification
from tests.support.registry import ARTIFACT_STORE, CREATE_LOG, DEFAULT_PARTS, FRESH, ORCHESTRATOR


def built_in(component_id: str, component_type: str) -> ComponentRegistered:
    return ComponentRegistered.model_validate(
        {
            "component_id": component_id,
            "type": component_type,
            "name": "default",
            "flavor": "local",
            "custom_flavor": False,
            "configuration": {},
            "labels": {},
            "shared": False,
            "built_in": True,
            "secrets": (),
        }
    )


class TestCreatingTheLog:
    given = staticmethod(specification(log.DECIDER))

    def test_a_fresh_log_has_its_id_a_user_a_host_and_the_default_stack(self) -> None:
        self.given().when(CREATE_LOG).then(
            LogCreated(log_id="log"),
            SubjectEnrolled(subject_id="user", kind="user", commitment="c1"),
            SubjectEnrolled(subject_id="host", kind="host", commitment="c2"),
            built_in("default-o", ORCHESTRATOR),
            built_in("default-a", ARTIFACT_STORE),
            StackRegistered(
                stack_id="default-s", name="default", components=DEFAULT_PARTS, labels={}, shared=False, built_in=True
            ),
        )

    def test_a_log_that_exists_is_left_alone(self) -> None:
        self.given(*FRESH).when(CREATE_LOG).then_nothing()

    def test_a_log_of_any_other_id_counts_too(self) -> None:
        self.given(LogCreated(log_id="somebody else's")).when(CREATE_LOG).then_nothing()


class TestMovingTheLog:
    given = staticmethod(specification(log.DECIDER))
    HERE = (LogCreated(log_id="log"),)
    AWAY = LogMoved(log_id="log", destination="there")
    BACK = LogAdopted(log_id="log", incarnation="second")
    MOVE = MoveLog("log", "there", running=())
    ADOPT = AdoptLog("log", "third")

    @pytest.mark.parametrize("before", [HERE, (*HERE, AWAY, BACK)])
    def test_a_log_goes_on_elsewhere(self, before: tuple[Event, ...]) -> None:
        self.given(*before).when(self.MOVE).then(self.AWAY)

    def test_nobody_has_to_say_where(self) -> None:
        self.given(*self.HERE).when(MoveLog("log", None, ())).then(LogMoved(log_id="log", destination=None))

    def test_one_that_was_moved_is_not_moved_again(self) -> None:
        self.given(*self.HERE, self.AWAY).when(self.MOVE._replace(running=("a run",))).then_nothing()

    def test_runs_that_have_not_ended_keep_it_here(self) -> None:
        self.given(*self.HERE).when(self.MOVE._replace(running=("b", "a"))).then_raises(Refused, "'a' and 'b'")

    @pytest.mark.parametrize("before", [(*HERE, AWAY), (*HERE, AWAY, BACK, AWAY)])
    def test_one_that_was_moved_goes_on_where_it_is_adopted(self, before: tuple[Event, ...]) -> None:
        self.given(*before).when(self.ADOPT).then(LogAdopted(log_id="log", incarnation="third"))

    @pytest.mark.parametrize("before", [HERE, (*HERE, AWAY, BACK)])
    def test_what_goes_on_here_cannot_be_adopted(self, before: tuple[Event, ...]) -> None:
        self.given(*before).when(self.ADOPT).then_raises(Refused, "was not moved")

    def test_a_log_that_was_moved_is_not_begun_again(self) -> None:
        self.given(*self.HERE, self.AWAY).when(CREATE_LOG).then_nothing()


class TestEnrolling:
    given = staticmethod(specification(subjects.DECIDER))
    ANN = SubjectEnrolled(subject_id="ann", kind="user", commitment="c")

    @pytest.mark.parametrize("before", [(), (SubjectEnrolled(subject_id="bob", kind="user", commitment="c"),)])
    def test_a_subject_is_enrolled(self, before: tuple[SubjectEnrolled, ...]) -> None:
        self.given(*before).when(EnrollSubject(subject_id="ann", kind="user", commitment="c")).then(self.ANN)

    def test_once(self) -> None:
        self.given(self.ANN).when(EnrollSubject(subject_id="ann", kind="user", commitment="c")).then_nothing()
