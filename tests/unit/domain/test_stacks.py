from __future__ import annotations

import pytest

from stackledger.domain.component_types import ComponentType
from stackledger.domain.components import RegisterComponent
from stackledger.domain.errors import (
    AlreadyExists,
    BuiltIn,
    InvalidName,
    InvalidValue,
    NotFound,
    PairingConflict,
    Refused,
)
from stackledger.domain.events.components import ComponentRenamed, StoresUnpaired, component_tag
from stackledger.domain.events.stacks import StackRenamed, StackShared, StackUnshared, StackUpdated, uses_tag
from stackledger.domain.stack_state import Scope
from stackledger.domain.stacks import (
    DECIDER,
    ActivateStack,
    AssembleStack,
    DeleteStack,
    RegisterStack,
    RenameStack,
    ShareStack,
    StackCommand,
    UnshareStack,
    UpdateStack,
)
from tests.support.given import specification
from tests.support.registry import (
    ALERTER,
    ARTIFACT_STORE,
    DEFAULT_PARTS,
    FRESH,
    METADATA_STORE,
    ORCHESTRATOR,
    activated,
    changed,
    component,
    gone,
    paired,
    stack,
    stack_gone,
)

given = specification(DECIDER)

USER = Scope("user", "user")
REPOSITORY = Scope("repository", "repo")
ORC, A1, A2 = component("o", ORCHESTRATOR), component("a1"), component("a2")
M1, M2 = component("m1", METADATA_STORE), component("m2", METADATA_STORE)
PARTS = {ORCHESTRATOR: ("o",), ARTIFACT_STORE: ("a1",)}
PAIR_1 = {**PARTS, METADATA_STORE: ("m1",)}
PARTS_9 = {**PARTS, ARTIFACT_STORE: ("a9",)}
MINE = stack("s", name="mine", parts=PARTS)
BASE = (*FRESH, ORC, A1, A2, M1, M2)


def unpaired(artifact_store_id: str, metadata_store_id: str, because: str = "decoupled") -> StoresUnpaired:
    return StoresUnpaired.model_validate(
        {"artifact_store_id": artifact_store_id, "metadata_store_id": metadata_store_id, "because": because}
    )


class TestReach:
    def test_steps_elsewhere_cannot_use_a_store_of_one_machine_alone(self) -> None:
        given(*BASE).when(RegisterStack(stack_id="s", name="mine", components=PARTS, confined=["a1"])).then_raises(
            Refused, "'a1' is on one machine alone, and the orchestrator 'o' has steps executed on others"
        )

    @pytest.mark.parametrize("confined", [(), ("o",), ("o", "a1"), ("a2",)])
    def test_any_other_pair_of_orchestrator_and_store_will_do(self, confined: tuple[str, ...]) -> None:
        command = RegisterStack(stack_id="s", name="mine", components=PARTS, confined=confined)
        given(*BASE).when(command).then(stack("s", name="mine", parts=PARTS))

    def test_a_change_of_orchestrator_or_store_is_looked_at_too(self) -> None:
        parts = {**PARTS, ARTIFACT_STORE: ("a2",)}
        given(*BASE, MINE).when(UpdateStack("s", parts, {}, confined=["a2"])).then_raises(Refused, "'a2' is on one")

    def test_who_leaves_both_alone_is_not_asked(self) -> None:
        alerter = component("l", ALERTER)
        parts = {**PARTS, ALERTER: ("l",)}
        given(*BASE, alerter, MINE).when(UpdateStack("s", parts, {}, confined=["a1"])).then(changed(MINE, parts))


class TestRegistering:
    def test_a_stack_comes_to_be(self) -> None:
        command = RegisterStack(stack_id="s", name="mine", components=PARTS, labels={"team": "x"}, shared=True)
        given(*BASE).when(command).then(stack("s", name="mine", parts=PARTS, labels={"team": "x"}, shared=True))

    def test_it_can_be_activated_at_once_for_user_and_repository(self) -> None:
        command = RegisterStack(stack_id="s", name="mine", components=PARTS, activate=(USER, REPOSITORY))
        given(*BASE).when(command).then(MINE, activated("s", user="user"), activated("s", repository="repo"))

    def test_components_are_kept_in_the_order_of_types_and_empty_ones_left_out(self) -> None:
        parts = {ALERTER: (), ARTIFACT_STORE: ("a1",), ORCHESTRATOR: ("o",)}
        decided = given(*BASE).when(RegisterStack(stack_id="s", name="mine", components=parts)).decided()
        assert list(decided[0].model_dump()["components"]) == [ORCHESTRATOR, ARTIFACT_STORE]

    def test_the_built_in_components_may_be_used(self) -> None:
        command = RegisterStack(stack_id="s", name="mine", components=DEFAULT_PARTS)
        given(*FRESH).when(command).then(stack("s", name="mine"))

    @pytest.mark.parametrize("missing", [ORCHESTRATOR, ARTIFACT_STORE])
    def test_it_needs_an_orchestrator_and_an_artifact_store(self, missing: ComponentType) -> None:
        parts = {each: ids for each, ids in PARTS.items() if each != missing}
        command = RegisterStack(stack_id="s", name="mine", components=parts)
        given(*BASE).when(command).then_raises(Refused, f"no {missing.words}.*Give one with")

    @pytest.mark.parametrize(
        "repeatable", [ComponentType.EXPERIMENT_TRACKER, ComponentType.STEP_OPERATOR, ComponentType.ALERTER]
    )
    def test_three_types_may_repeat_and_the_order_is_kept(self, repeatable: ComponentType) -> None:
        parts = {**PARTS, repeatable: ("y", "x")}
        several = component("x", repeatable), component("y", repeatable)
        given(*BASE, *several).when(RegisterStack(stack_id="s", name="mine", components=parts)).then(
            stack("s", name="mine", parts=parts)
        )

    def test_no_other_type_may_repeat(self) -> None:
        parts = {**PARTS, ARTIFACT_STORE: ("a1", "a2")}
        command = RegisterStack(stack_id="s", name="mine", components=parts)
        given(*BASE).when(command).then_raises(Refused, "one artifact store, and 2 were given")

    def test_no_component_stands_in_it_twice(self) -> None:
        command = RegisterStack(stack_id="s", name="mine", components={**PARTS, ALERTER: ("x", "x")})
        given(*BASE, component("x", ALERTER)).when(command).then_raises(Refused, "alerter 'x' is named twice")

    def test_a_component_must_be_there(self) -> None:
        command = RegisterStack(stack_id="s", name="mine", components={**PARTS, ALERTER: ("x",)})
        given(*BASE).when(command).then_raises(NotFound, "no component with the id 'x'")

    def test_a_deleted_component_is_refused_under_its_last_name(self) -> None:
        renamed = ComponentRenamed(component_id="a1", type=ARTIFACT_STORE, name="moved", previous_name="a1")
        command = RegisterStack(stack_id="s", name="mine", components=PARTS)
        given(*BASE, renamed, gone(component("a1", name="moved"))).when(command).then_raises(
            NotFound, "artifact store 'moved' was deleted"
        )

    def test_a_component_must_be_of_the_type_it_is_given_for(self) -> None:
        command = RegisterStack(stack_id="s", name="mine", components={ORCHESTRATOR: ("a1",), ARTIFACT_STORE: ("o",)})
        given(*BASE).when(command).then_raises(InvalidValue, "artifact store 'a1' cannot stand")

    @pytest.mark.parametrize("name", ["mine", "MINE"])
    def test_a_name_is_taken_ignoring_case(self, name: str) -> None:
        command = RegisterStack(stack_id="s2", name=name, components=PARTS)
        given(*BASE, MINE).when(command).then_raises(AlreadyExists, f"named '{name}' already")

    def test_the_name_of_a_deleted_stack_is_free(self) -> None:
        command = RegisterStack(stack_id="s2", name="mine", components=PARTS)
        given(*BASE, MINE, stack_gone(MINE)).when(command).then(stack("s2", name="mine", parts=PARTS))

    def test_the_name_that_a_stack_had_before_is_free(self) -> None:
        renamed = StackRenamed(stack_id="s", name="other", previous_name="mine", uses=MINE.components[ORCHESTRATOR])
        command = RegisterStack(stack_id="s2", name="mine", components=PARTS)
        given(*BASE, MINE, renamed).when(command).then(stack("s2", name="mine", parts=PARTS))

    def test_the_name_that_a_stack_got_later_is_taken(self) -> None:
        renamed = StackRenamed(stack_id="s", name="other", previous_name="mine", uses=("o", "a1"))
        command = RegisterStack(stack_id="s2", name="other", components=PARTS)
        given(*BASE, MINE, renamed).when(command).then_raises(AlreadyExists)

    def test_a_hostile_name_is_refused_before_anything_is_read(self) -> None:
        with pytest.raises(InvalidName):
            DECIDER.boundary(RegisterStack(stack_id="s", name="\udcff", components=PARTS))

    def test_a_label_that_no_list_could_show_is_refused(self) -> None:
        command = RegisterStack(stack_id="s", name="mine", components=PARTS, labels={"a": "\x1b[2J"})
        given(*BASE).when(command).then_raises(InvalidValue, "label 'a'")

    def test_only_the_components_own_events_are_read(self) -> None:
        boundary = DECIDER.boundary(RegisterStack(stack_id="s", name="mine", components=PAIR_1, activate=(USER,)))
        tags = {tag for item in boundary for tag in item.tags}
        assert component_tag("o") in tags
        assert not any(tag.startswith(("uses:", "activation:", "activates:")) for tag in tags)


class TestPairing:
    def test_both_stores_in_one_stack_are_paired(self) -> None:
        command = RegisterStack(stack_id="s", name="mine", components=PAIR_1)
        given(*BASE).when(command).then(paired("a1", "m1"), stack("s", name="mine", parts=PAIR_1))

    def test_paired_stores_stay_paired(self) -> None:
        command = RegisterStack(stack_id="s", name="mine", components=PAIR_1)
        given(*BASE, paired("a1", "m1")).when(command).then(stack("s", name="mine", parts=PAIR_1))

    def test_an_artifact_store_in_another_pairing_is_refused(self) -> None:
        command = RegisterStack(stack_id="s", name="mine", components=PAIR_1)
        given(*BASE, paired("a1", "m2")).when(command).then_raises(
            PairingConflict, "artifact store 'a1' is already paired with the metadata store 'm2'.*--decouple-stores"
        )

    def test_a_metadata_store_in_another_pairing_is_refused(self) -> None:
        command = RegisterStack(stack_id="s", name="mine", components=PAIR_1)
        given(*BASE, paired("a2", "m1")).when(command).then_raises(PairingConflict, "metadata store 'm1'")

    def test_a_pairing_that_ended_is_no_obstacle(self) -> None:
        command = RegisterStack(stack_id="s", name="mine", components=PAIR_1)
        given(*BASE, paired("a1", "m2"), unpaired("a1", "m2")).when(command).then(
            paired("a1", "m1"), stack("s", name="mine", parts=PAIR_1)
        )

    def test_decoupling_ends_the_old_pairings_of_both_sides_in_the_same_append(self) -> None:
        command = RegisterStack(stack_id="s", name="mine", components=PAIR_1, decouple_stores=True)
        given(*BASE, paired("a1", "m2"), paired("a2", "m1")).when(command).then(
            unpaired("a1", "m2"), unpaired("a2", "m1"), paired("a1", "m1"), stack("s", name="mine", parts=PAIR_1)
        )

    def test_a_refused_registration_decouples_nothing(self) -> None:
        command = RegisterStack(stack_id="s", name="DEFAULT", components=PAIR_1, decouple_stores=True)
        given(*BASE, paired("a1", "m2")).when(command).then_raises(AlreadyExists)

    def test_a_stack_without_metadata_store_pairs_nothing(self) -> None:
        command = RegisterStack(stack_id="s", name="mine", components=PARTS)
        given(*BASE, paired("a1", "m2")).when(command).then(MINE)

    def test_an_update_pairs_too(self) -> None:
        command = UpdateStack(stack_id="s", components=PAIR_1, labels={})
        given(*BASE, MINE).when(command).then(paired("a1", "m1"), changed(MINE, PAIR_1))

    def test_an_update_is_refused_where_a_store_is_in_another_pairing(self) -> None:
        command = UpdateStack(stack_id="s", components=PAIR_1, labels={})
        given(*BASE, MINE, paired("a1", "m2")).when(command).then_raises(PairingConflict)

    def test_an_update_that_leaves_the_stores_alone_is_not_asked_about_their_pairing(self) -> None:
        before = stack("s", parts=PAIR_1)
        parts = {**PAIR_1, ORCHESTRATOR: ("default-o",)}
        command = UpdateStack(stack_id="s", components=parts, labels={})
        given(*BASE, before, paired("a1", "m2")).when(command).then(changed(before, parts))

    def test_an_update_can_pair_the_stores_of_a_stack_anew(self) -> None:
        command = UpdateStack(stack_id="s", components=PAIR_1, labels={}, decouple_stores=True)
        given(*BASE, stack("s", parts=PAIR_1), paired("a1", "m2")).when(command).then(
            unpaired("a1", "m2"), paired("a1", "m1")
        )


class TestChanging:
    def test_components_and_labels_are_given_whole(self) -> None:
        command = UpdateStack(stack_id="s", components={**PARTS, ARTIFACT_STORE: ("a2",)}, labels={"k": "v"})
        given(*BASE, MINE).when(command).then(
            StackUpdated(
                stack_id="s",
                components={**PARTS, ARTIFACT_STORE: ("a2",)},
                labels={"k": "v"},
                previous_components=PARTS,
                previous_labels={},
            )
        )

    def test_an_update_that_changes_nothing_is_nothing(self) -> None:
        given(*BASE, MINE).when(UpdateStack(stack_id="s", components=PARTS, labels={})).then_nothing()

    def test_another_order_of_a_type_is_a_change(self) -> None:
        before = stack("s", parts={**PARTS, ALERTER: ("x", "y")})
        after = {**PARTS, ALERTER: ("y", "x")}
        given(*BASE, component("x", ALERTER), component("y", ALERTER), before).when(
            UpdateStack(stack_id="s", components=after, labels={})
        ).then(changed(before, after))

    def test_an_update_keeps_the_rules_for_components(self) -> None:
        command = UpdateStack(stack_id="s", components={ORCHESTRATOR: ("o",)}, labels={})
        given(*BASE, MINE).when(command).then_raises(Refused, "no artifact store")

    def test_a_stack_gets_another_name(self) -> None:
        given(*BASE, MINE).when(RenameStack(stack_id="s", name="yours")).then(
            StackRenamed(stack_id="s", name="yours", previous_name="mine", uses=("o", "a1"))
        )

    def test_renaming_to_the_same_name_is_nothing(self) -> None:
        given(*BASE, MINE).when(RenameStack(stack_id="s", name="mine")).then_nothing()

    def test_another_case_of_its_own_name_is_free(self) -> None:
        given(*BASE, MINE).when(RenameStack(stack_id="s", name="Mine")).then(
            StackRenamed(stack_id="s", name="Mine", previous_name="mine", uses=("o", "a1"))
        )

    def test_renaming_to_a_taken_name_is_refused(self) -> None:
        given(*BASE, MINE).when(RenameStack(stack_id="s", name="Default")).then_raises(AlreadyExists)

    def test_sharing_and_unsharing_are_marks(self) -> None:
        shared, unshared = StackShared(stack_id="s"), StackUnshared(stack_id="s")
        given(*BASE, MINE).when(ShareStack(stack_id="s")).then(shared)
        given(*BASE, MINE, shared).when(ShareStack(stack_id="s")).then_nothing()
        given(*BASE, MINE, shared).when(UnshareStack(stack_id="s")).then(unshared)
        given(*BASE, MINE, shared, unshared).when(UnshareStack(stack_id="s")).then_nothing()

    @pytest.mark.parametrize(
        "command",
        [
            UpdateStack(stack_id="default-s", components=PARTS, labels={}),
            RenameStack(stack_id="default-s", name="other"),
            ShareStack(stack_id="default-s"),
            UnshareStack(stack_id="default-s"),
            DeleteStack(stack_id="default-s", user_id="user"),
        ],
        ids=lambda command: type(command).__name__,
    )
    def test_the_default_stack_stays_as_it_is(self, command: StackCommand) -> None:
        given(*BASE).when(command).then_raises(BuiltIn, "stack copy")

    @pytest.mark.parametrize(
        "command",
        [
            UpdateStack(stack_id="s", components=PARTS, labels={}),
            RenameStack(stack_id="s", name="other"),
            ShareStack(stack_id="s"),
            UnshareStack(stack_id="s"),
            DeleteStack(stack_id="s", user_id="user"),
            ActivateStack(stack_id="s", scope=USER),
        ],
        ids=lambda command: type(command).__name__,
    )
    def test_a_stack_that_is_not_there_cannot_be_changed(self, command: StackCommand) -> None:
        given(*BASE).when(command).then_raises(NotFound, "no stack with the id 's'")
        given(*BASE, MINE, stack_gone(MINE)).when(command).then_raises(NotFound, "'mine' was deleted")


class TestDeleting:
    def test_a_stack_goes_and_its_components_stay(self) -> None:
        given(*BASE, MINE).when(DeleteStack(stack_id="s", user_id="user")).then(stack_gone(MINE))

    def test_the_users_active_stack_is_refused(self) -> None:
        given(*BASE, MINE, activated("s", user="user")).when(DeleteStack(stack_id="s", user_id="user")).then_raises(
            Refused, "'mine' is your active stack.*stack set"
        )

    def test_the_repositorys_active_stack_is_refused(self) -> None:
        command = DeleteStack(stack_id="s", user_id="user", repository_id="repo")
        given(*BASE, MINE, activated("s", repository="repo")).when(command).then_raises(Refused)

    def test_the_stack_that_the_environment_names_is_refused(self) -> None:
        command = DeleteStack(stack_id="s", user_id="user", environment_stack_id="s")
        given(*BASE, MINE).when(command).then_raises(Refused, "STACKLEDGER_ACTIVE_STACK")

    def test_the_users_active_stack_is_refused_in_a_repository_with_another_one_too(self) -> None:
        command = DeleteStack(stack_id="s", user_id="user", repository_id="repo")
        activations = activated("s", user="user"), activated("default-s", repository="repo")
        given(*BASE, MINE, *activations).when(command).then_raises(Refused, "'mine' is your active stack.*--global")

    def test_what_is_active_is_refused_whatever_the_environment_names(self) -> None:
        command = DeleteStack(stack_id="s", user_id="user", repository_id="repo", environment_stack_id="default-s")
        given(*BASE, MINE, activated("s", user="user")).when(command).then_raises(Refused)
        given(*BASE, MINE, activated("s", repository="repo")).when(command).then_raises(Refused, "in this repository")

    def test_the_last_activation_counts(self) -> None:
        activations = activated("s", user="user"), activated("default-s", user="user")
        given(*BASE, MINE, *activations).when(DeleteStack(stack_id="s", user_id="user")).then(stack_gone(MINE))

    def test_somebody_elses_active_stack_may_go(self) -> None:
        activations = activated("s", user="other"), activated("s", repository="elsewhere")
        given(*BASE, MINE, *activations).when(DeleteStack(stack_id="s", user_id="user")).then(stack_gone(MINE))

    def test_components_that_no_other_stack_uses_are_taken_along(self) -> None:
        command = DeleteStack(stack_id="s", user_id="user", take_along=("o", "a1"))
        given(*BASE, MINE).when(command).then(stack_gone(MINE), gone(ORC), gone(A1))

    def test_a_component_that_another_stack_uses_stays(self) -> None:
        command = DeleteStack(stack_id="s", user_id="user", take_along=("o", "a1"))
        other = stack("s2", parts={**PARTS, ARTIFACT_STORE: ("a2",)})
        given(*BASE, MINE, other).when(command).then(stack_gone(MINE), gone(A1))

    def test_a_component_that_another_stack_came_to_use_later_stays(self) -> None:
        command = DeleteStack(stack_id="s", user_id="user", take_along=("o", "a1"))
        other = stack("s2")
        given(*BASE, MINE, other, changed(other, PARTS)).when(command).then(stack_gone(MINE))

    def test_a_component_that_another_stack_used_before_is_taken_along(self) -> None:
        command = DeleteStack(stack_id="s", user_id="user", take_along=("a1",))
        other = stack("s2", parts=PARTS)
        given(*BASE, MINE, other, changed(other, DEFAULT_PARTS)).when(command).then(stack_gone(MINE), gone(A1))

    def test_built_in_components_stay(self) -> None:
        mine = stack("s")
        command = DeleteStack(stack_id="s", user_id="user", take_along=("default-o", "default-a"))
        given(*BASE, mine).when(command).then(stack_gone(mine))

    def test_a_component_that_the_stack_does_not_have_stays(self) -> None:
        command = DeleteStack(stack_id="s", user_id="user", take_along=("a2", "unknown"))
        given(*BASE, MINE).when(command).then(stack_gone(MINE))

    def test_a_pairing_ends_once_when_both_its_stores_are_taken_along(self) -> None:
        mine = stack("s", parts=PAIR_1)
        command = DeleteStack(stack_id="s", user_id="user", take_along=("a1", "m1"))
        given(*BASE, mine, paired("a1", "m1")).when(command).then(
            stack_gone(mine), unpaired("a1", "m1", "deleted"), gone(A1), gone(M1)
        )

    def test_without_taking_along_no_users_are_read(self) -> None:
        boundary = DECIDER.boundary(DeleteStack(stack_id="s", user_id="user"))
        assert not any(tag.startswith("uses:") for item in boundary for tag in item.tags)
        boundary = DECIDER.boundary(DeleteStack(stack_id="s", user_id="user", take_along=("a1",)))
        assert uses_tag("a1") in {tag for item in boundary for tag in item.tags}


class TestActivating:
    @pytest.mark.parametrize("scope", [USER, REPOSITORY])
    def test_a_stack_becomes_active(self, scope: Scope) -> None:
        given(*BASE, MINE).when(ActivateStack(stack_id="s", scope=scope)).then(activated("s", **{scope.kind: scope.id}))

    def test_activating_the_active_one_is_nothing(self) -> None:
        given(*BASE, MINE, activated("s", user="user")).when(ActivateStack(stack_id="s", scope=USER)).then_nothing()

    def test_one_user_is_not_another(self) -> None:
        given(*BASE, MINE, activated("s", user="other")).when(ActivateStack(stack_id="s", scope=USER)).then(
            activated("s", user="user")
        )

    def test_the_default_stack_is_active_for_a_user_who_activated_nothing(self) -> None:
        given(*FRESH).when(ActivateStack(stack_id="default-s", scope=USER)).then_nothing()

    def test_the_default_stack_can_be_made_the_one_of_a_repository(self) -> None:
        given(*FRESH).when(ActivateStack(stack_id="default-s", scope=REPOSITORY)).then(
            activated("default-s", repository="repo")
        )

    def test_one_can_go_back_to_the_default_stack(self) -> None:
        given(*BASE, MINE, activated("s", user="user")).when(ActivateStack(stack_id="default-s", scope=USER)).then(
            activated("default-s", user="user")
        )

    def test_updates_of_the_stack_are_not_read(self) -> None:
        boundary = DECIDER.boundary(ActivateStack(stack_id="s", scope=USER))
        assert StackUpdated.TYPE not in {each for item in boundary for each in item.types}


class TestAssembling:
    ANEW = RegisterComponent(component_id="a9", type=ARTIFACT_STORE, name="a1", flavor="local")

    def test_a_deleted_stack_and_a_deleted_component_are_made_anew_in_one_append(self) -> None:
        register = RegisterStack(stack_id="s9", name="mine", components=PARTS_9)
        given(*BASE, MINE, stack_gone(MINE), gone(A1)).when(AssembleStack(new=(self.ANEW,), stack=register)).then(
            component("a9", name="a1"), stack("s9", name="mine", parts=PARTS_9)
        )

    def test_a_stack_that_is_there_is_updated(self) -> None:
        mine = stack("s", name="mine", parts={**PARTS, ARTIFACT_STORE: ("a2",)})
        update = UpdateStack(stack_id="s", components=PARTS_9, labels={})
        given(*BASE, mine, gone(A1)).when(AssembleStack(new=(self.ANEW,), stack=update)).then(
            component("a9", name="a1"), changed(mine, PARTS_9)
        )

    def test_a_taken_name_of_a_component_refuses_all_of_it(self) -> None:
        register = RegisterStack(stack_id="s9", name="mine", components=PARTS_9)
        given(*BASE).when(AssembleStack(new=(self.ANEW,), stack=register)).then_raises(
            AlreadyExists, "artifact store named 'a1'"
        )

    def test_a_taken_name_of_the_stack_refuses_all_of_it(self) -> None:
        register = RegisterStack(stack_id="s9", name="default", components=PARTS_9)
        given(*BASE, gone(A1)).when(AssembleStack(new=(self.ANEW,), stack=register)).then_raises(
            AlreadyExists, "stack named 'default'"
        )

    def test_two_new_components_cannot_have_one_name(self) -> None:
        twin = RegisterComponent(component_id="a8", type=ARTIFACT_STORE, name="A1", flavor="local")
        register = RegisterStack(stack_id="s9", name="mine", components=PARTS_9)
        given(*BASE, gone(A1)).when(AssembleStack(new=(self.ANEW, twin), stack=register)).then_raises(AlreadyExists)

    def test_the_default_stack_cannot_be_assembled_otherwise(self) -> None:
        update = UpdateStack(stack_id="default-s", components=PARTS, labels={})
        given(*BASE).when(AssembleStack(new=(), stack=update)).then_raises(BuiltIn)
