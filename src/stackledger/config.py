"""What steps are configured with, under the names that ZenML has for them."""

from __future__ import annotations

from stackledger.pipelines.requirements import DockerSettings
from stackledger.pipelines.resources import ResourceSettings
from stackledger.pipelines.step import StepRetryConfig

__all__ = ["DockerSettings", "ResourceSettings", "StepRetryConfig"]
