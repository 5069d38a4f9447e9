"""What the orchestrator over RabbitMQ can be configured with, and which queue a step waits in."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackledger.domain.errors import InvalidConfiguration, LiteralSecret, PipelineError
from stackledger.flavors.rabbitmq_orchestrator import RabbitMQOrchestratorConfig, RabbitMQOrchestratorFlavor
from stackledger.flavors.validation import configured, validated
from stackledger.pipelines.resources import ResourceSettings

URL = "env:STACKLEDGER_AMQP_URL"
QUEUES = '["default", {"name": "small", "cpu_count": 1, "memory": "1GB"}, {"name": "gpu", "gpu_count": 2}]'


def kept(**given: object) -> dict[str, object]:
    return dict(validated(RabbitMQOrchestratorFlavor, {"url": URL, **given}))


def config(url: str = "amqp://localhost", **given: object) -> RabbitMQOrchestratorConfig:
    environment = {"STACKLEDGER_AMQP_URL": url}
    found = configured(RabbitMQOrchestratorFlavor, kept(**given), lambda _: {}, environment=environment)  # type: ignore[arg-type]
    assert isinstance(found, RabbitMQOrchestratorConfig)
    return found


def test_a_url_is_enough() -> None:
    assert kept() == {"url": URL}
    assert (config().queue_names, config().lease_after, config().heartbeat) == (("default",), 30, 10)


@pytest.mark.parametrize("url", ["{{broker.url}}", "amqps://user:{{broker.password}}@host:5671/v", "amqp://localhost"])
def test_a_url_may_be_or_hold_a_reference(url: str) -> None:
    assert kept(url=url)["url"] == url


def test_a_url_with_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(LiteralSecret, match="holds a password") as refused:
        kept(url="amqps://user:hunter22@host")
    assert "hunter22" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://host", "host:5672", "amqps://", "amqp://host:port", "amqp://host/v?a=b"])
def test_what_is_no_address_of_a_broker_is_refused(url: str) -> None:
    with pytest.raises(InvalidConfiguration, match="'url'"):
        kept(url=url)


def test_a_value_that_is_no_address_is_refused_when_it_is_used_and_not_repeated() -> None:
    with pytest.raises(InvalidConfiguration, match="begins neither with amqp://") as refused:
        config("http://user:hunter22@host")
    assert "hunter22" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"client_key": "key.pem"}, "given together or not at all"),
        ({"url": "amqp://host", "ca_certificate": "ca.pem"}, "begins with amqps://"),
        ({"queues": "[]"}, "at least 1"),
        ({"queues": '["a", "a"]'}, "two of them are called 'a'"),
        ({"queues": '["outcomes"]'}, "cannot be the name of a queue"),
        ({"queues": '["../a"]'}, "cannot be the name of a queue"),
        ({"queues": '[{"name": "a", "memory": "much"}]'}, "not an amount of memory"),
        ({"queues": '[{"name": "a", "gpus": 1}]'}, "gpus"),
        ({"heartbeat": 0}, "heartbeat"),
        ({"lease": 3}, "Did you mean 'lease_after'"),
    ],
)
def test_what_can_have_no_effect_is_refused(given: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        kept(**given)
    assert told in str(refused.value)


def test_files_are_named_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert kept(ca_certificate="ca.pem")["ca_certificate"] == str(tmp_path / "ca.pem")


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("amqp://localhost", True),
        ("amqp://guest@127.0.0.1:5672/v", True),
        ("amqps://[::1]", True),
        ("amqps://rabbit.example.org", False),
        ("amqp://10.0.0.1", False),
    ],
)
def test_a_broker_is_local_where_only_this_machine_reaches_it(url: str, *, local: bool) -> None:
    assert RabbitMQOrchestratorFlavor.is_local(config(url)) is local


@pytest.mark.parametrize(
    ("chosen", "resources", "queue"),
    [
        (None, None, "default"),
        ("gpu", None, "gpu"),
        ("small", ResourceSettings(cpu_count=8), "small"),
        (None, ResourceSettings(cpu_count=8, memory="64GB"), "default"),
        (None, ResourceSettings(gpu_count=0), "default"),
        (None, ResourceSettings(gpu_count=1), "gpu"),
    ],
)
def test_a_step_waits_in_the_queue_that_it_chose_or_in_the_first_that_has_enough(
    chosen: str | None, resources: ResourceSettings | None, queue: str
) -> None:
    assert config(queues=QUEUES).queue_for("train", chosen, resources) == queue


def test_limits_of_a_queue_hold() -> None:
    queues = config(queues='[{"name": "small", "cpu_count": 1, "memory": "1GB"}, "large"]')
    assert queues.queue_for("s", None, ResourceSettings(cpu_count=1, memory="1000MB")) == "small"
    assert queues.queue_for("s", None, ResourceSettings(cpu_count=1.5)) == "large"
    assert queues.queue_for("s", None, ResourceSettings(memory="1GiB")) == "large"


def test_a_queue_that_is_not_there_is_refused_with_near_names() -> None:
    with pytest.raises(PipelineError, match=r"'train' is to wait in the queue 'defalt'.*Did you mean 'default'"):
        config().queue_for("train", "defalt", None)


def test_what_no_queue_has_is_refused() -> None:
    with pytest.raises(
        PipelineError, match=r"needs 3 GPUs, .*: default has no GPU; small has 1 CPUs, .*; gpu has 2 GPUs\."
    ):
        config(queues=QUEUES).queue_for("train", None, ResourceSettings(gpu_count=3))
