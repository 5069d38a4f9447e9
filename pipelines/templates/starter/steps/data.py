"""Steps that get data and make it ready."""

from typing import Annotated

import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from stackledger import step


@step
def load_data() -> Annotated[pd.DataFrame, "dataset"]:
    """Return 569 tumours with 30 measurements each; the column `target` is 1 for a benign one."""
    dataset = load_breast_cancer(as_frame=True).frame
    print(f"Loaded {len(dataset)} rows with {dataset.shape[1] - 1} features.")
    return dataset


@step
def split_data(
    dataset: pd.DataFrame, test_share: float = 0.2, seed: int = 42
) -> tuple[Annotated[pd.DataFrame, "train_set"], Annotated[pd.DataFrame, "test_set"]]:
    """Split the rows, with as many benign tumours in either part."""
    train_set, test_set = train_test_split(dataset, test_size=test_share, random_state=seed, stratify=dataset["target"])
    print(f"{len(train_set)} rows for training, {len(test_set)} for testing.")
    return train_set, test_set
