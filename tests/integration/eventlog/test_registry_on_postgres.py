"""Random commands over a log on PostgreSQL: no rule ever breaks there either."""

from __future__ import annotations

from eventsourcing.dcb.api import DCBRecorder
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from stackledger.eventlog.postgres import PostgresRecorder
from stackledger.eventlog.postgres_server import Server
from tests.support.postgres import Databases, make_empty_log
from tests.support.registry_machine import Registry


def test_no_sequence_of_commands_breaks_a_rule_of_the_registry(postgres: Databases) -> None:
    with postgres.database() as address:

        class OnPostgres(Registry):
            def made(self) -> DCBRecorder:
                make_empty_log(address)
                return PostgresRecorder(Server(address))

            def teardown(self) -> None:
                assert isinstance(self.recorder, PostgresRecorder)
                self.recorder.close()

        examples = max(10, settings().max_examples // 5)
        run_state_machine_as_test(OnPostgres, settings=settings(stateful_step_count=30, max_examples=examples))
