"""`python -m stackledger` and the console script."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from stackledger.cli.app import run  # the command line is not needed by `import stackledger`

    run()


if __name__ == "__main__":
    main()
