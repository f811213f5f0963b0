"""What the ledger costs: cases a second beside raw inserts of the same bytes, and one more event as the log grows.

    make bench-ledger            (LEDGER names a folder on the disk that is measured)

The program of benches/ledger.rs measures; this runs it and writes the figures. Growth is in ratios of the largest log to
the smallest one of the same run.
"""

import argparse
import json
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--seconds", type=int, default=60)
    given = parser.parse_args()
    results = {
        "throughput": measured("throughput", given.work, given.seconds),
        "postgres": measured("postgres", given.work, given.seconds),
        "growth": measured("growth", given.work, given.events),
    }
    given.out.write_text(json.dumps(results, indent=1) + "\n")
    grown = results["growth"]["last_over_first"]
    for store, name in (("SQLite", "throughput"), ("PostgreSQL", "postgres")):
        told = results[name]
        print(f"{store}: {told['cases_per_second']:.0f} cases a second, {told['ratio']:.2f} of raw inserts")
    print(f"last over first: {grown}")


def measured(what, work, number):
    folder = work / what
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = ["cargo", "bench", "--locked", "--bench", "ledger", "--", what, str(folder), str(number)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
