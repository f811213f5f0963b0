#!/usr/bin/env python3
"""Our encoder on a GPU beside PyTorch in bf16, eager and compiled, and its readings beside those of the CPU.

    make bench-gpu

The engines take turns on texts of 16 to 64 pieces (our own messages; with PROKURA_DATA training lines of Banking77,
too). The vectors of the GPU are held against those of PyTorch in f32 and of the CPU's eight bits, and the leaves that
the shipped bundle finds on the GPU against those that it finds on the CPU. The share of the peak is that of a product
of square matrices in bf16, measured in the same run. `--device bf16` tries all of it on a CPU, where the figures mean
nothing. Needs numpy, tokenizers, torch, transformers and safetensors.
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path

import numpy as np
import run as cpu

ORDERS = ["one", "batch 64", "batch 512", "sorted 512", "sorted 2048"]


def options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--base", type=Path, default=cpu.ROOT / "models/base")
    parser.add_argument("--bundle", type=Path, default=cpu.ROOT / "models/default")
    parser.add_argument("--data", type=Path, default=os.environ.get("PROKURA_DATA"))
    parser.add_argument("--ours", type=Path, required=True,
                        help="the program of `cargo bench --features cuda --bench inference`")
    parser.add_argument("--device", default="cuda:0", help="cuda: and a number, or bf16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=8192)
    parser.add_argument("--peak", type=int, default=8192, help="rows of the square matrices")
    parser.add_argument("--work", type=Path, required=True, help="for texts")
    parser.add_argument("--out", type=Path, required=True, help="writes OUT.json and OUT.md")
    return parser.parse_args()


def texts(asked):
    """Files of texts of 16 to 64 pieces and of their piece ids, and the number of pieces."""
    import tokenizers
    pieces = tokenizers.Tokenizer.from_file(str(asked.base / "tokenizer.json"))
    pieces.no_padding()
    pieces.no_truncation()
    lines = cpu.own_messages(None)
    try:
        lines += cpu.banking77(Path(asked.data), None)
    except (OSError, TypeError) as error:
        print(f"without Banking77: {error}", file=sys.stderr)
    found = [(line, pieces.encode(line).ids) for line in lines]
    found = [each for each in found if 16 <= len(each[1]) <= 64]
    np.random.default_rng(7).shuffle(found)
    found = found[: asked.texts]
    plain, ids = asked.work / "gpu.texts.jsonl", asked.work / "gpu.ids.jsonl"
    plain.write_text("".join(json.dumps(str(line)) + "\n" for line, _ in found))
    ids.write_text("".join(json.dumps(list(map(int, each))) + "\n" for _, each in found))
    return plain, ids, len(found), sum(len(each) for _, each in found)


def engines(asked, ids):
    torch = asked.device if asked.device.startswith("cuda") else "cpu"
    peer = lambda name: [sys.executable, cpu.HERE / "engine.py", name, asked.base, ids, asked.work, torch]
    wanted = [("prokura", [asked.ours, "encoder", asked.base / "model.safetensors", ids, asked.device]),
              ("PyTorch eager", peer("torch-eager")), ("PyTorch compiled", peer("torch-compiled"))]
    there = {}
    for name, command in wanted:
        try:
            there[name] = cpu.Engine(name, command, os.cpu_count())
        except (OSError, RuntimeError) as error:
            print(f"skipped {name}: {str(error)[:300]}", file=sys.stderr)
    return there


def speed(asked, there):
    rounds = {name: {order: [] for order in ORDERS} for name in there}
    for number in range(asked.rounds + 1):
        for order in ORDERS:
            for name, engine in there.items():
                answer = engine.ask(order)
                if number:  # The first warms up, and compiles.
                    rounds[name][order].append(answer)
    middle = lambda answers, what: statistics.median(answer[what] for answer in answers)
    return {name: {order: {what: middle(answers, what) for what in ("p50_ms", "p99_ms", "tokens_per_second")}
                   for order, answers in orders.items()} for name, orders in rounds.items()}


def agreement(asked, there, plain, ids):
    """Cosines of the vectors, and the share of texts that get another leaf than from the CPU."""
    ours = there["prokura"]
    out = {}
    for name, command in (("CPU, eight bits", [asked.ours, "encoder", asked.base / "model.safetensors", ids]),
                          ("PyTorch f32 on the CPU", [sys.executable, cpu.HERE / "engine.py", "torch-f32", asked.base, ids,
                                                      asked.work])):
        other = cpu.Engine(name, command, os.cpu_count())
        out[name] = cpu.closeness(ours, np.array(other.ask("vectors")))
        other.end()
    leaves = []
    for place in ([asked.device], []):
        engine = cpu.Engine("leaves", [asked.ours, "reading", asked.bundle, cpu.ROOT / "config", plain, *place],
                            os.cpu_count())
        leaves.append(engine.ask("leaves"))
        engine.end()
    out["leaves that differ from the CPU's"] = float(np.mean([a[0] != b[0] for a, b in zip(*leaves)]))
    out["probability, largest difference where the leaf is the same"] = max(
        (abs(a[1] - b[1]) for a, b in zip(*leaves) if a[0] == b[0]), default=0.0)
    return out


def table(asked, count, tokens, figures, close, peak):
    lines = [f"{asked.device}, {count:,} texts of {tokens / count:.1f} pieces, medians of {asked.rounds} rounds; tokens a"
             " second, and the share of what the device multiplies in bf16"
             + (f" ({2e-12 * peak['macs_per_second']:.0f} TFLOP/s)." if peak["macs_per_second"] else "."), "",
             "| engine | one text p50 (p99), ms | " + " | ".join(ORDERS[1:]) + " |", "|---" * (len(ORDERS) + 1) + "|"]
    share = lambda rate: (f" ({100 * rate * peak['macs_per_token'] / peak['macs_per_second']:.1f} %)"
                          if peak["macs_per_second"] else "")
    for name, orders in figures.items():
        rates = [orders[order]["tokens_per_second"] for order in ORDERS[1:]]
        one = orders["one"]
        lines.append(f"| {name} | {one['p50_ms']:.2f} ({one['p99_ms']:.2f}) | "
                     + " | ".join(f"{rate:,.0f}{share(rate)}" for rate in rates) + " |")
    best = lambda name: max(orders["tokens_per_second"] for orders in figures[name].values())
    lines.append("")
    lines += [f"- ours / {name}, each at its best: {best('prokura') / best(name):.2f}" for name in figures if name != "prokura"]
    for name, value in close.items():
        lines.append(f"- {name}: " + (f"cosine {value['mean']:.5f}, least {value['least']:.5f}" if isinstance(value, dict)
                                      else f"{value:.4f}"))
    return "\n".join(lines) + "\n"


def main():
    asked = options()
    asked.work.mkdir(parents=True, exist_ok=True)
    plain, ids, count, tokens = texts(asked)
    there = engines(asked, ids)
    if "prokura" not in there:
        raise SystemExit("our own program does not run here: nothing was measured")
    figures = speed(asked, there)
    peak = there["prokura"].ask("peak")
    eager = there.get("PyTorch eager")
    peak["macs_per_second"] = eager.ask(f"peak {asked.peak}")["macs_per_second"] if eager else None
    close = agreement(asked, there, plain, ids)
    for engine in there.values():
        engine.end()
    whole = {"device": asked.device, "texts": count, "tokens": tokens, "rounds": asked.rounds, "engines": figures,
             "peak": peak, "agreement": close}
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.with_suffix(".json").write_text(json.dumps(whole, indent=1) + "\n")
    said = table(asked, count, tokens, figures, close, peak)
    asked.out.with_suffix(".md").write_text(said)
    print(said)


if __name__ == "__main__":
    main()
