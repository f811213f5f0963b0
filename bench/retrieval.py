"""Whether searches find, what they cost, and what an index costs.

    make bench-retrieval         (PROKURA_DATA names the public data; RETRIEVAL a folder on the disk that is measured)

The program of benches/retrieval.rs measures times; `prokura evaluate --task retrieval` the figures. This runs both and
writes what they say, with a plot where matplotlib is there. Times are in ratios to peers of the same run.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="writes OUT.json, and OUT.svg with matplotlib")
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=60)
    given = parser.parse_args()
    tau = given.data / "tau_banking"
    documents, questions = str(tau / "documents.jsonl"), str(tau / "dev_queries.jsonl")
    results = {
        "figures": figures(given.program, given.data),
        "search": measured(given.work, "search", documents, questions),
        "index": measured(given.work, "index", documents, questions),
        "reindex": measured(given.work, "reindex", documents, questions, seconds=given.seconds),
        "neighbours": measured(given.work, "neighbours"),
    }
    given.out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    plot(results, given.out.with_suffix(".svg"))
    for figure in results["figures"]:
        low, high = figure["interval"]
        print(f"{figure['id']:34}{figure['n']:6}{figure['value']:8.3f}  {low:.3f} to {high:.3f}")
    for part in ("search", "index", "reindex", "neighbours"):
        print(part, json.dumps(results[part]))


def plot(results, out):
    try:
        import matplotlib
        matplotlib.use("svg")
        import matplotlib.pyplot as pyplot
    except ImportError:
        print("skipped the plot: matplotlib is not there", file=sys.stderr)
        return
    figure, (times, growth) = pyplot.subplots(1, 2, figsize=(11, 4))
    search = results["search"]
    parts = ["tantivy_bm25", "words", "encoder", "without_rerank", "whole"]
    for at, part in enumerate(parts):
        low, high = search[part]["p50_us"] / 1e3, search[part]["p99_us"] / 1e3
        times.bar([at - 0.2, at + 0.2], [low, high], 0.4, color=["#2b6cb0", "#a0c4e8"])
    times.set_xticks(range(len(parts)), [part.replace("_", " ") for part in parts], rotation=20)
    times.set_ylabel("milliseconds")
    times.set_title(f"One question over {search['documents']} documents: p50, p99")
    cases = results["neighbours"]["cases"]
    counts = [case["vectors"] for case in cases]
    for kind in ("scan", "graph"):
        growth.plot(counts, [case["all"][kind]["p50_us"] / 1e3 for case in cases], "o-", label=kind)
    growth.set(xscale="log", yscale="log", xlabel="vectors", ylabel="milliseconds", ylim=(0.05, None))
    growth.set_title("The nearest 50: a scan of all beside the graph, p50")
    growth.legend()
    figure.tight_layout()
    figure.savefig(out, metadata={"Date": None})


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
