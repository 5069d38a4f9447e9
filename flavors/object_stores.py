"""The artifact stores in object storage: S3, Google Cloud Storage, Azure Blob Storage, and what speaks like them.

They differ in how a place and credentials are given; `object_artifact_store` does the work for all of them. What is not
given is taken from where the platform's own tools look: variables of the environment, files of workload identities,
roles of the machine.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator

from stackledger.domain.component_types import ComponentType
from stackledger.domain.names import quoted
from stackledger.flavors.catalogue import load_implementation
from stackledger.flavors.flavor import Flavor, FlavorConfig, clear_text_field, secret_field
from stackledger.flavors.hosts import is_loopback

REQUIREMENT = "obstore>=0.12"

# What each of the three takes for a bucket's name, and for a folder's in it without encoding.
_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9._-]{1,220}[a-z0-9])")
_FOLDER = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9!_.'()=-]{1,200}")
_MAX_PREFIX = 512


class ObjectStoreConfig(FlavorConfig):
    """What all of them are configured with; a flavor of its own has `path` too."""

    schemes: ClassVar[tuple[str, ...]]

    path: str
    # In front of `endpoint_url`, whose validator looks at it.
    allow_http: bool = Field(default=False, description="whether endpoint_url may be http://, which anybody can read")
    endpoint_url: str | None = Field(None, description="address of a server, if it is not the cloud's own")
    timeout: float = Field(60.0, gt=0, le=3600, description="seconds to wait for the answer to a request")

    @field_validator("path")
    @classmethod
    def _is_place(cls, value: str) -> str:
        example = f"{cls.schemes[0]}://bucket/prefix"
        scheme, separator, rest = value.partition("://")
        if not separator or scheme not in cls.schemes:
            wanted = " or ".join(f"{scheme}://" for scheme in cls.schemes)
            raise ValueError(f"{quoted(value)} does not begin with {wanted}, as in {example}")
        bucket, *folders = rest.rstrip("/").split("/")
        if _BUCKET.fullmatch(bucket) is None:
            raise ValueError(
                f"{quoted(bucket)} is not the name of a bucket, as in {example}: 3 or more of a-z, 0-9, -, _ and ."
            )
        for folder in folders:
            if _FOLDER.fullmatch(folder) is None:
                raise ValueError(
                    f"{quoted(folder)} cannot stand in {quoted(value)}: letters, digits and !_.'()=- can, but not"
                    " nothing, . or .."
                )
        if len(rest) > _MAX_PREFIX:
            raise ValueError(f"the path has more than {_MAX_PREFIX} characters")
        return f"{scheme}://{'/'.join((bucket, *folders))}"

    @field_validator("endpoint_url")
    @classmethod
    def _is_address(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
            raise ValueError(f"{quoted(value)} is not an address, as https://objects.example.org is")
        if parts.query or parts.fragment or not value.isprintable() or " " in value:
            raise ValueError(f"{quoted(value)} has more than a scheme, a host, a port and a path")
        _ = parts.port  # raises ValueError for what is none
        if parts.scheme == "http" and not info.data.get("allow_http"):
            raise ValueError(f"{quoted(value)} is not encrypted: use https://, or allow it with --allow_http=true")
        return value.rstrip("/")

    def bucket(self) -> str:
        """Return the name of the bucket or container."""
        return self._place().partition("/")[0]

    def prefix(self) -> str | None:
        """Return the folders in the bucket, if the path names any."""
        return self._place().partition("/")[2] or None

    def _place(self) -> str:
        return self.path.partition("://")[2]


class S3Config(ObjectStoreConfig):
    """A bucket in S3, and who asks."""

    schemes = ("s3",)

    path: str = clear_text_field(description="where the artifacts go: s3://bucket/prefix")
    region: str | None = Field(None, description="region of the bucket; AWS_REGION if not given")
    key: str | None = secret_field(None, description="id of the access key; AWS_ACCESS_KEY_ID or a role if not given")
    secret: str | None = secret_field(None, description="the secret of the access key")
    token: str | None = secret_field(None, description="the token of a session, if the access key is a temporary one")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.key is None) != (self.secret is None):
            raise ValueError("'key' and 'secret' are given together or not at all")
        if self.token is not None and self.key is None:
            raise ValueError("'token' belongs to a 'key' and a 'secret'")
        return self


class GcsConfig(ObjectStoreConfig):
    """A bucket in Google Cloud Storage, and who asks."""

    schemes = ("gs",)

    path: str = clear_text_field(description="where the artifacts go: gs://bucket/prefix")
    service_account_key: str | None = secret_field(
        None, description="key of a service account, as JSON; the application default credentials if not given"
    )
    token: str | None = secret_field(None, description="an access token in the place of a key; nothing renews it")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.service_account_key is not None and self.token is not None:
            raise ValueError("of 'service_account_key' and 'token' one is enough")
        return self


class AzureConfig(ObjectStoreConfig):
    """A container in Azure Blob Storage, and who asks."""

    schemes = ("az", "abfs")

    path: str = clear_text_field(description="where the artifacts go: az://container/prefix")
    account_name: str | None = Field(
        None, description="name of the storage account; AZURE_STORAGE_ACCOUNT_NAME if not given"
    )
    account_key: str | None = secret_field(
        None, description="key of the storage account; what AZURE_… or the machine's identity give if not given"
    )
    sas_token: str | None = secret_field(None, description="a shared access signature in the place of a key")
    tenant_id: str | None = Field(None, description="tenant of a service principal")
    client_id: str | None = Field(None, description="id of a service principal")
    client_secret: str | None = secret_field(None, description="secret of a service principal")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        principal = (self.tenant_id, self.client_id, self.client_secret)
        if any(principal) and not all(principal):
            raise ValueError("'tenant_id', 'client_id' and 'client_secret' are given together or not at all")
        if sum(map(bool, (self.account_key, self.sas_token, self.client_secret))) > 1:
            raise ValueError("of 'account_key', 'sas_token' and a service principal one is enough")
        return self


class ObjectStoreFlavor(Flavor):
    """An artifact store in object storage."""

    type = ComponentType.ARTIFACT_STORE
    requirements = (REQUIREMENT,)
    provisioning = "The bucket is kept elsewhere, and Stackledger makes none: there is nothing to start or stop."

    @classmethod
    def prepare(cls, config: FlavorConfig, home: Path, component_id: str) -> None:
        """Write, read, list and delete an object there, so that what is wrong is said before anything relies on it."""
        load_implementation(cls)(config, home=home, component_id=component_id).check()

    @classmethod
    def is_local(cls, config: FlavorConfig) -> bool:
        """Say whether the server is on this machine and answers this machine alone."""
        assert isinstance(config, ObjectStoreConfig)
        host = urlsplit(config.endpoint_url).hostname if config.endpoint_url else None
        return host is not None and is_loopback(host)


class S3Flavor(ObjectStoreFlavor):
    """Keeps artifacts in S3, or in what speaks its language: MinIO, Ceph, R2."""

    name = "s3"
    config_class = S3Config
    implementation = "stackledger.flavors.object_artifact_store:S3ArtifactStore"


class GcsFlavor(ObjectStoreFlavor):
    """Keeps artifacts in Google Cloud Storage."""

    name = "gcs"
    config_class = GcsConfig
    implementation = "stackledger.flavors.object_artifact_store:GcsArtifactStore"


class AzureFlavor(ObjectStoreFlavor):
    """Keeps artifacts in Azure Blob Storage."""

    name = "azure"
    config_class = AzureConfig
    implementation = "stackledger.flavors.object_artifact_store:AzureArtifactStore"
