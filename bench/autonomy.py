#!/usr/bin/env python3
"""Whether the autonomy dial keeps what it promises, on drawn data with known error rates.

Runs benches/autonomy.rs and writes what it prints; with matplotlib it is drawn, too. Standard library alone otherwise.

    python3 bench/autonomy.py --out bench/results/autonomy
"""

import argparse
import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMAND = ["cargo", "bench", "--locked", "--profile", "dev", "--bench", "autonomy"]


def options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="writes OUT.json, and OUT.svg with matplotlib")
    return parser.parse_args()


def main():
    given = options()
    done = subprocess.run(COMMAND, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    results = json.loads(done.stdout.strip().splitlines()[-1])
    given.out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    plot(results, given.out.with_suffix(".svg"))


def plot(results, file):
    try:
        import matplotlib
    except ImportError:
        print("without matplotlib nothing is drawn")
        return
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "prokura"
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    rows = [row for row in results["risk"] if row["max_error"] == 0.05]
    places = range(len(rows))
    left.barh([p + 0.2 for p in places], [100 * r["broken"] for r in rows], 0.4, label="the dial")
    naive = [100 * r["broken_by_an_interval_for_one_look"] for r in rows]
    left.barh([p - 0.2 for p in places], naive, 0.4, label="an exact interval made for one look")
    left.axvline(5, color="black", linestyle="--", label="stated")
    left.set_yticks(list(places), [r["data"].replace(", ", ",\n") for r in rows], fontsize=7)
    left.set_xlabel("% of draws in which too much was ever taken")
    left.legend(fontsize=7)
    for row in results["coverage"]:
        right.plot(row["reviews"], [100 * share for share in row["of_best"]], marker="o", label=f"max_error {row['max_error']}")
    right.set_xscale("log")
    right.set_xlabel("reviews")
    right.set_ylabel("% of the best possible coverage")
    right.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    main()
