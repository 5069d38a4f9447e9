"""`python -m stackledger` and the console script."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    import gc

    # A command makes little that goes round in circles and soon ends: looking for it so often takes 3 % of a query.
    gc.set_threshold(100_000)

    try:
        from stackledger.cli.app import run  # not needed by `import stackledger`

        run()
    except KeyboardInterrupt:  # while that was loaded
        sys.exit(130)


if __name__ == "__main__":
    main()
