"""Figures of speed, each beside its floor, measured in the same run: `make bench`.

A module here that has a function `measure() -> Iterable[Figure]` is found by itself. Its docstring says what is
measured against what. What the floors run stands in `floors/`.
"""
