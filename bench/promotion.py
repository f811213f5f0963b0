#!/usr/bin/env python3
"""Promotes two bundles in turn under a steady load and tells what callers notice.

Starts `prokura serve` on loopback with a state directory of its own, measures what it can do, sends twice the
normal load (a third of the capacity) as independent arrivals, and promotes twenty times. Standard library
alone; with matplotlib the latencies are plotted, too.

    cargo build --release --locked
    python3 bench/promotion.py --out bench/results/promotion
"""

import argparse
import http.client
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXTS = [
    "Wo bleibt meine Karte? Sie ist nach zwei Wochen noch nicht da.",
    "My card was stolen on the train, please block it!",
    "Wie hoch ist mein Kontostand?",
    "What does a transfer to Spain cost and how long does it take?",
    "Ich komme nicht mehr in mein Konto, mein Name ist Heike Brandt.",
    "I was charged twice for the same purchase at Elektro Brandl, 49.90 EUR.",
]


def options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/prokura")
    parser.add_argument("--bundle", type=Path, default=ROOT / "models/default")
    parser.add_argument("--promotions", type=int, default=20)
    parser.add_argument("--before", type=float, default=30.0, help="seconds of load without a promotion")
    parser.add_argument("--apart", type=float, default=6.0, help="seconds between two promotions")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="writes OUT.json, and OUT.png with matplotlib")
    return parser.parse_args()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Service:
    def __init__(self, asked, folder):
        self.program, self.folder, self.port = asked.program, folder, free_port()
        config = folder / "config"
        shutil.copytree(ROOT / "config", config)
        text = (config / "prokura.toml").read_text().replace('bundle = "../models/default"', f'bundle = "{asked.bundle}"')
        out = self.run("key", "load", "operator", config=ROOT / "config/prokura.toml")
        self.key = out.stdout.strip().splitlines()[0].strip()
        section = (out.stdout + out.stderr)[(out.stdout + out.stderr).index("[[key]]"):]
        (config / "prokura.toml").write_text(text + "\n" + section)
        self.config = config / "prokura.toml"
        self.run("policies", "index", str(ROOT / "index/policies"))
        self.log = open(folder / "log", "w")
        self.process = subprocess.Popen(
            [asked.program, "serve", "--listen", f"127.0.0.1:{self.port}", "--config", self.config, "--state", folder / "state"],
            stderr=self.log, stdout=self.log)
        for _ in range(200):
            try:
                if self.get("/healthz") == 200:
                    return
            except OSError:
                time.sleep(0.1)
        raise SystemExit("the service does not answer; see " + str(folder / "log"))

    def run(self, *arguments, config=None):
        command = [self.program, *arguments, "--config", config or self.config, "--state", self.folder / "state"]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{arguments}: {done.stderr}")
        return done

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path)
        return connection.getresponse().status

    def read(self, text):
        """Status and model of one reading."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        body = json.dumps({"text": text})
        headers = {"Content-Type": "application/json", "Authorization": "Bearer " + self.key}
        connection.request("POST", "/v1/understand", body, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        return response.status, answer.get("digests", {}).get("model")

    def resident(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1])


def capacity(service, seconds=8.0):
    """Readings a second of two callers that wait for each answer."""
    counts, end = [0, 0], time.monotonic() + seconds

    def call(at):
        while time.monotonic() < end:
            service.read(TEXTS[counts[at] % len(TEXTS)])
            counts[at] += 1

    callers = [threading.Thread(target=call, args=(at,)) for at in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return sum(counts) / seconds


class Load:
    """Independent arrivals at a rate, each in a thread of its own."""

    def __init__(self, service, rate, seed):
        self.service, self.rate, self.random = service, rate, random.Random(seed)
        self.answers, self.lock, self.ended = [], threading.Lock(), threading.Event()
        self.thread = threading.Thread(target=self.arrive)
        self.thread.start()

    def arrive(self):
        waiting, due = [], time.monotonic()
        while not self.ended.is_set():
            due += self.random.expovariate(self.rate)
            time.sleep(max(0.0, due - time.monotonic()))
            one = threading.Thread(target=self.call, args=(self.random.choice(TEXTS), due))
            one.start()
            waiting.append(one)
        for one in waiting:
            one.join()

    def call(self, text, due):
        try:
            status, model = self.service.read(text)
        except OSError:
            status, model = 0, None
        with self.lock:
            # From when it was due: a caller who waits in line waits, too.
            self.answers.append((due, time.monotonic() - due, status, model))

    def stop(self):
        self.ended.set()
        self.thread.join()
        return sorted(self.answers)


def share(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))] if values else None


def main():
    asked = options()
    folder = Path(tempfile.mkdtemp(prefix="prokura-promotion-"))
    many = folder / "many.jsonl"
    many.write_text("".join(
        json.dumps({"text": f"What is my balance {n}?", "leaf": "balance", "language": "en"}) + "\n" for n in range(100)))
    service = Service(asked, folder)
    try:
        other = json.loads(service.run("calibrate", "--tickets", str(many), "--mix", "assumed", "--out", str(folder / "other")).stdout)
        service.run("models", "import", str(folder / "other"))
        service.run("models", "import", str(asked.bundle))
        models = [other["model"], other["previous"]]
        able = capacity(service)
        load = Load(service, 2 * able / 3, asked.seed)
        begun = time.monotonic()
        time.sleep(asked.before)
        swaps, resident = [], []
        for number in range(asked.promotions):
            started = time.monotonic()
            service.run("models", "promote", models[number % 2], "--tickets", str(many))
            promoted = time.monotonic()
            while service.read(TEXTS[0])[1] != models[number % 2]:
                time.sleep(0.02)
            swaps.append((started, promoted, time.monotonic()))
            time.sleep(asked.apart)
            resident.append(service.resident())
        answers = load.stop()
    finally:
        service.process.terminate()
        service.process.wait()
    around = lambda at: any(start <= at <= end + 1.0 for start, _, end in swaps)
    first = swaps[0][0]
    before = [took for at, took, *_ in answers if begun + 5 <= at < first]
    during = [took for at, took, *_ in answers if around(at)]
    failed = [status for *_, status, _ in answers if status != 200]
    told = {
        "capacity_per_second": round(able, 1), "rate_per_second": round(2 * able / 3, 1),
        "requests": len(answers), "failed": len(failed), "promotions": len(swaps),
        "seconds_until_read": {"median": share([end - done for _, done, end in swaps], 0.5), "most": max(end - done for _, done, end in swaps)},
        "before": {"n": len(before), "p50": share(before, 0.5), "p99": share(before, 0.99)},
        "during": {"n": len(during), "p50": share(during, 0.5), "p99": share(during, 0.99)},
        "p99_ratio": share(during, 0.99) / share(before, 0.99),
        "resident_kb": resident, "resident_ratio": resident[-1] / resident[0], "cores": os.cpu_count(),
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.with_suffix(".json").write_text(json.dumps(told, indent=2) + "\n")
    print(json.dumps(told, indent=2))
    try:
        import matplotlib
        matplotlib.use("agg")
        import matplotlib.pyplot as plot
    except ImportError:
        return
    figure, axes = plot.subplots(figsize=(9, 4))
    axes.scatter([at - begun for at, *_ in answers], [took * 1000 for _, took, *_ in answers], s=4, alpha=0.5)
    for start, _, end in swaps:
        axes.axvspan(start - begun, end - begun, color="orange", alpha=0.3, lw=0)
    axes.set(xlabel="seconds", ylabel="milliseconds a reading", yscale="log",
             title=f"{len(swaps)} promotions (orange: from the command to the first reading by the other bundle)")
    figure.tight_layout()
    figure.savefig(asked.out.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
