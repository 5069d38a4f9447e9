"""Finding, filtering, sorting and paging, and the histories of stacks and components."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random

import pytest

from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import Ambiguous, NotFound, UsageError
from stackledger.domain.events.components import ComponentRegistered, ComponentUpdated
from stackledger.domain.events.fleet import KeyEnrolled, KeyRevoked, StepClaimed, StepQueued, TrustPublished
from stackledger.domain.events.runs import Produced, StepSucceeded
from stackledger.domain.events.stacks import StackActivated, StackDeleted, StackRegistered, StackRenamed, StackUpdated
from stackledger.projections import history, key_queries, registry_queries, run_queries
from stackledger.projections.engine import View, Views
from stackledger.projections.history import FieldChange
from stackledger.projections.listing import Asked, Filters
from stackledger.projections.registry_queries import stack, stacks
from tests.support.histories import History
from tests.support.memory_log import MemoryReader
from tests.support.run_plans import RUN_ID, started


class Registry(History):
    """A log of a few things with names of one's choice."""

    def component(self, name: str, **configuration: str) -> str:
        component_id = f"c-{name}".lower()
        self.append(
            ComponentRegistered(
                component_id=component_id,
                type=ComponentType.ORCHESTRATOR,
                name=name,
                flavor="local",
                custom_flavor=False,
                configuration=dict(configuration),
                labels={},
                shared=False,
                built_in=False,
                secrets=(),
            )
        )
        return component_id

    def stack(self, name: str, stack_id: str, *, actor: str = "user-1", **labels: str) -> None:
        self.append(
            StackRegistered(
                stack_id=stack_id,
                name=name,
                components={ComponentType.ORCHESTRATOR: ("c-one",)},
                labels=labels,
                shared=False,
                built_in=name == "default",
            ),
            actor=actor,
        )


@pytest.fixture
def log() -> Registry:
    log = Registry(Random(1), gaps=False)
    log.component("one", path="/a")
    log.component("two")
    log.stack("default", "0195-aaaa")
    log.stack("Prod_eu", "0195-bbbb", team="a")
    log.stack("prod-us", "0196-cccc", actor="user-2", team="b", tier="1")
    log.stack("PRODxeu", "0197-dddd", team="a", tier="1")
    return log


@pytest.fixture
def views(log: Registry, tmp_path: Path) -> Views:
    reader = MemoryReader()
    reader.events = log.events  # what the log gets later is read too
    return Views(tmp_path / "views.db", reader, pytest.fail)


def found(views: Views, **filters: object) -> list[str]:
    chosen = Filters(**filters)  # type: ignore[arg-type]
    page = views.read(lambda view: stacks(view, Asked(filters=chosen)))
    assert page.total == len(page.items)
    return [row.name for row in page.items]


def test_an_id_a_name_and_the_beginning_of_either_mean_one_stack(views: Views) -> None:
    for reference in ("0195-bbbb", "0195-B", "prod_eu", "PROD_EU", "prod_"):
        assert views.read(partial(stack, reference=reference)).name == "Prod_eu"


def test_a_change_does_not_take_the_beginning_of_a_name(views: Views) -> None:
    assert views.read(lambda view: stack(view, "0196", prefix=False)).name == "prod-us"
    with pytest.raises(NotFound, match="Did you mean"):
        views.read(lambda view: stack(view, "prod_", prefix=False))


def test_an_exact_name_wins_over_what_it_begins(views: Views, log: Registry) -> None:
    log.stack("prod", "0198-eeee")
    assert views.read(lambda view: stack(view, "prod")).id == "0198-eeee"


def test_a_beginning_of_several_names_them_all(views: Views) -> None:
    with pytest.raises(Ambiguous, match=r"'Prod_eu' \(0195-bbbb\).*'prod-us'|'prod-us'.*'Prod_eu'"):
        views.read(lambda view: stack(view, "prod"))
    with pytest.raises(Ambiguous):
        views.read(lambda view: stack(view, "0195"))


@pytest.mark.parametrize("reference", ["", "%", "_", "*", "\x1b[31m", "x" * 10_000, "'; DROP TABLE x; --"])
def test_what_is_not_there_is_not_found(reference: str, views: Views) -> None:
    with pytest.raises(NotFound) as missing:
        views.read(lambda view: stack(view, reference))
    assert "\x1b" not in str(missing.value)


def test_lists_are_filtered_by_name_owner_and_labels(views: Views) -> None:
    assert found(views, name="prod_EU") == ["Prod_eu"]
    assert found(views, name="contains:_") == ["Prod_eu"]
    assert found(views, name="startswith:PROD") == ["Prod_eu", "prod-us", "PRODxeu"]
    assert found(views, name="endswith:eu") == ["Prod_eu", "PRODxeu"]
    assert found(views, name="endswith:a much longer text than any name") == []
    assert found(views, name="equals:default") == ["default"]
    assert found(views, owner="user-2") == ["prod-us"]
    assert found(views, labels=(("team", "a"),)) == ["Prod_eu", "PRODxeu"]
    assert found(views, labels=(("team", "a"), ("tier", None))) == ["PRODxeu"]
    assert found(views, labels=(('te"am', "a"),)) == []
    assert found(views, labels=(("team", "a"),) * 2000) == ["Prod_eu", "PRODxeu"]


def test_lists_are_sorted_and_paged(views: Views) -> None:
    def names(**options: object) -> list[str]:
        return [row.name for row in views.read(lambda view: stacks(view, Asked(**options))).items]  # type: ignore[arg-type]

    assert names() == ["default", "Prod_eu", "prod-us", "PRODxeu"]
    assert names(sort_by="name") == ["default", "prod-us", "Prod_eu", "PRODxeu"]
    assert names(sort_by="desc:created", size=3) == ["PRODxeu", "prod-us", "Prod_eu"]
    assert names(page=2, size=3) == ["PRODxeu"]
    assert names(page=9) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sort_by": "nam"}, "Did you mean 'name'"),
        ({"sort_by": "up:name"}, "Sort by"),
        ({"sort_by": "name; DROP TABLE x"}, "Sort by"),
        ({"size": 0}, "1 to 1,000"),
        ({"size": 1001}, "1 to 1,000"),
        ({"page": 0}, "count from 1"),
    ],
)
def test_what_cannot_be_listed_is_a_usage_error(options: dict[str, object], words: str, views: Views) -> None:
    with pytest.raises(UsageError, match=words):
        views.read(lambda view: stacks(view, Asked(**options)))  # type: ignore[arg-type]


def test_the_repository_wins_over_the_user_and_the_environment_over_both(views: Views, log: Registry) -> None:
    log.append(StackActivated(stack_id="0195-bbbb", scope="user", scope_id="u"))
    log.append(StackActivated(stack_id="0196-cccc", scope="repository", scope_id="r"))

    def active(**caller: str | None) -> tuple[str, str]:
        found = views.read(lambda view: registry_queries.active_stack(view, **caller))  # type: ignore[arg-type]
        return found.stack.name, found.by

    assert active(user_id="u", repository_id="r", environment="prodxeu") == ("PRODxeu", "environment")
    assert active(user_id="u", repository_id="r") == ("prod-us", "repository")
    assert active(user_id="u", repository_id="other") == ("Prod_eu", "user")
    assert active(user_id="somebody") == ("default", "default")


def test_who_lost_an_active_stack_falls_back_to_the_default_and_is_told_its_name(views: Views, log: Registry) -> None:
    log.append(StackActivated(stack_id="0195-bbbb", scope="user", scope_id="u"))
    log.append(StackRenamed(stack_id="0195-bbbb", name="newest", previous_name="Prod_eu", uses=()))
    log.append(StackDeleted(stack_id="0195-bbbb", name="newest", uses=()))
    active = views.read(lambda view: registry_queries.active_stack(view, user_id="u"))
    assert (active.stack.name, active.by, active.lost) == ("default", "user", "newest")


def test_versions_of_an_artifact_count_up_in_the_order_of_the_log(views: Views, log: Registry) -> None:
    for number, name in enumerate(("model", "Score", "model", "MODEL"), start=1):
        produced = Produced(
            output="o",
            artifact_id=f"a-{number}",
            artifact=name,
            digest="00",
            size=1,
            layout="file",
            materializer="json/1",
            data_type="int",
        )
        log.append(StepSucceeded(run_id="r", step=f"s{number}", attempt=1, outputs=(produced,)))

    def artifact(*reference: object) -> tuple[str, int]:
        row = views.read(lambda view: run_queries.artifact(view, *reference))  # type: ignore[arg-type]
        return row.id, row.version

    assert artifact("model") == ("a-4", 3)
    assert artifact("mod") == ("a-4", 3)
    assert artifact("model", 1) == ("a-1", 1)
    assert artifact("a-3") == ("a-3", 2)
    with pytest.raises(NotFound, match="no version 4"):
        artifact("model", 4)


def test_a_step_on_a_fleet_tells_where_it_waits_and_who_took_it_up(views: Views, log: Registry) -> None:
    log.append(started({"load": (), "train": ["load"]}))
    log.append(StepQueued(run_id=RUN_ID, step="load", attempt=1, queue="gpu", dispatch="d-1", inputs={}))

    def step() -> run_queries.StepRow:
        return views.read(lambda view: run_queries.run(view, RUN_ID).steps[0])

    assert (step().status, step().queue, step().queued is None, step().worker) == ("queued", "gpu", False, None)
    log.append(StepClaimed(run_id=RUN_ID, step="load", attempt=1, execution="e-1", worker="w-key"))
    assert (step().status, step().execution, step().worker) == ("running", "e-1", "w-key")


def test_the_history_of_a_stack_tells_what_each_event_changed(views: Views, log: Registry) -> None:
    log.append(
        StackUpdated(
            stack_id="0195-bbbb",
            components={ComponentType.ORCHESTRATOR: ("c-two",)},
            labels={"team": "c"},
            previous_components={ComponentType.ORCHESTRATOR: ("c-one",)},
            previous_labels={"team": "a", "old": "1"},
        )
    )
    log.append(StackActivated(stack_id="0195-bbbb", scope="user", scope_id="u"))
    log.append(StackRenamed(stack_id="0195-bbbb", name="eu", previous_name="Prod_eu", uses=()))
    log.append(StackDeleted(stack_id="0195-bbbb", name="eu", uses=()))

    def query(view: View) -> list[history.Entry]:
        return history.of_stack(view, history.stack_id(view, "EU"))

    entries = views.read(query)
    assert [entry.type.partition("/")[0] for entry in entries] == [
        "stack.deleted",
        "stack.renamed",
        "stack.activated",
        "stack.updated",
        "stack.registered",
    ]
    assert entries[1].changes == (FieldChange("name", "Prod_eu", "eu"),)
    assert set(entries[3].changes) == {
        FieldChange("orchestrator", "one", "two"),
        FieldChange("labels.team", "a", "c"),
        FieldChange("labels.old", "1", None),
    }


def test_the_history_of_a_component_tells_what_each_event_changed(views: Views, log: Registry) -> None:
    log.append(
        ComponentUpdated(
            component_id="c-one",
            configuration={"path": "/b"},
            labels={},
            secrets=(),
            previous_configuration={"path": "/a", "mode": 1},
            previous_labels={},
            previous_secrets=(),
        )
    )

    def query(view: View) -> list[history.Entry]:
        return history.of_component(view, history.component_id(view, "orchestrator", "one"))

    updated, registered = views.read(query)
    assert set(updated.changes) == {
        FieldChange("configuration.path", "/a", "/b"),
        FieldChange("configuration.mode", 1, None),
    }
    assert FieldChange("configuration.path", None, "/a") in registered.changes


def test_a_stack_is_compared_with_itself_at_another_position(views: Views, log: Registry) -> None:
    log.append(
        ComponentUpdated(
            component_id="c-one",
            configuration={"path": "/b"},
            labels={},
            secrets=(),
            previous_configuration={"path": "/a"},
            previous_labels={},
            previous_secrets=(),
        )
    )

    def query(view: View) -> tuple[FieldChange, ...]:
        before = history.stack_facts(view._replace(position=4), "0195-bbbb")
        return history.differences(before, history.stack_facts(view, "0195-bbbb"))

    assert views.read(query) == (FieldChange("orchestrator.one.configuration.path", "/a", "/b"),)
    nothing = views.read(lambda view: history.stack_facts(view._replace(position=1), "0195-bbbb"))
    assert nothing == {}


def test_the_list_of_coordinators_is_the_newest_of_the_first_root_key(views: Views, log: Registry) -> None:
    assert views.read(key_queries.trust) is None
    for number, root in ((5, "ours"), (6, "ours"), (7, "another")):
        log.append(TrustPublished(number=number, expires=number, root=root, coordinators={}, message=""))
    assert views.read(key_queries.trust) == key_queries.TrustRow("ours", 6, 6)


def test_a_key_is_found_by_its_name_while_it_counts_and_by_its_id_for_ever(views: Views, log: Registry) -> None:
    for key_id in ("0a", "0b"):
        log.append(KeyEnrolled(key_id=key_id, role="worker", name="w", public="p", queues=("default",)))
        if key_id == "0a":
            log.append(KeyRevoked(key_id=key_id))
    assert views.read(lambda view: key_queries.key(view, "W").id) == "0b"
    assert views.read(lambda view: key_queries.key(view, "0a").status) == "revoked"
    assert views.read(lambda view: key_queries.enrolled(view, "worker")) == {"0b"}
    assert views.read(lambda view: key_queries.names(view, ["0a", "nobody's"])) == {"0a": "w"}
    assert views.read(lambda view: key_queries.enrolled(view, "coordinator")) == set()
