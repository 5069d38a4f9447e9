"""Run the pipelines of this project on the active stack."""

import argparse

from pipelines.feature_engineering import feature_engineering
from pipelines.training import training


def main() -> None:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--feature-pipeline", action="store_true", help="load the data and split it")
    parser.add_argument("--training-pipeline", action="store_true", help="train classifiers and keep the better one")
    parser.add_argument("--test-share", type=float, default=0.2, help="share of the data that is kept for testing")
    parser.add_argument("--seed", type=int, default=42, help="the same seed gives the same result")
    options = parser.parse_args()
    if not options.feature_pipeline and not options.training_pipeline:
        parser.error("nothing to run: give --feature-pipeline or --training-pipeline")

    if options.feature_pipeline:
        feature_engineering(test_share=options.test_share, seed=options.seed)
    if options.training_pipeline:
        run = training(test_share=options.test_share, seed=options.seed)
        accuracy = run.steps["choose_best"].outputs["best_accuracy"].load()
        print(f"Accuracy of the better model: {accuracy:.4f}")


if __name__ == "__main__":
    main()
