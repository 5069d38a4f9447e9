"""Steps that train, evaluate and compare models."""

from typing import Annotated

import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from stackledger import step

TARGET = "target"


@step
def train_sgd(train_set: pd.DataFrame, seed: int = 42) -> Annotated[BaseEstimator, "sgd_model"]:
    """Train a linear classifier on scaled features by stochastic gradient descent."""
    model = make_pipeline(StandardScaler(), SGDClassifier(random_state=seed))
    return model.fit(train_set.drop(columns=TARGET), train_set[TARGET])


@step
def train_forest(train_set: pd.DataFrame, trees: int = 100, seed: int = 42) -> Annotated[BaseEstimator, "forest_model"]:
    """Train a random forest."""
    model = RandomForestClassifier(n_estimators=trees, random_state=seed)
    return model.fit(train_set.drop(columns=TARGET), train_set[TARGET])


@step
def evaluate(model: BaseEstimator, test_set: pd.DataFrame) -> float:
    """Return the share of rows that the model classifies correctly."""
    accuracy = accuracy_score(test_set[TARGET], model.predict(test_set.drop(columns=TARGET)))
    print(f"Accuracy: {accuracy:.4f}")
    return float(accuracy)


@step
def choose_best(
    sgd: BaseEstimator, sgd_accuracy: float, forest: BaseEstimator, forest_accuracy: float
) -> tuple[Annotated[BaseEstimator, "best_model"], Annotated[float, "best_accuracy"]]:
    """Return the model with the higher accuracy; the linear one, which is smaller, where they are equal."""
    print(f"SGD {sgd_accuracy:.4f}, random forest {forest_accuracy:.4f}")
    if sgd_accuracy >= forest_accuracy:
        return sgd, sgd_accuracy
    return forest, forest_accuracy
