"""Any container registry, by its address."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import field_validator

from stackledger.domain.component_types import ComponentType
from stackledger.domain.names import quoted
from stackledger.flavors.flavor import Flavor, FlavorConfig, clear_text_field

_ADDRESS = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*"
)
_MAX_PORT = 65535


class DefaultContainerRegistryConfig(FlavorConfig):
    """Where the registry is."""

    uri: str = clear_text_field(description="address as in an image's name: localhost:5000, registry.example.org/team")

    @field_validator("uri")
    @classmethod
    def _is_address(cls, value: str) -> str:
        address = value.removesuffix("/")
        if "://" in address:
            raise ValueError(f"{quoted(value)} has a scheme; an image's name has none, as in localhost:5000")
        if "@" in address:
            raise ValueError("an address holds no user and no password; `docker login` keeps them")
        match = _ADDRESS.fullmatch(address)
        if match is None or int(match["port"] or 1) not in range(1, _MAX_PORT + 1):
            raise ValueError(f"{quoted(value)} is not the address of a registry, as localhost:5000 is")
        return address


class DefaultContainerRegistry:
    """The address that images are pushed to."""

    def __init__(self, config: DefaultContainerRegistryConfig, *, home: Path, component_id: str) -> None:  # noqa: ARG002  made like all others
        self.uri = config.uri


class DefaultContainerRegistryFlavor(Flavor):
    """Names any container registry by its address."""

    name = "default"
    type = ComponentType.CONTAINER_REGISTRY
    config_class = DefaultContainerRegistryConfig
    implementation = "stackledger.flavors.default_container_registry:DefaultContainerRegistry"
    provisioning = "The registry runs elsewhere: there is nothing to start or stop here."
