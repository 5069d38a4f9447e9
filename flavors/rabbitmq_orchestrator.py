"""The orchestrator that has steps executed by workers, on any number of machines, over RabbitMQ."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import PipelineError, near_names
from stackledger.domain.names import quoted
from stackledger.flavors.flavor import Flavor, FlavorConfig, clear_text_field, holds_reference
from stackledger.flavors.hosts import is_loopback
from stackledger.flavors.local_paths import absolute
from stackledger.pipelines.resources import ResourceSettings, memory_bytes

_QUEUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_TAKEN = frozenset({"outcomes", "parked"})
# What the fleet's own queues are called.

_DAY = 24 * 3600.0


class StepQueue(BaseModel):
    """A queue of steps, and the most that a step in it may need; the workers that serve it have as much."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    name: str
    cpu_count: float | None = Field(None, gt=0)
    gpu_count: int = Field(0, ge=0)
    memory: str | None = None

    @field_validator("name")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if _QUEUE.fullmatch(value) is None or value in _TAKEN:
            raise ValueError(
                f"{quoted(value)} cannot be the name of a queue: up to 100 letters, digits and -, _, . can, but not"
                f" {' or '.join(sorted(_TAKEN))}"
            )
        return value

    @field_validator("memory")
    @classmethod
    def _is_memory(cls, value: str | None) -> str | None:
        if value is not None:
            memory_bytes(value)
        return value

    def has_room(self, resources: ResourceSettings) -> bool:
        """Say whether a step that needs this may wait here. CPUs and memory without a limit are as many as you like."""
        return (
            (self.cpu_count is None or (resources.cpu_count or 0) <= self.cpu_count)
            and (resources.gpu_count or 0) <= self.gpu_count
            and (
                self.memory is None
                or resources.memory is None
                or memory_bytes(resources.memory) <= memory_bytes(self.memory)
            )
        )


def _by_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class RabbitMQOrchestratorConfig(FlavorConfig):
    """Where the broker is, which queues there are, and how long what may take."""

    url: str = Field(
        description="the broker: env:STACKLEDGER_AMQP_URL, {{broker.url}}, or"
        " amqps://user:{{broker.password}}@host:5671/virtual-host, the password with %40 for @ and the like"
    )
    ca_certificate: str | None = clear_text_field(
        None, description="file with the certificates of who may sign the broker's; the system's if not given"
    )
    client_certificate: str | None = clear_text_field(
        None, description="file with a certificate to show to the broker, on every machine of the fleet"
    )
    client_key: str | None = clear_text_field(None, description="file with the key of the client's certificate")
    queues: tuple[Annotated[StepQueue, BeforeValidator(_by_name)], ...] = Field(
        (StepQueue(name="default"),),
        min_length=1,
        description="queues of steps, by name or with cpu_count, gpu_count and memory: the most that a step there may"
        " need; a step waits in the first one that has enough, or in that of @step(queue=...)",
    )
    lease_after: float = Field(
        30.0, ge=1, le=600, description="seconds after which a step that still runs is claimed by its worker"
    )
    heartbeat: float = Field(10.0, ge=0.5, le=60, description="seconds between two signs of life of a claimed step")
    broker_heartbeat: int = Field(20, ge=5, le=600, description="seconds after which a silent connection is given up")
    prefetch: int = Field(500, ge=1, le=10_000, description="outcomes that a coordinator takes from the broker at once")
    step_timeout: float | None = Field(
        None, gt=0, le=30 * _DAY, description="seconds after which an attempt at a step fails"
    )
    step_retries: int = Field(
        0, ge=0, le=100, description="how often a failed step is tried again that says nothing of retries"
    )
    workers: int = Field(1, ge=0, le=100, description="workers that `stack up` starts on this machine for each queue")
    slots: int = Field(2, ge=1, le=1_000, description="steps that each of these workers executes at once")

    @field_validator("url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        # What is wrong is said without the value: there may be a password in it.
        parts = urlsplit(value)
        if parts.scheme not in {"amqp", "amqps"}:
            raise ValueError("it begins neither with amqp:// nor with amqps://, as amqps://host:5671/virtual-host does")
        if not parts.hostname or parts.query or parts.fragment or not value.isprintable() or " " in value:
            raise ValueError("it is not the address of a broker, as amqps://host:5671/virtual-host is")
        _ = parts.port  # raises ValueError for what is none
        return value

    @field_validator("ca_certificate", "client_certificate", "client_key")
    @classmethod
    def _is_path(cls, value: str | None) -> str | None:
        return None if value is None else absolute(value, ComponentType.ORCHESTRATOR)

    @field_validator("queues")
    @classmethod
    def _are_different(cls, value: tuple[StepQueue, ...]) -> tuple[StepQueue, ...]:
        names = [queue.name for queue in value]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two of them are called {quoted(twice)}")
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("'client_certificate' and 'client_key' are given together or not at all")
        if (self.ca_certificate or self.client_certificate) and not (
            self.url.startswith("amqps:") or holds_reference(self.url)
        ):
            raise ValueError("certificates belong to a 'url' that begins with amqps://")
        return self

    @property
    def queue_names(self) -> tuple[str, ...]:
        """The names of the queues, in their order."""
        return tuple(queue.name for queue in self.queues)

    def queue_for(self, step: str, chosen: str | None, resources: ResourceSettings | None) -> str:
        """Return in which queue a step waits, or raise PipelineError where there is none for it."""
        if chosen is not None:
            if chosen not in self.queue_names:
                raise PipelineError(
                    f"The step {step!r} is to wait in the queue {quoted(chosen)}, which its orchestrator has not.",
                    near=near_names(chosen, self.queue_names),
                    hint=f"It has {', '.join(self.queue_names)}; `stackledger orchestrator update` can add one.",
                )
            return chosen
        found = next((queue for queue in self.queues if queue.has_room(resources or ResourceSettings())), None)
        if found is None:
            raise PipelineError(
                f"The step {step!r} needs {_needed(resources)}, and no queue of its orchestrator has as much:"
                f" {'; '.join(map(_offered, self.queues))}.",
                hint="`stackledger orchestrator update --queues=…` can add one that workers with as much serve.",
            )
        return found.name


def _needed(resources: ResourceSettings | None) -> str:
    needs = resources or ResourceSettings()
    return _listed(needs.cpu_count, needs.gpu_count, needs.memory)


def _offered(queue: StepQueue) -> str:
    limits = _listed(queue.cpu_count, queue.gpu_count or None, queue.memory)
    return f"{queue.name} has {limits or 'no GPU'}" + ("" if queue.gpu_count or not limits else " and no GPU")


def _listed(cpus: float | None, gpus: int | None, memory: str | None) -> str:
    amounts: Sequence[tuple[object, str]] = ((cpus, " CPUs"), (gpus, " GPUs"), (memory, " of memory"))
    return ", ".join(
        f"{amount:g}{unit}" if isinstance(amount, float) else f"{amount}{unit}"
        for amount, unit in amounts
        if amount is not None
    )


class RabbitMQOrchestratorFlavor(Flavor):
    """Has steps executed by workers on any number of machines, over RabbitMQ."""

    name = "rabbitmq"
    type = ComponentType.ORCHESTRATOR
    config_class = RabbitMQOrchestratorConfig
    implementation = "stackledger.workers.fleet.orchestrator:RabbitMQOrchestrator"
    requirements = ("pathspec>=1.1", "pika>=1.4.4")
    runs_on_fleet = True
    provisioning = (
        "`stackledger stack up` declares the queues and starts a coordinator and workers on this machine,"
        " `stack down` ends them; the broker runs elsewhere."
    )

    @classmethod
    def is_local(cls, config: FlavorConfig) -> bool:
        """Say whether the broker is on this machine and answers this machine alone: so all workers are here too."""
        assert isinstance(config, RabbitMQOrchestratorConfig)
        return is_loopback(urlsplit(config.url).hostname or "")
