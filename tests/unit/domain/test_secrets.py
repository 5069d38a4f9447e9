from __future__ import annotations

import pytest

from stackledger.domain.errors import AlreadyExists, InUse, InvalidName, InvalidValue, NotFound
from stackledger.domain.events.components import SecretCreated, SecretDeleted, SecretRenamed, SecretUpdated
from stackledger.domain.secrets import (
    DECIDER,
    CreateSecret,
    DeleteSecret,
    RenameSecret,
    SecretCommand,
    UpdateSecret,
)
from tests.support.given import specification
from tests.support.registry import component, gone, updated

given = specification(DECIDER)

AWS = SecretCreated(secret_id="s1", name="aws", keys=("key", "token"))
USER = component("a1", name="mine", configuration={"key": "{{aws.key}}"}, secrets=("s1",))


class TestCreating:
    def test_name_and_keys_become_known(self) -> None:
        given().when(CreateSecret(secret_id="s1", name="aws", keys=("key", "token", "key"))).then(AWS)

    @pytest.mark.parametrize("name", ["aws", "AWS"])
    def test_a_name_is_taken_ignoring_case(self, name: str) -> None:
        given(AWS).when(CreateSecret(secret_id="s2", name=name, keys=("key",))).then_raises(
            AlreadyExists, "secret update"
        )

    def test_the_name_of_a_deleted_secret_is_free(self) -> None:
        given(AWS, SecretDeleted(secret_id="s1", name="aws")).when(
            CreateSecret(secret_id="s2", name="aws", keys=("key",))
        ).then(SecretCreated(secret_id="s2", name="aws", keys=("key",)))

    def test_a_name_follows_a_rename(self) -> None:
        renamed = SecretRenamed(secret_id="s1", name="gcp", previous_name="aws")
        given(AWS, renamed).when(CreateSecret(secret_id="s2", name="aws", keys=("key",))).then(
            SecretCreated(secret_id="s2", name="aws", keys=("key",))
        )
        given(AWS, renamed).when(CreateSecret(secret_id="s2", name="gcp", keys=("key",))).then_raises(AlreadyExists)

    def test_it_has_a_key_at_least(self) -> None:
        given().when(CreateSecret(secret_id="s1", name="aws", keys=())).then_raises(InvalidValue, "no key")

    @pytest.mark.parametrize("key", ["", "a.b", "a b", "\x1b", "\xe9", "{{", "x" * 129, "a\n"])
    def test_a_key_that_no_reference_could_name_is_refused(self, key: str) -> None:
        given().when(CreateSecret(secret_id="s1", name="aws", keys=(key,))).then_raises(InvalidName, "1 to 128")


class TestUpdating:
    def test_new_values_are_noted_by_key(self) -> None:
        given(AWS).when(UpdateSecret(secret_id="s1", put=("token", "new"))).then(
            SecretUpdated(
                secret_id="s1", keys=("key", "token", "new"), previous_keys=("key", "token"), changed=("token", "new")
            )
        )

    def test_a_key_can_be_removed(self) -> None:
        given(AWS).when(UpdateSecret(secret_id="s1", remove=("key",))).then(
            SecretUpdated(secret_id="s1", keys=("token",), previous_keys=("key", "token"), changed=())
        )

    def test_no_change_is_nothing(self) -> None:
        given(AWS).when(UpdateSecret(secret_id="s1")).then_nothing()

    def test_an_unknown_key_cannot_be_removed(self) -> None:
        given(AWS).when(UpdateSecret(secret_id="s1", remove=("tokn",))).then_raises(NotFound, "Did you mean 'token'")

    def test_a_key_cannot_come_and_go_at_once(self) -> None:
        given(AWS).when(UpdateSecret(secret_id="s1", put=("key",), remove=("key",))).then_raises(InvalidValue)

    def test_the_last_key_stays(self) -> None:
        given(AWS).when(UpdateSecret(secret_id="s1", remove=("key", "token"))).then_raises(InvalidValue, "no key")

    def test_a_bad_key_is_refused(self) -> None:
        given(AWS).when(UpdateSecret(secret_id="s1", put=("a.b",))).then_raises(InvalidName)

    def test_a_key_in_use_is_not_removed_and_its_user_named(self) -> None:
        given(AWS, USER).when(UpdateSecret(secret_id="s1", remove=("key",))).then_raises(
            InUse, "cannot lose 'key', because 1 component refers to it: 'a1'.*Update their"
        )

    def test_another_key_of_a_secret_in_use_can_be_removed(self) -> None:
        given(AWS, USER).when(UpdateSecret(secret_id="s1", remove=("token",))).then(
            SecretUpdated(secret_id="s1", keys=("key",), previous_keys=("key", "token"), changed=())
        )

    def test_a_reference_that_an_update_brought_counts_and_one_that_it_ended_does_not(self) -> None:
        moved = updated(USER, {"key": "{{AWS.token}}"}, ("s1",))
        given(AWS, USER, moved).when(UpdateSecret(secret_id="s1", remove=("token",))).then_raises(InUse)
        given(AWS, USER, moved).when(UpdateSecret(secret_id="s1", remove=("key",))).then(
            SecretUpdated(secret_id="s1", keys=("token",), previous_keys=("key", "token"), changed=())
        )

    def test_new_values_do_not_depend_on_users(self) -> None:
        boundary = DECIDER.boundary(UpdateSecret(secret_id="s1", put=("key",)))
        assert not any(tag.startswith("references:") for item in boundary for tag in item.tags)


class TestRenaming:
    def test_a_secret_gets_another_name(self) -> None:
        given(AWS).when(RenameSecret(secret_id="s1", name="gcp")).then(
            SecretRenamed(secret_id="s1", name="gcp", previous_name="aws")
        )

    def test_renaming_to_the_same_name_is_nothing(self) -> None:
        given(AWS, USER).when(RenameSecret(secret_id="s1", name="aws")).then_nothing()

    def test_another_case_of_its_name_is_free_even_in_use(self) -> None:
        given(AWS, USER).when(RenameSecret(secret_id="s1", name="AWS")).then(
            SecretRenamed(secret_id="s1", name="AWS", previous_name="aws")
        )

    def test_a_taken_name_is_refused(self) -> None:
        other = SecretCreated(secret_id="s2", name="gcp", keys=("key",))
        given(AWS, other).when(RenameSecret(secret_id="s1", name="GCP")).then_raises(AlreadyExists)

    def test_a_secret_in_use_keeps_its_name(self) -> None:
        given(AWS, USER).when(RenameSecret(secret_id="s1", name="gcp")).then_raises(InUse, "cannot be renamed.*'a1'")


class TestDeleting:
    def test_an_unused_secret_goes(self) -> None:
        given(AWS).when(DeleteSecret(secret_id="s1")).then(SecretDeleted(secret_id="s1", name="aws"))

    def test_a_secret_in_use_stays(self) -> None:
        given(AWS, USER).when(DeleteSecret(secret_id="s1")).then_raises(InUse, "'a1'")

    def test_references_end_with_the_component_or_its_update(self) -> None:
        given(AWS, USER, gone(USER)).when(DeleteSecret(secret_id="s1")).then(SecretDeleted(secret_id="s1", name="aws"))
        given(AWS, USER, updated(USER, {})).when(DeleteSecret(secret_id="s1")).then(
            SecretDeleted(secret_id="s1", name="aws")
        )

    def test_a_component_that_came_to_refer_to_it_later_counts(self) -> None:
        before = component("a1")
        given(AWS, before, updated(before, {"k": ["{{aws.token}}"]}, ("s1",))).when(
            DeleteSecret(secret_id="s1")
        ).then_raises(InUse, "'a1'")


@pytest.mark.parametrize(
    "command",
    [
        UpdateSecret(secret_id="s1", put=("key",)),
        RenameSecret(secret_id="s1", name="gcp"),
        DeleteSecret(secret_id="s1"),
    ],
    ids=lambda command: type(command).__name__,
)
def test_a_secret_that_is_not_there_cannot_be_changed(command: SecretCommand) -> None:
    given().when(command).then_raises(NotFound, "no secret with the id 's1'")
    given(AWS, SecretDeleted(secret_id="s1", name="aws")).when(command).then_raises(NotFound, "'aws' was deleted")
