"""Keys: whose word counts, and that a list of coordinators comes with every change of them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from stackledger.domain.errors import AlreadyExists, InvalidName, InvalidValue, NotFound, Refused
from stackledger.domain.events.fleet import KeyEnrolled, KeyRevoked, KeyRole, TrustPublished
from stackledger.domain.keys import DECIDER, MAX_COORDINATORS, EnrollKey, Publishing, RenewTrust, RevokeKey
from tests.support.given import specification

given = specification(DECIDER)
NOW = 1_795_000_000_000_000
LATER = NOW + 90 * 24 * 3600 * 1_000_000
NUMBER = NOW // 1_000_000


class Root:
    def __init__(self, public: str = "root") -> None:
        self.public = public

    def sealed(self, number: int, expires: int, coordinators: Mapping[str, str]) -> bytes:
        return f"{self.public} {number} {expires} {sorted(coordinators.items())}".encode()


PUBLISHING = Publishing(Root(), NOW, LATER)


def enrolled(key_id: str, role: KeyRole = "worker", name: str = "") -> KeyEnrolled:
    queues = ("default",) if role == "worker" else ()
    return KeyEnrolled(key_id=key_id, role=role, name=name or key_id, public=f"public of {key_id}", queues=queues)


def enroll(key_id: str, role: KeyRole = "worker", name: str = "", publishing: Publishing | None = None) -> EnrollKey:
    return EnrollKey(**enrolled(key_id, role, name).model_dump(), publishing=publishing)


def published(*coordinators: str, number: int = NUMBER, root: str = "root") -> TrustPublished:
    keys = {key_id: f"public of {key_id}" for key_id in coordinators}
    message = Root(root).sealed(number, LATER, keys).hex()
    return TrustPublished(number=number, expires=LATER, root=root, coordinators=keys, message=message)


@pytest.mark.parametrize("role", ["worker", "submitter"])
def test_a_worker_or_submitter_needs_no_root_key(role: KeyRole) -> None:
    given().when(enroll("k", role)).then(enrolled("k", role))
    given(enrolled("k", role)).when(RevokeKey("k")).then(KeyRevoked(key_id="k"))


def test_a_coordinator_comes_with_the_list_that_it_is_on() -> None:
    given(enrolled("w")).when(enroll("c", "coordinator", publishing=PUBLISHING)).then(
        enrolled("c", "coordinator"), published("c")
    )


def test_a_revoked_coordinator_leaves_the_list_in_the_same_append() -> None:
    given(enrolled("c", "coordinator"), enrolled("d", "coordinator"), published("c", "d")).when(
        RevokeKey("c", PUBLISHING)
    ).then(KeyRevoked(key_id="c"), published("d", number=NUMBER + 1))


@pytest.mark.parametrize("command", [enroll("c", "coordinator"), RevokeKey("b")], ids=["enroll", "revoke"])
def test_without_the_root_key_nobody_changes_which_coordinators_there_are(command: EnrollKey | RevokeKey) -> None:
    given(enrolled("b", "coordinator"), published("b")).when(command).then_raises(Refused, "root key")


@pytest.mark.parametrize(
    "command",
    [
        enroll("c", "coordinator", publishing=Publishing(Root("other"), NOW, LATER)),
        RevokeKey("b", Publishing(Root("other"), NOW, LATER)),
        RenewTrust(Publishing(Root("other"), NOW, LATER)),
    ],
    ids=["enroll", "revoke", "renew"],
)
def test_no_other_root_key_takes_the_place_of_the_first(command: EnrollKey | RevokeKey | RenewTrust) -> None:
    lists = (published("b"), published("b", "x", number=2**60, root="other"))
    given(enrolled("b", "coordinator"), *lists).when(command).then_raises(Refused, "not the one that this log goes by")


def test_a_list_of_another_root_key_in_the_log_is_passed_over() -> None:
    lists = (published("b"), published("b", "x", number=2**60, root="other"))
    given(enrolled("b", "coordinator"), *lists).when(RenewTrust(PUBLISHING)).then(published("b", number=NUMBER + 1))


def test_numbers_grow_with_time_so_that_a_log_put_back_from_a_backup_goes_on_above_what_workers_have_seen() -> None:
    before = published("b", number=7)
    given(enrolled("b", "coordinator"), before).when(RenewTrust(PUBLISHING)).then(published("b", number=NUMBER))


def test_numbers_grow_where_the_clock_stepped_back() -> None:
    before = published("b", number=NUMBER + 3_600)
    given(enrolled("b", "coordinator"), before).when(RenewTrust(PUBLISHING)).then(published("b", number=NUMBER + 3_601))


def test_a_list_that_has_expired_already_is_refused() -> None:
    given().when(RenewTrust(Publishing(Root(), NOW, NOW))).then_raises(InvalidValue, "expired already")


def test_two_keys_that_count_never_share_a_name() -> None:
    given(enrolled("k", name="Anna")).when(enroll("l", name="anna")).then_raises(AlreadyExists, "'Anna' already")
    given(enrolled("k", name="anna"), KeyRevoked(key_id="k")).when(enroll("l", name="anna")).then(
        enrolled("l", name="anna")
    )


def test_a_key_is_enrolled_once() -> None:
    given(enrolled("k")).when(enroll("k", name="other")).then_raises(
        AlreadyExists, "enrolled already, as 'k' of a worker for default .*make another one"
    )


def test_a_revoked_key_never_counts_again() -> None:
    given(enrolled("k"), KeyRevoked(key_id="k")).when(enroll("k")).then_raises(Refused, "was revoked")
    given(enrolled("k"), KeyRevoked(key_id="k")).when(RevokeKey("k")).then_nothing()


def test_what_was_never_enrolled_cannot_be_revoked() -> None:
    given().when(RevokeKey("k")).then_raises(NotFound, "'k'")


def test_workers_are_enrolled_for_queues_and_nobody_else_is() -> None:
    given().when(enroll("k")._replace(queues=())).then_raises(InvalidValue, "queues")
    given().when(enroll("k")._replace(queues=("gpu", "gpu"))).then(
        enrolled("k").model_copy(update={"queues": ("gpu",)})
    )
    given().when(enroll("k", "submitter")._replace(queues=("gpu",))).then_raises(InvalidValue, "no queues")
    given().when(enroll("k")._replace(queues=("../x",))).then_raises(InvalidName)
    given().when(enroll("k", name="\x1b[2J")).then_raises(InvalidName)


def test_a_list_stays_short_enough_for_a_message() -> None:
    many = [enrolled(f"c{number}", "coordinator") for number in range(MAX_COORDINATORS)]
    given(*many).when(enroll("c", "coordinator", publishing=PUBLISHING)).then_raises(Refused, "already")
