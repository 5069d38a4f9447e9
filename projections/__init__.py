"""What the log means, as rows to read: folds, the engine that keeps them current, and queries, also of the past."""
