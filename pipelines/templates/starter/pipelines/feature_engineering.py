"""From raw data to what models are trained and tested on."""

from stackledger import pipeline
from steps.data import load_data, split_data


@pipeline
def feature_engineering(test_share: float = 0.2, seed: int = 42) -> tuple[object, object]:
    """Load the data and split it into a part for training and one for testing."""
    return split_data(load_data(), test_share=test_share, seed=seed)
