#!/usr/bin/env python3
"""What `prokura serve` makes of the machine: cold start, memory, readings a second, and three times too many of them.

Starts the service on loopback with a state directory of its own. The load comes from `cargo bench --bench load`,
which runs on the same cores: its share is told beside the figures, and the encoder's own rate is measured while the
service is idle.

    cargo build --release --locked && cargo bench --locked --no-run
    python3 bench/serving.py --load PROGRAM --inference PROGRAM --out bench/results/serving.json
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "inference"))
import run as inference  # noqa: E402
from promotion import ROOT, Service  # noqa: E402


def options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/prokura")
    parser.add_argument("--bundle", type=Path, default=ROOT / "models/default")
    parser.add_argument("--load", type=Path, required=True, help="the program of `cargo bench --bench load`")
    parser.add_argument("--inference", type=Path, required=True, help="the program of `cargo bench --bench inference`")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--overload", type=float, default=60.0, help="seconds of three times the capacity")
    parser.add_argument("--messages", type=int, default=0, help="read so many more and see what memory grows by")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def cold_start(asked, config, state):
    """Milliseconds from the start of the process to the end of its first reading; the middle of five."""
    times = []
    for _ in range(5):
        begun = time.monotonic()
        subprocess.run([asked.program, "understand", "--config", config, "--state", state, "Karte weg"],
                       check=True, capture_output=True)
        times.append(1e3 * (time.monotonic() - begun))
    return sorted(times)[2]


def load(asked, service, texts, kind, number, seconds):
    """The figures of a load, with the cores that the service and the load kept busy."""
    before, own = cpu(service.process.pid), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [asked.load, f"127.0.0.1:{service.port}", service.key, texts, kind, number, seconds]
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    told, after = json.loads(done.stdout), resource.getrusage(resource.RUSAGE_CHILDREN)
    told["cores"] = {
        "service": (cpu(service.process.pid) - before) / told["seconds"],
        "load": (after.ru_utime + after.ru_stime - own.ru_utime - own.ru_stime) / told["seconds"],
    }
    return told


def cpu(process):
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Watch:
    """Resident memory, twice a second."""

    def __init__(self, service):
        self.service, self.resident, self.ended = service, [], threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()

    def look(self):
        while not self.ended.wait(0.5):
            self.resident.append(self.service.resident())

    def end(self):
        self.ended.set()
        self.thread.join()
        third = max(1, len(self.resident) // 3)
        first, last = self.resident[:third], self.resident[-third:]
        return {"first_third_kib": max(first), "last_third_kib": max(last), "most_kib": max(self.resident)}


def main():
    asked = options()
    told = {"machine": inference.machine()}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        texts, ids = folder / "texts.jsonl", folder / "ids.jsonl"
        lines = inference.own_messages()
        texts.write_text("".join(json.dumps(line) + "\n" for line in lines))
        service = Service(asked, folder)
        time.sleep(2)
        told["idle_kib"] = service.resident()
        told["cold_start_ms"] = cold_start(asked, service.config, folder / "state")
        reading = [asked.inference, "reading", asked.bundle, ROOT / "config", texts]
        encoder = inference.Engine("encoder", reading, len(os.sched_getaffinity(0)))
        rates = [encoder.ask("encoder")["texts_per_second"] for _ in range(4)][1:]
        encoder.end()
        one = sorted(rates)[1]
        told["encoder_one_thread_per_second"] = one
        load(asked, service, texts, "closed", 64, 3)
        told["closed_64"] = closed = load(asked, service, texts, "closed", 64, asked.seconds)
        rate = closed["answers"]["urgent 200"]["per_second"]
        cores = len(os.sched_getaffinity(0))
        # What the service did on the cores that the load left it, over what the encoder alone would do there.
        told["over_encoder"] = rate / (one * cores)
        told["over_encoder_per_core"] = rate / closed["cores"]["service"] / one
        told["at_80_percent"] = load(asked, service, texts, "open", 0.8 * rate, asked.seconds)
        watch = Watch(service)
        told["three_times"] = load(asked, service, texts, "open", 3 * rate, asked.overload)
        told["three_times"]["resident"] = watch.end()
        time.sleep(2)
        told["idle_behind_kib"] = service.resident()
        if asked.messages:
            watch = Watch(service)
            told["many"] = load(asked, service, texts, "closed", 64, asked.messages / rate)
            told["many"]["resident"] = watch.end()
        service.process.terminate()
        service.process.wait()
    asked.out.write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
