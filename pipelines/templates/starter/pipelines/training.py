"""Two classifiers are trained, and the better one is kept."""

from pipelines.feature_engineering import feature_engineering
from stackledger import pipeline
from steps.models import choose_best, evaluate, train_forest, train_sgd


@pipeline
def training(test_share: float = 0.2, seed: int = 42) -> None:
    """Train a linear model and a random forest on the same data, and compare them."""
    train_set, test_set = feature_engineering(test_share=test_share, seed=seed)
    sgd = train_sgd(train_set, seed=seed)
    forest = train_forest(train_set, seed=seed)
    choose_best(
        sgd,
        evaluate(sgd, test_set, id="evaluate_sgd"),
        forest,
        evaluate(forest, test_set, id="evaluate_forest"),
    )
