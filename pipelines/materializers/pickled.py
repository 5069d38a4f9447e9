"""The last resort: cloudpickle. Whoever chose such bytes runs code in whoever loads them."""

from __future__ import annotations

from stackledger.domain.errors import MaterializerError
from stackledger.domain.names import visible
from stackledger.pipelines.materializers.materializer import Resolver, type_name


class PickleMaterializer:
    """Anything that cloudpickle can keep: models of scikit-learn, functions, objects of one's own."""

    name = "cloudpickle/1"
    runs_code = True

    def handles(self, value_type: type) -> bool:  # noqa: ARG002  whatever it is
        """Say yes: there is nobody else to ask."""
        return True

    def dump(self, value: object) -> bytes:
        """Return the value as cloudpickle writes it, or raise MaterializerError."""
        import cloudpickle

        try:
            return bytes(cloudpickle.dumps(value, protocol=5))
        except Exception as error:
            raise MaterializerError(
                f"A value of the type {visible(type_name(type(value)))} cannot be kept:"
                f" {type(error).__name__}: {visible(str(error)).removesuffix('.')}.",
                hint="Let the step return what can be: numbers, text, lists, arrays, frames, models, dataclasses.",
            ) from error

    def load(self, data: bytes, data_type: str, resolver: Resolver) -> object:  # noqa: ARG002  a pickle does as it likes
        """Run what the bytes say and return what comes of it."""
        import pickle

        return pickle.loads(data)  # noqa: S301  only for whoever may run code: see load_value
