"""What a worker that joins by a file goes by, and what it keeps from the steps that it executes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stackledger.domain.errors import InvalidConfiguration, InvalidValue, NotFound, SecretError
from stackledger.workers.fleet.joining import Join, read_join

PASSWORD = "Tr0ub4dor"
SECRETS = {"STACKLEDGER_SECRET_BROKER_PASSWORD": PASSWORD}


def join(url: str = "amqps://me:{{broker.password}}@host:5671/v", **configuration: Any) -> Join:
    return Join(
        log_id="log",
        orchestrator_id="o",
        orchestrator="fleet",
        configuration={"url": url, **configuration},
        root="ab" * 32,
    )


def written(folder: Path, text: str) -> Path:
    path = folder / "join.json"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_references_are_resolved_around_the_worker() -> None:
    config = join(queues=["a", "b"], lease_after=7).settings(environment=SECRETS)
    assert (config.url, config.queue_names, config.lease_after) == (
        f"amqps://me:{PASSWORD}@host:5671/v",
        ("a", "b"),
        7,
    )
    assert join("env:HERE").settings(environment={"HERE": "amqp://h"}).url == "amqp://h"


@pytest.mark.parametrize(
    ("url", "environment", "error"),
    [
        ("{{broker.url}}", {}, SecretError),
        ("{{broker.url}}", SECRETS, SecretError),
        ("env:HERE", {}, SecretError),
        ("env:HERE", {"HERE": f"http://me:{PASSWORD}@h"}, InvalidConfiguration),
    ],
)
def test_what_is_missing_or_wrong_around_it_is_told_without_a_secret(
    url: str, environment: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error) as raised:
        join(url).settings(environment=environment)
    assert PASSWORD not in str(raised.value)


def test_steps_see_neither_the_way_to_the_broker_nor_that_to_the_log() -> None:
    environment = {
        **SECRETS,
        "STACKLEDGER_LOG": "postgresql://me:pw@h/log",
        "COPY": f"before amqps://me:{PASSWORD}@host:5671/v after",
        "STACKLEDGER_SECRET_STORE_KEY": "for the store",
        "HOME": "/home/me",
    }
    joined = join()
    left = joined.environment_of_steps(joined.settings(environment=environment), environment)
    assert set(left) == {"STACKLEDGER_SECRET_STORE_KEY", "HOME"}
    by_variable = join("env:BROKER")
    environment = {"BROKER": "amqp://h", "OTHER": "x"}
    config = by_variable.settings(environment=environment)
    assert by_variable.environment_of_steps(config, environment) == {"OTHER": "x"}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    assert read_join(written(tmp_path, join().model_dump_json())) == join()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        join().model_dump_json()[:-5],
        join().model_dump_json().replace('"format":1', '"format":2'),
        join().model_dump_json().replace("ab" * 32, "ab" * 31 + "AB"),
        join().model_dump_json().replace('"log_id"', '"log"'),
        join().model_dump_json() + " " * 300_000 + "x",
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidValue, match="is no join file"):
        read_join(written(tmp_path, text))


def test_one_that_others_could_have_changed_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, join().model_dump_json())
    for mode in (0o620, 0o602):
        path.chmod(mode)
        with pytest.raises(InvalidValue, match="Others than its owner can change"):
            read_join(path)
    path.chmod(0o644)
    assert read_join(path) == join()


def test_one_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="cannot be read"):
        read_join(tmp_path / "nowhere")
    with pytest.raises(NotFound, match="cannot be read"):
        read_join(tmp_path)
    path = tmp_path / "binary"
    path.write_bytes(b"\xff\xfe")
    path.chmod(0o600)
    with pytest.raises(InvalidValue):
        read_join(path)
