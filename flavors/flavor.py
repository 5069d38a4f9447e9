"""What a flavor is, also for those who write one of their own.

::

    class MinioConfig(FlavorConfig):
        bucket: str = clear_text_field(description="where objects go")
        access_key: str = secret_field(description="who asks")
        timeout: float = Field(default=30.0, description="seconds to wait for an answer")

    class MinioFlavor(Flavor):
        \"\"\"Keeps artifacts in MinIO.\"\"\"

        name = "minio"
        type = ComponentType.ARTIFACT_STORE
        config_class = MinioConfig
        implementation = "my_project.minio:MinioArtifactStore"
        requirements = ("minio>=7",)

`stackledger artifact-store flavor register my_project.flavors.MinioFlavor` adds it for everybody who shares the
log; a package adds it for all who install the package, by an entry point in the group `stackledger.flavors`::

    [project.entry-points."stackledger.flavors"]
    "artifact_store.minio" = "my_project.flavors:MinioFlavor"

Keep the flavor's own module light: import the library behind it in the module of the implementation.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidationInfo
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, core_schema

from stackledger.domain.component_types import ComponentType
from stackledger.domain.references import is_reference, secret_references
from stackledger.flavors.field_types import takes_secret, takes_text

REFERENCES = "references"
"""Under this key of a validation's context stands whether references may take the place of values."""


def secret_field(default: Any = PydanticUndefined, *, description: str) -> Any:
    """Return a field whose value is a secret: a configuration holds only a reference to it."""
    return Field(default, description=description, json_schema_extra={"secret": True})


def clear_text_field(default: Any = PydanticUndefined, *, description: str) -> Any:
    """Return a field, such as a path or a name, that never holds a reference to a secret."""
    return Field(default, description=description, json_schema_extra={"clear_text": True})


def _is_marked(field: FieldInfo, marker: str) -> bool:
    extra = field.json_schema_extra
    return isinstance(extra, dict) and extra.get(marker) is True


def holds_reference(value: object) -> bool:
    """Say whether a text is a reference, or has `{{name.key}}` in it."""
    return isinstance(value, str) and (is_reference(value) or any(True for _ in secret_references(value)))


def _or_reference(
    value: object,
    handler: core_schema.ValidatorFunctionWrapHandler,
    info: ValidationInfo,
    *,
    refusal: str | None,
) -> object:
    if not (info.context or {}).get(REFERENCES) or not holds_reference(value):
        return handler(value)
    if refusal:
        raise ValueError(refusal)
    return value


class FlavorConfig(BaseModel):
    """The configuration of a flavor: frozen, and without a place for unknown keys.

    What a secret holds is not known when a component is registered, so a reference in a field that takes text passes
    all of the field's own validators then; they see the value when the component is used. Validators of the whole
    model have to reckon with references.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    @classmethod
    def secret_fields(cls) -> frozenset[str]:
        """Return the names of the fields that hold secrets."""
        return frozenset(
            name
            for name, field in cls.model_fields.items()
            if _is_marked(field, "secret") or takes_secret(field.annotation)
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Let a reference pass before any validator of a field, also those that subclasses declare."""
        schema = handler(source)
        inner: Any = handler.resolve_ref_schema(schema)
        while inner["type"] != "model-fields":
            inner = inner["schema"]
        for name, field in inner["fields"].items():
            # The default stays outermost: without it the field would be required.
            holder = field
            while holder["schema"]["type"] == "default":
                holder = holder["schema"]
            info = cls.model_fields[name]
            refusal = None
            if _is_marked(info, "clear_text"):
                refusal = "a reference to a secret cannot stand here"
            elif not takes_text(info.annotation):
                refusal = "a reference to a secret can stand only where the flavor takes text"
            holder["schema"] = core_schema.with_info_wrap_validator_function(
                partial(_or_reference, refusal=refusal), holder["schema"]
            )
        return schema


class Flavor:
    """A flavor of one type of component; derive from it, set the attributes, and let the docstring say what it is."""

    name: ClassVar[str]
    """What `--flavor` names; unique among the flavors of the type."""

    config_class: ClassVar[type[FlavorConfig]] = FlavorConfig
    """What a component of this flavor can be configured with."""

    implementation: ClassVar[str]
    """`module:Class`, imported on first use and made as `Class(config, home=…, component_id=…)`."""

    requirements: ClassVar[tuple[str, ...]] = ()
    """What pip has to install for the implementation."""

    type: ClassVar[ComponentType]

    provisioning: ClassVar[str] = "There is nothing to start or stop for this flavor."
    """What `up` and `down` say."""

    runs_on_fleet: ClassVar[bool] = False
    """Whether coordinators and workers have to run for it, which `up` starts on this machine, and `down` ends."""

    @classmethod
    def prepare(cls, config: FlavorConfig, home: Path, component_id: str) -> None:
        """Make and check what a new component needs on this machine, or raise; most need nothing."""

    @classmethod
    def located(cls, configuration: Mapping[str, Any], home: Path, component_id: str) -> Mapping[str, Any]:  # noqa: ARG003
        """Return a configuration that means in every home of this machine what this one means in that home."""
        return configuration

    @classmethod
    def is_local(cls, config: FlavorConfig) -> bool:  # noqa: ARG003  for those that are so only with some configurations
        """Say whether only this machine can use such a component: a fleet cannot share it.

        An orchestrator that is not local has steps executed elsewhere: its stacks need an artifact store that is not.
        """
        return False
