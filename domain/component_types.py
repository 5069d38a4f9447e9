"""The types of component that a stack combines, in the order in which lists show them."""

from __future__ import annotations

from enum import StrEnum


class ComponentType(StrEnum):
    """A type of component; its value is what the log, JSON and Python use."""

    ORCHESTRATOR = "orchestrator"
    ARTIFACT_STORE = "artifact_store"
    METADATA_STORE = "metadata_store"
    CONTAINER_REGISTRY = "container_registry"
    STEP_OPERATOR = "step_operator"
    MODEL_DEPLOYER = "model_deployer"
    EXPERIMENT_TRACKER = "experiment_tracker"
    FEATURE_STORE = "feature_store"
    ALERTER = "alerter"
    ANNOTATOR = "annotator"
    IMAGE_BUILDER = "image_builder"
    DATA_VALIDATOR = "data_validator"
    MODEL_REGISTRY = "model_registry"

    @property
    def words(self) -> str:
        """The type as prose: `artifact store`."""
        return self.value.replace("_", " ")

    @property
    def group(self) -> str:
        """The type as a command group or option: `artifact-store`."""
        return self.value.replace("_", "-")


REQUIRED = (ComponentType.ORCHESTRATOR, ComponentType.ARTIFACT_STORE)
REPEATABLE = (ComponentType.EXPERIMENT_TRACKER, ComponentType.STEP_OPERATOR, ComponentType.ALERTER)

SHORT_OPTIONS = {
    ComponentType.ORCHESTRATOR: "-o",
    ComponentType.ARTIFACT_STORE: "-a",
    ComponentType.METADATA_STORE: "-m",
    ComponentType.CONTAINER_REGISTRY: "-c",
    ComponentType.STEP_OPERATOR: "-s",
    ComponentType.MODEL_DEPLOYER: "-d",
    ComponentType.EXPERIMENT_TRACKER: "-e",
    ComponentType.FEATURE_STORE: "-f",
    ComponentType.ALERTER: "-al",
    ComponentType.ANNOTATOR: "-an",
    ComponentType.IMAGE_BUILDER: "-i",
    ComponentType.DATA_VALIDATOR: "-dv",
    ComponentType.MODEL_REGISTRY: "-r",
}
