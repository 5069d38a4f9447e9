"""`python -m bench [NAME ...]`: measure, and print each figure beside its floor and its target."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pkgutil import iter_modules

import bench
from bench.figures import Figure

_ROW = "{:<64} {:>11} {:>11} {:>4} {:>7}  {:<9} {}"


def measures(names: Sequence[str]) -> dict[str, Callable[[], Iterable[Figure]]]:
    """Return the benchmarks of these names, or all, or exit with the names there are."""
    modules = {
        module.name: import_module(f"bench.{module.name}")
        for module in iter_modules(bench.__path__)
        if not module.name.startswith("_")
    }
    found = {name: module.measure for name, module in modules.items() if hasattr(module, "measure")}
    unknown = set(names) - set(found)
    if unknown:
        sys.exit(f"No benchmark is called {', '.join(sorted(unknown))}. There are: {', '.join(found)}.")
    return {name: found[name] for name in names or found}


def row(figure: Figure) -> str:
    """Return the line of the report for one figure."""
    return _ROW.format(
        figure.name,
        number(figure.ours),
        "" if figure.floor is None else number(figure.floor),
        figure.unit,
        "" if figure.ratio is None else f"{figure.ratio:.2f} x",
        f"{'>=' if figure.at_least else '<='} {figure.target:g}",
        "" if figure.met else "MISSED",
    ).rstrip()


def number(value: float) -> str:
    """Return a value with as many digits as mean something: three at least."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    """Measure what the arguments name, or everything."""
    found = measures(sys.argv[1:])
    print(_ROW.format("figure", "ours", "floor", "", "ratio", "target", "").rstrip())
    for measure in found.values():
        for figure in measure():
            print(row(figure), flush=True)


if __name__ == "__main__":
    main()
