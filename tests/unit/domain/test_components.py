from __future__ import annotations

import pytest
from pydantic import JsonValue

from stackledger.domain.component_types import ComponentType
from stackledger.domain.components import (
    DECIDER,
    ComponentCommand,
    DeleteComponent,
    RegisterComponent,
    RenameComponent,
    ShareComponent,
    UnshareComponent,
    UpdateComponent,
)
from stackledger.domain.errors import (
    AlreadyExists,
    BuiltIn,
    InUse,
    InvalidName,
    InvalidValue,
    LiteralSecret,
    NotFound,
)
from stackledger.domain.events.components import (
    ComponentRenamed,
    ComponentShared,
    ComponentUnshared,
    ComponentUpdated,
    FlavorDeleted,
    FlavorRegistered,
    SecretCreated,
    SecretDeleted,
    SecretRenamed,
    SecretUpdated,
    StoresUnpaired,
)
from stackledger.domain.events.stacks import StackRenamed
from tests.support.given import specification
from tests.support.registry import (
    ARTIFACT_STORE,
    FRESH,
    METADATA_STORE,
    ORCHESTRATOR,
    changed,
    component,
    gone,
    paired,
    stack,
    stack_gone,
    updated,
)

given = specification(DECIDER)

STORE = component("a1", name="mine")
CONFIGURED = component("a1", name="mine", configuration={"path": "/x"}, labels={"k": "v"})
SECRET = SecretCreated(secret_id="s1", name="aws", keys=("key", "token"))
FLAVOR = FlavorRegistered(type=ARTIFACT_STORE, name="tape", source="mine.Tape")
USED = stack("x", name="prod", parts={ORCHESTRATOR: ("default-o",), ARTIFACT_STORE: ("a1",)})


def register(
    configuration: dict[str, JsonValue] | None = None,
    *,
    name: str = "mine",
    component_type: ComponentType = ARTIFACT_STORE,
    secrets: dict[str, str] | None = None,
    secret_fields: frozenset[str] = frozenset(),
) -> RegisterComponent:
    return RegisterComponent(
        component_id="a1",
        type=component_type,
        name=name,
        flavor="local",
        configuration=configuration or {},
        secrets=secrets or {},
        secret_fields=secret_fields,
    )


class TestRegistering:
    def test_a_component_comes_to_be(self) -> None:
        command = RegisterComponent(
            component_id="a1",
            type=ARTIFACT_STORE,
            name="mine",
            flavor="local",
            configuration={"path": "/x", "nested": {"deep": [1, None]}},
            labels={"k": "v"},
            shared=True,
        )
        given(*FRESH).when(command).then(
            component(
                "a1",
                name="mine",
                configuration={"path": "/x", "nested": {"deep": [1, None]}},
                labels={"k": "v"},
                shared=True,
            )
        )

    def test_its_name_is_kept_in_one_normal_form(self) -> None:
        given().when(register(name="cafe\u0301")).then(component("a1", name="caf\xe9"))

    @pytest.mark.parametrize("name", ["default", "DEFAULT", "Default"])
    def test_a_name_is_taken_within_its_type_ignoring_case(self, name: str) -> None:
        given(*FRESH).when(register(name=name)).then_raises(AlreadyExists, "artifact store named")

    def test_the_same_name_is_free_for_another_type(self) -> None:
        given(*FRESH).when(register(name="default", component_type=METADATA_STORE)).then(
            component("a1", METADATA_STORE, name="default")
        )

    def test_the_name_of_a_deleted_component_is_free(self) -> None:
        old = component("a0", name="mine")
        given(old, gone(old)).when(register()).then(STORE)

    def test_the_name_that_a_component_got_later_is_taken(self) -> None:
        old = component("a0", name="other")
        renamed = ComponentRenamed(component_id="a0", type=ARTIFACT_STORE, name="mine", previous_name="other")
        given(old, renamed).when(register()).then_raises(AlreadyExists)

    def test_the_name_that_a_component_had_before_is_free(self) -> None:
        renamed = ComponentRenamed(component_id="a0", type=ARTIFACT_STORE, name="other", previous_name="mine")
        given(component("a0", name="mine"), renamed).when(register()).then(STORE)

    def test_a_hostile_name_is_refused(self) -> None:
        with pytest.raises(InvalidName):
            DECIDER.boundary(register(name="../x"))

    def test_a_bad_label_is_refused(self) -> None:
        command = RegisterComponent(component_id="a1", type=ARTIFACT_STORE, name="x", flavor="local", labels={"": "v"})
        given().when(command).then_raises(InvalidValue, "label key")


class TestFlavorsOfOnesOwn:
    COMMAND = RegisterComponent(component_id="a1", type=ARTIFACT_STORE, name="mine", flavor="TAPE", custom_flavor=True)

    def test_the_flavor_must_be_registered(self) -> None:
        given().when(self.COMMAND).then_raises(NotFound, "No flavor 'TAPE' of artifact store")

    def test_a_deleted_flavor_is_not_there(self) -> None:
        given(FLAVOR, FlavorDeleted(type=ARTIFACT_STORE, name="tape")).when(self.COMMAND).then_raises(NotFound)

    def test_a_flavor_of_another_type_is_not_it(self) -> None:
        other = FlavorRegistered(type=ORCHESTRATOR, name="tape", source="mine.Tape")
        given(other).when(self.COMMAND).then_raises(NotFound)

    def test_the_flavor_is_named_as_it_was_registered(self) -> None:
        given(FLAVOR).when(self.COMMAND).then(component("a1", name="mine", flavor="tape", custom_flavor=True))


class TestSecretsInConfigurations:
    def test_a_literal_in_a_secret_field_is_refused(self) -> None:
        command = register({"password": "hunter2"}, secret_fields=frozenset({"password"}))
        given().when(command).then_raises(LiteralSecret, "'password' holds a secret")

    def test_the_refused_literal_is_not_repeated(self) -> None:
        with pytest.raises(LiteralSecret) as raised:
            given().when(register({"p": "hunter2"}, secret_fields=frozenset({"p"}))).decided()
        assert "hunter2" not in str(raised.value)

    def test_a_url_with_a_password_is_refused_anywhere(self) -> None:
        command = register({"hosts": [{"url": "amqp://me:hunter2@host"}]})
        given().when(command).then_raises(LiteralSecret, "URL in the field 'hosts")

    def test_an_environment_variable_is_a_reference(self) -> None:
        command = register({"password": "env:PASSWORD"}, secret_fields=frozenset({"password"}))
        given().when(command).then(component("a1", name="mine", configuration={"password": "env:PASSWORD"}))

    def test_a_reference_is_kept_with_the_id_of_its_secret(self) -> None:
        configuration: dict[str, JsonValue] = {"key": "{{aws.key}}", "also": ["{{AWS.token}}"]}
        command = register(configuration, secrets={"aws": "s1"}, secret_fields=frozenset({"key"}))
        given(SECRET).when(command).then(component("a1", name="mine", configuration=configuration, secrets=("s1",)))

    def test_a_reference_to_an_unknown_secret_is_refused(self) -> None:
        given(SECRET).when(register({"key": "{{gcp.key}}"})).then_raises(
            NotFound, "no secret named 'gcp'.*secret create gcp --key=@file"
        )

    def test_a_reference_to_a_deleted_secret_is_refused(self) -> None:
        deleted = SecretDeleted(secret_id="s1", name="aws")
        given(SECRET, deleted).when(register({"key": "{{aws.key}}"}, secrets={"aws": "s1"})).then_raises(NotFound)

    def test_a_reference_to_a_secret_that_was_renamed_meanwhile_is_refused(self) -> None:
        renamed = SecretRenamed(secret_id="s1", name="other", previous_name="aws")
        given(SECRET, renamed).when(register({"key": "{{aws.key}}"}, secrets={"aws": "s1"})).then_raises(NotFound)

    def test_a_reference_to_an_unknown_key_names_the_near_ones(self) -> None:
        given(SECRET).when(register({"key": "{{aws.tokn}}"}, secrets={"aws": "s1"})).then_raises(
            NotFound, "no key 'tokn'.*Did you mean 'token'"
        )

    def test_a_reference_to_a_removed_key_is_refused(self) -> None:
        removed = SecretUpdated(secret_id="s1", keys=("token",), previous_keys=("key", "token"), changed=())
        given(SECRET, removed).when(register({"key": "{{aws.key}}"}, secrets={"aws": "s1"})).then_raises(NotFound)

    def test_an_update_keeps_the_same_rules(self) -> None:
        def update(**configuration: str) -> UpdateComponent:
            return UpdateComponent(
                component_id="a1",
                configuration=dict(configuration),
                labels={},
                secret_fields=frozenset({"password"}),
                secrets={"aws": "s1"},
            )

        given(STORE, SECRET).when(update(password="hunter2")).then_raises(LiteralSecret)
        given(STORE, SECRET).when(update(password="{{aws.none}}")).then_raises(NotFound)
        given(STORE, SECRET).when(update(password="{{aws.key}}")).then(
            updated(STORE, {"password": "{{aws.key}}"}, secrets=("s1",))
        )


class TestUpdating:
    def test_configuration_and_labels_are_given_whole(self) -> None:
        command = UpdateComponent(component_id="a1", configuration={"path": "/y"}, labels={})
        given(CONFIGURED).when(command).then(
            ComponentUpdated(
                component_id="a1",
                configuration={"path": "/y"},
                labels={},
                secrets=(),
                previous_configuration={"path": "/x"},
                previous_labels={"k": "v"},
                previous_secrets=(),
            )
        )

    def test_what_would_part_stacks_from_their_artifact_store_is_refused(self) -> None:
        command = UpdateComponent("a1", {"path": "/y"}, {}, stranded=frozenset({"s2", "s1"}))
        given(CONFIGURED).when(command).then_raises(InUse, "artifact store, in the stacks 's1' and 's2'")

    def test_an_update_that_changes_nothing_is_nothing(self) -> None:
        command = UpdateComponent(component_id="a1", configuration={"path": "/x"}, labels={"k": "v"})
        given(CONFIGURED).when(command).then_nothing()

    @pytest.mark.parametrize(("before", "after"), [(1, True), (1, 1.0), (0, False), ([1], [True])])
    def test_what_python_holds_for_equal_can_be_a_change(self, before: JsonValue, after: JsonValue) -> None:
        old = component("a1", configuration={"value": before})
        command = UpdateComponent(component_id="a1", configuration={"value": after}, labels={})
        assert len(given(old).when(command).decided()) == 1

    def test_the_order_of_fields_is_no_change(self) -> None:
        old = component("a1", configuration={"a": 1, "b": 2})
        command = UpdateComponent(component_id="a1", configuration={"b": 2, "a": 1}, labels={})
        given(old).when(command).then_nothing()

    def test_an_update_goes_out_from_the_update_before(self) -> None:
        first = updated(STORE, {"path": "/1"})
        command = UpdateComponent(component_id="a1", configuration={"path": "/2"}, labels={})
        given(STORE, first).when(command).then(
            first.model_copy(update={"configuration": {"path": "/2"}, "previous_configuration": {"path": "/1"}})
        )


class TestRenaming:
    def test_a_component_gets_another_name(self) -> None:
        given(STORE).when(RenameComponent(component_id="a1", type=ARTIFACT_STORE, name="yours")).then(
            ComponentRenamed(component_id="a1", type=ARTIFACT_STORE, name="yours", previous_name="mine")
        )

    def test_renaming_to_the_same_name_is_nothing(self) -> None:
        given(STORE).when(RenameComponent(component_id="a1", type=ARTIFACT_STORE, name="mine")).then_nothing()

    def test_another_case_of_its_own_name_is_free(self) -> None:
        given(STORE).when(RenameComponent(component_id="a1", type=ARTIFACT_STORE, name="MINE")).then(
            ComponentRenamed(component_id="a1", type=ARTIFACT_STORE, name="MINE", previous_name="mine")
        )

    def test_renaming_to_a_taken_name_is_refused(self) -> None:
        given(*FRESH, STORE).when(RenameComponent(component_id="a1", type=ARTIFACT_STORE, name="Default")).then_raises(
            AlreadyExists
        )

    def test_the_type_must_be_the_components(self) -> None:
        given(STORE).when(RenameComponent(component_id="a1", type=ORCHESTRATOR, name="x")).then_raises(InvalidValue)


class TestSharing:
    def test_sharing_and_unsharing_are_marks(self) -> None:
        shared, unshared = ComponentShared(component_id="a1"), ComponentUnshared(component_id="a1")
        given(STORE).when(ShareComponent(component_id="a1")).then(shared)
        given(STORE, shared).when(ShareComponent(component_id="a1")).then_nothing()
        given(STORE, shared).when(UnshareComponent(component_id="a1")).then(unshared)
        given(STORE, shared, unshared).when(UnshareComponent(component_id="a1")).then_nothing()


class TestDeleting:
    def test_an_unused_component_goes(self) -> None:
        given(STORE).when(DeleteComponent(component_id="a1")).then(gone(STORE))

    def test_it_goes_with_the_name_and_the_secrets_it_had_last(self) -> None:
        renamed = ComponentRenamed(component_id="a1", type=ARTIFACT_STORE, name="late", previous_name="mine")
        given(STORE, SECRET, updated(STORE, {"key": "{{aws.key}}"}, ("s1",)), renamed).when(
            DeleteComponent(component_id="a1")
        ).then(gone(component("a1", name="late"), ("s1",)))

    def test_a_component_that_a_stack_uses_is_refused_and_the_stack_named(self) -> None:
        command = DeleteComponent(component_id="a1")
        given(*FRESH, STORE, USED).when(command).then_raises(InUse, "because 1 stack uses it: 'x'.*Update or delete")

    def test_all_stacks_that_use_it_are_counted(self) -> None:
        other = stack("y", parts=USED.components)
        command = DeleteComponent(component_id="a1")
        given(STORE, USED, other).when(command).then_raises(InUse, "2 stacks use it: 'x' and 'y'")

    def test_a_stack_that_came_to_use_it_later_counts(self) -> None:
        before = stack("x")
        given(*FRESH, STORE, before, changed(before, USED.components)).when(
            DeleteComponent(component_id="a1")
        ).then_raises(InUse)

    def test_a_stack_that_no_longer_uses_it_does_not_count(self) -> None:
        given(*FRESH, STORE, USED, changed(USED, stack("x").components)).when(DeleteComponent(component_id="a1")).then(
            gone(STORE)
        )

    def test_a_deleted_stack_does_not_count(self) -> None:
        renamed = StackRenamed(stack_id="x", name="late", previous_name="prod", uses=("default-o", "a1"))
        given(*FRESH, STORE, USED, renamed, stack_gone(USED)).when(DeleteComponent(component_id="a1")).then(gone(STORE))

    def test_its_pairing_ends(self) -> None:
        unpaired = StoresUnpaired(artifact_store_id="a1", metadata_store_id="m1", because="deleted")
        given(STORE, paired("a1", "m1")).when(DeleteComponent(component_id="a1")).then(unpaired, gone(STORE))
        store = component("m1", METADATA_STORE)
        given(store, paired("a1", "m1")).when(DeleteComponent(component_id="m1")).then(unpaired, gone(store))


@pytest.mark.parametrize(("built_in", "component_type"), [("default-o", ORCHESTRATOR), ("default-a", ARTIFACT_STORE)])
def test_the_default_components_stay_as_they_are(built_in: str, component_type: ComponentType) -> None:
    commands: tuple[ComponentCommand, ...] = (
        UpdateComponent(component_id=built_in, configuration={"path": "/x"}, labels={}),
        RenameComponent(component_id=built_in, type=component_type, name="x"),
        ShareComponent(component_id=built_in),
        UnshareComponent(component_id=built_in),
        DeleteComponent(component_id=built_in),
    )
    for command in commands:
        given(*FRESH).when(command).then_raises(BuiltIn, "belongs to every installation")


@pytest.mark.parametrize(
    "command",
    [
        UpdateComponent(component_id="a1", configuration={}, labels={}),
        RenameComponent(component_id="a1", type=ARTIFACT_STORE, name="x"),
        ShareComponent(component_id="a1"),
        UnshareComponent(component_id="a1"),
        DeleteComponent(component_id="a1"),
    ],
    ids=lambda command: type(command).__name__,
)
def test_a_component_that_is_not_there_cannot_be_changed(command: ComponentCommand) -> None:
    given(*FRESH).when(command).then_raises(NotFound, "no component with the id 'a1'")
    given(*FRESH, STORE, gone(STORE)).when(command).then_raises(NotFound, "artifact store 'mine' was deleted")


def test_only_deletions_look_at_users() -> None:
    commands: tuple[ComponentCommand, ...] = (
        register(),
        UpdateComponent(component_id="a1", configuration={}, labels={}),
        RenameComponent(component_id="a1", type=ARTIFACT_STORE, name="x"),
        ShareComponent(component_id="a1"),
    )
    for command in commands:
        assert not any(tag.startswith("uses:") for item in DECIDER.boundary(command) for tag in item.tags)
