#!/usr/bin/env python3
"""Our encoder and its peers on the same texts, one thread each, in turns; then whole readings, and two threads.

    make bench-inference

Every engine is a process that holds the base model (models/base) and takes orders; each round gives each of them the
same order before the next round begins, so that a machine that is slow for a minute is slow for all. A peer that
cannot be had is skipped with a line. Texts: our own messages (models/data), and where PROKURA_DATA is there training
lines of Banking77. Needs numpy and tokenizers; matplotlib draws the plot.
"""

import argparse
import csv
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
ORDERS = ["one", "batch 32", "sorted 32"]
TEXTS = 1000


def options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--base", type=Path, default=ROOT / "models/base")
    parser.add_argument("--bundle", type=Path, default=ROOT / "models/default")
    parser.add_argument("--data", type=Path, default=os.environ.get("PROKURA_DATA"))
    parser.add_argument("--ours", type=Path, required=True, help="the program of `cargo bench --bench inference`")
    parser.add_argument("--stock", type=Path, help="the program of bench/inference/stock")
    parser.add_argument("--work", type=Path, required=True, help="for texts and converted models")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="the texts of this name alone")
    parser.add_argument("--out", type=Path, required=True, help="writes OUT.json, OUT.md, and OUT.svg with matplotlib")
    return parser.parse_args()


def own_messages(count=TEXTS):
    """Plain texts of the labelled lines, drawn with a seed; without a count all."""
    texts = []
    for file in sorted((ROOT / "models/data/utterances").glob("*.tsv")):
        for line in file.read_text().splitlines()[1:]:
            texts.append(re.sub(r"\[\w+\|([^\]]+)\]", r"\1", line.split("\t")[3]))
    return random.Random(7).sample(texts, count or len(texts))


def banking77(folder, count=TEXTS):
    with open(folder / "banking77/train.csv", newline="") as file:
        lines = [row["text"] for row in csv.DictReader(file)]
    return random.Random(7).sample(lines, count or len(lines))


def texts(asked):
    """Files of texts and of their piece ids, by name."""
    import tokenizers
    pieces = tokenizers.Tokenizer.from_file(str(asked.base / "tokenizer.json"))
    pieces.no_padding()
    pieces.no_truncation()
    found = {"own messages": own_messages()}
    try:
        found["Banking77"] = banking77(Path(asked.data))
    except (OSError, TypeError) as error:
        print(f"skipped Banking77: {error}", file=sys.stderr)
    files = {}
    for name, lines in found.items():
        plain, ids = asked.work / f"{name}.texts.jsonl", asked.work / f"{name}.ids.jsonl"
        encoded = [pieces.encode(line).ids[:512] for line in lines]
        plain.write_text("".join(json.dumps(line) + "\n" for line in lines))
        ids.write_text("".join(json.dumps(each) + "\n" for each in encoded))
        files[name] = (plain, ids, sum(map(len, encoded)) / len(encoded))
    return files


class Engine:
    def __init__(self, name, command, cores=1):
        self.name = name
        # As many cores as threads, the same for all: they never run at once.
        there = sorted(os.sched_getaffinity(0))[-cores:]
        alone = ["taskset", "-c", ",".join(map(str, there))]
        environment = os.environ | {"RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self.process = subprocess.Popen(alone + [str(part) for part in command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(self.process.stderr.read().strip().splitlines()[-1:] or ["it ended"])
        return json.loads(line)

    def ask(self, order):
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return self.answer()

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def engines(asked, ids):
    wanted = [(f"prokura {kernel}", [asked.ours, "encoder", asked.base / "model.safetensors", ids, kernel])
              for kernel in ("avx512", "avxvnni", "avx2", "neon")]
    if asked.stock:
        wanted.append(("candle f32", [asked.stock, asked.base, ids]))
    for peer in ("onnx-int8", "onnx-f32", "torch-f32", "torch-bf16"):
        wanted.append((peer.replace("onnx", "ONNX Runtime").replace("torch", "PyTorch").replace("-", " "),
                       [sys.executable, HERE / "engine.py", peer, asked.base, ids, asked.work]))
    there = []
    for name, command in wanted:
        try:
            there.append(Engine(name, command))
        except (OSError, RuntimeError) as error:
            print(f"skipped {name}: {str(error)[:200]}", file=sys.stderr)
    return there


def closeness(engine, reference):
    import numpy as np
    a, b = np.array(engine.ask("vectors")), reference
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return {"mean": float(cosine.mean()), "least": float(cosine.min())}


def measured(asked, ids):
    import numpy as np
    all_of_them = engines(asked, ids)
    rounds = {engine.name: {order: [] for order in ORDERS} for engine in all_of_them}
    peaks = {engine.name: [] for engine in all_of_them if engine.name.startswith("prokura")}
    for number in range(asked.rounds + 1):
        for order in ORDERS:
            for engine in all_of_them:
                answer = engine.ask(order)
                if number:  # The first warms up.
                    rounds[engine.name][order].append(answer)
        for engine in all_of_them:
            if engine.name in peaks:
                peaks[engine.name].append(engine.ask("peak"))
    full = next((engine for engine in all_of_them if engine.name == "PyTorch f32"), None)
    reference = np.array(full.ask("vectors")) if full else None
    out = {}
    for engine in all_of_them:
        middle = lambda order, what: statistics.median(answer[what] for answer in rounds[engine.name][order])
        out[engine.name] = {
            "one_p50_ms": middle("one", "p50_ms"), "one_p99_ms": middle("one", "p99_ms"),
            "as_they_come": middle("batch 32", "texts_per_second"), "sorted": middle("sorted 32", "texts_per_second"),
            "tokens_per_second": middle("batch 32", "tokens_per_second"),
            "cosine": closeness(engine, reference) if full else None,
        }
        peak = [each for each in peaks.get(engine.name, []) if each["macs_per_second"]]
        if peak:
            most, token = statistics.median(each["macs_per_second"] for each in peak), peak[0]["macs_per_token"]
            out[engine.name]["peak_gop_per_second"] = 2e-9 * most
            out[engine.name]["share_of_peak"] = {
                "one": middle("one", "tokens_per_second") * token / most,
                "batch": middle("batch 32", "tokens_per_second") * token / most,
            }
        engine.end()
    return out


def paired(asked, command, first, second, what, cores):
    """Two orders in turns: the middle of the ratios second / first, and of each."""
    engine = Engine("ours", command, cores)
    pairs = [(engine.ask(first)[what], engine.ask(second)[what]) for _ in range(asked.rounds + 1)][1:]
    engine.end()
    middle = lambda values: statistics.median(list(values))
    return {"first": middle(a for a, _ in pairs), "second": middle(b for _, b in pairs), "ratio": middle(b / a for a, b in pairs)}


def ours(asked, plain, ids):
    model = asked.base / "model.safetensors"
    reading = [asked.ours, "reading", asked.bundle, ROOT / "config", plain]
    out = {"reading_over_encoder_p50": paired(asked, reading, "encoder", "reading", "p50_ms", 1)}
    if len(os.sched_getaffinity(0)) > 1:
        encoder = [asked.ours, "encoder", model, ids]
        out["two_threads_over_one"] = paired(asked, encoder, "threads 1", "threads 2", "texts_per_second", 2)
    return out


def table(name, tokens, figures, extra):
    head = (f"## {name}, {TEXTS:,} texts of {tokens:.1f} pieces\n\n"
            "| engine | one text p50 (p99), ms | texts/s at 32 as they come | sorted | tokens/s | cosine to f32, mean (least) |"
            " share of the core's peak, one / 32 |\n|---|---|---|---|---|---|---|\n")
    rows = []
    for engine, f in figures.items():
        close = f"{f['cosine']['mean']:.4f} ({f['cosine']['least']:.4f})" if f["cosine"] else ""
        peak = f.get("share_of_peak")
        peak = f"{100 * peak['one']:.0f} / {100 * peak['batch']:.0f} % of {f['peak_gop_per_second']:.0f} GOP/s" if peak else ""
        rows.append(f"| {engine} | {f['one_p50_ms']:.2f} ({f['one_p99_ms']:.2f}) | {f['as_they_come']:,.0f} | {f['sorted']:,.0f} |"
                    f" {f['tokens_per_second']:,.0f} | {close} | {peak} |")
    lines = [head + "\n".join(rows), ""]
    pair = extra["reading_over_encoder_p50"]
    lines.append(f"Whole reading over encoder alone, p50: {pair['ratio']:.2f} ({pair['second']:.2f} ms over {pair['first']:.2f}).")
    if pair := extra.get("two_threads_over_one"):
        lines.append(f"Two threads over one: {pair['ratio']:.2f} ({pair['second']:,.0f} texts/s over {pair['first']:,.0f}).")
    lines.append(ratios(figures))
    return "\n".join(lines) + "\n"


def ratios(figures):
    """What the figures are held to, as ratios within this run."""
    best = figures.get("prokura avx512") or next(iter(figures.values()))
    lines = []
    if eight := figures.get("ONNX Runtime int8"):
        lines += [f"one text, ONNX Runtime int8 / ours: {eight['one_p50_ms'] / best['one_p50_ms']:.2f}",
                  f"as they come, ours / ONNX Runtime int8: {best['as_they_come'] / eight['as_they_come']:.2f};"
                  f" against its sorted batches {best['as_they_come'] / eight['sorted']:.2f}"]
    if stock := figures.get("candle f32"):
        lines.append(f"ours / candle f32: one text {stock['one_p50_ms'] / best['one_p50_ms']:.1f},"
                     f" as they come {best['as_they_come'] / stock['as_they_come']:.1f}")
    if (full := figures.get("ONNX Runtime f32")) and (small := figures.get("prokura avx2")):
        lines.append(f"AVX2 alone / ONNX Runtime f32, one text: {full['one_p50_ms'] / small['one_p50_ms']:.2f};"
                     f" as they come {small['as_they_come'] / full['as_they_come']:.2f}")
    return "\n".join(f"- {line}" for line in lines)


def plot(out, all_figures):
    try:
        import matplotlib
        matplotlib.use("svg")
        import matplotlib.pyplot as pyplot
    except ImportError:
        print("skipped the plot: matplotlib is not there", file=sys.stderr)
        return
    name, figures = next(iter(all_figures.items()))
    engines = list(figures)[::-1]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), sharey=True)
    left.barh(engines, [figures[engine]["one_p50_ms"] for engine in engines])
    left.set_xlabel("one text, median, ms")
    right.barh(engines, [figures[engine]["as_they_come"] for engine in engines])
    right.set_xlabel("texts a second, 32 at a time as they come")
    figure.suptitle(f"{name}, one thread")
    figure.tight_layout()
    figure.savefig(out.with_suffix(".svg"), metadata={"Date": None})


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {"processor": named[0] if named else platform.processor(), "cores": os.cpu_count()}


def main():
    asked = options()
    asked.work.mkdir(parents=True, exist_ok=True)
    all_figures, others, lines = {}, {}, []
    for name, (plain, ids, tokens) in texts(asked).items():
        if asked.only not in (None, name):
            continue
        all_figures[name], others[name] = measured(asked, ids), ours(asked, plain, ids)
        lines.append(table(name, tokens, all_figures[name], others[name]))
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    whole = {"machine": machine(), "rounds": asked.rounds, "engines": all_figures, "ours": others}
    asked.out.with_suffix(".json").write_text(json.dumps(whole, indent=1) + "\n")
    here = machine()
    head = f"{here['processor']}, {here['cores']} cores; medians of {asked.rounds} rounds, one thread unless said.\n\n"
    asked.out.with_suffix(".md").write_text(head + "\n".join(lines))
    plot(asked.out, all_figures)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
