"""What a worker has to know to join a fleet, in a file: where the broker is, and whose word counts.

There is no secret in it. But whoever can change it can have a worker execute what they like, because the root key that
the worker goes by stands there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from stackledger.domain.errors import InvalidValue, NotFound
from stackledger.domain.incarnations import called
from stackledger.domain.references import is_reference, secret_references
from stackledger.flavors.rabbitmq_orchestrator import RabbitMQOrchestratorConfig, RabbitMQOrchestratorFlavor
from stackledger.flavors.validation import configured
from stackledger.workers.fleet.execution.own_secrets import own_secret, variable_of

_MAX_CHARACTERS = 256 * 1024
_OF_THE_LOG = "STACKLEDGER_LOG"
_OTHERS_WRITE = 0o022


class Join(BaseModel):
    """What a worker has to know. `configuration` is the orchestrator's, with references in the place of secrets.

    `incarnation` is that of the log, empty for the first; `root` is the raw public root key of the log in hexadecimal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    format: Literal[1] = 1
    log_id: str
    incarnation: str = ""
    orchestrator_id: str
    orchestrator: str
    configuration: dict[str, JsonValue]
    root: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @property
    def log(self) -> str:
        """What the log is called on fleets."""
        return called(self.log_id, self.incarnation)

    def settings(self, environment: Mapping[str, str] = os.environ) -> RabbitMQOrchestratorConfig:
        """Return the configuration with what it refers to, or raise SecretError or InvalidConfiguration."""
        lookup = partial(own_secret, environment=environment)
        config = configured(RabbitMQOrchestratorFlavor, self.configuration, lookup, environment=environment)
        assert isinstance(config, RabbitMQOrchestratorConfig)
        return config

    def environment_of_steps(
        self, config: RabbitMQOrchestratorConfig, environment: Mapping[str, str] = os.environ
    ) -> dict[str, str]:
        """Return the environment without what steps have no business with: the way to the broker, and to the log."""
        hidden = {_OF_THE_LOG, *_variables(self.configuration)}
        return {name: value for name, value in environment.items() if name not in hidden and config.url not in value}


def read_join(path: Path) -> Join:
    """Return what stands in a join file, or raise NotFound or InvalidValue."""
    try:
        with path.open(encoding="utf-8") as file:
            found, text = os.fstat(file.fileno()), file.read(_MAX_CHARACTERS + 1)
    except OSError as error:
        raise NotFound(
            f"The join file {path} cannot be read: {error.strerror}.",
            hint="`stackledger worker join-file --file FILE` writes one, where the log is.",
        ) from error
    except UnicodeDecodeError as error:
        raise _damaged(path) from error
    if stat.S_IMODE(found.st_mode) & _OTHERS_WRITE:
        raise InvalidValue(
            f"Others than its owner can change the join file {path}: they could have anything executed here.",
            hint=f"See that it is as it should be, and mend it: chmod 600 {path}",
        )
    if len(text) > _MAX_CHARACTERS:
        raise _damaged(path)
    try:
        return Join.model_validate_json(text)
    except ValidationError as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> InvalidValue:
    return InvalidValue(
        f"{path} is no join file that this program can read.",
        hint="Write it anew, where the log is: `stackledger worker join-file --file FILE`.",
    )


def _variables(value: object) -> Iterator[str]:
    """Yield the names of the variables in which a worker finds what a configuration refers to."""
    if isinstance(value, str):
        if value.startswith("env:") and is_reference(value):
            yield value.removeprefix("env:")
        yield from (variable_of(reference.name, reference.key) for reference in secret_references(value))
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _variables(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _variables(each)
