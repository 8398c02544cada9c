"""Runs Metrion beside nginx (and LiteLLM, where installed) on loopback, and beside itself; prints ratios.

bench/run [--only json|sse|open|alerts] [--seconds 6] [--rounds 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from bench import alerts, measure
from bench.measure import Bench, Figure

PARTS = measure.PARTS | {"alerts": alerts.rules}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="bench/run", description="Metrion beside nginx on loopback: a table with ratios."
    )
    parser.add_argument("--only", choices=list(PARTS), help="one part instead of all")
    parser.add_argument("--seconds", type=float, default=6, help="of each load")
    parser.add_argument("--rounds", type=int, default=3, help="loads of each side; the table shows the median")
    parser.add_argument("--json", action="store_true", help="print the figures as one line of JSON as well")
    wanted = parser.parse_args()

    if platform.system() != "Linux":
        raise SystemExit("bench: reads CPU and memory from /proc, so it needs Linux")
    missing = [command for command in ("nginx", "wrk") if not shutil.which(command)]
    if missing:
        raise SystemExit(f"bench: missing {' and '.join(missing)}; on Debian: apt-get install {' '.join(missing)}")

    figures, tables, remarks = list[Figure](), list[str](), list[str]()
    with tempfile.TemporaryDirectory(prefix="metrion-bench-") as folder:
        for name in [wanted.only] if wanted.only else list(PARTS):
            print(f"bench: {name} …", file=sys.stderr)
            part = PARTS[name](Bench(Path(folder), wanted.seconds, wanted.rounds))
            figures += part.figures
            remarks += part.remarks
            tables.append(table(part.figures))
    print(*tables, "\n".join(remarks), sep="\n\n")
    if wanted.json:
        print(json.dumps({figure.name: figure.values for figure in figures}))


def table(figures: list[Figure]) -> str:
    """A line for each figure of a part; behind each side but the first its ratio to that."""
    baseline, *others = figures[0].values
    lines = [f"{'':28}{baseline:>10}" + "".join(f"{name:>12}{'ratio':>10}" for name in others)]
    for figure in figures:
        base = figure.values[baseline]
        line = f"{figure.name:28}{_number(base):>10}"
        for name in others:
            value = figure.values[name]
            ratio = f"{_number(value / base)} x" if base > 0 else "–"
            line += f"{_number(value):>12}{ratio:>10}"
        lines.append(f"{line}  {figure.unit}".rstrip())
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


if __name__ == "__main__":
    main()
