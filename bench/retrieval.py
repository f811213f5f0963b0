"""Whether searches find, what they cost, and what an index costs.

    make bench-retrieval         (PROKURA_DATA names the public data; RETRIEVAL a folder on the disk that is measured)

The program of benches/retrieval.rs measures times; `prokura evaluate --task retrieval` the figures. This runs both and
writes what they say. Times are in ratios to peers of the same run.
"""

import argparse
import json
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=60)
    given = parser.parse_args()
    tau = given.data / "tau_banking"
    documents, questions = str(tau / "documents.jsonl"), str(tau / "dev_queries.jsonl")
    results = {
        "figures": figures(given.program, given.data),
        "search": measured(given.work, "search", documents, questions),
        "index": measured(given.work, "index", documents),
        "reindex": measured(given.work, "reindex", documents, questions, seconds=given.seconds),
    }
    given.out.write_text(json.dumps(results, indent=1) + "\n")
    for figure in results["figures"]:
        low, high = figure["interval"]
        print(f"{figure['id']:34}{figure['n']:6}{figure['value']:8.3f}  {low:.3f} to {high:.3f}")
    for part in ("search", "index", "reindex"):
        print(part, json.dumps(results[part]))


def figures(program, data):
    command = [str(program), "evaluate", "--task", "retrieval", "--json", "--data", str(data)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(done.returncode)
    return json.loads(done.stdout)["figures"]


def measured(work, what, *arguments, seconds=None):
    folder = work / what
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = ["cargo", "bench", "--locked", "--bench", "retrieval", "--", what, *arguments, str(folder)]
    if seconds:
        command.append(str(seconds))
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
