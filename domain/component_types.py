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

MEANINGS = {
    ComponentType.ORCHESTRATOR: "An orchestrator runs a pipeline: it decides where and when each step is executed.",
    ComponentType.ARTIFACT_STORE: "An artifact store keeps what steps put out, by the SHA-256 of its bytes.",
    ComponentType.METADATA_STORE: "A metadata store is a database to which runs are written for other tools to query.",
    ComponentType.CONTAINER_REGISTRY: "A container registry keeps the images in which steps are executed elsewhere.",
    ComponentType.STEP_OPERATOR: "A step operator executes single steps on machines of their own.",
    ComponentType.MODEL_DEPLOYER: "A model deployer serves models for online prediction.",
    ComponentType.EXPERIMENT_TRACKER: "An experiment tracker keeps parameters, metrics and models of experiments.",
    ComponentType.FEATURE_STORE: "A feature store serves features for training and for prediction.",
    ComponentType.ALERTER: "An alerter sends messages from pipelines to people.",
    ComponentType.ANNOTATOR: "An annotator lets people label data.",
    ComponentType.IMAGE_BUILDER: "An image builder builds the container images in which steps are executed.",
    ComponentType.DATA_VALIDATOR: "A data validator checks data and models.",
    ComponentType.MODEL_REGISTRY: "A model registry keeps versions of models and their stages.",
}
"""What components of each type are for."""
