#!/usr/bin/env python3
"""Shows the autonomy dial moving: from suggest to auto as blind reviews arrive, and back when calls go wrong.

Starts `prokura demo` on loopback with a state directory of its own and a bundle that nobody has measured. Customers lose their
cards; a reviewer answers what is drawn. Then the reviewer finds that the machine is wrong, and two people raise the dial
again. Standard library alone.

    cargo build --locked
    python3 bench/dial.py --program target/debug/prokura --out bench/results/dial
"""

import argparse
import hashlib
import json
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOST = "I have lost my card, please block it."
BALANCE = "Wie hoch ist mein Kontostand?"
DIAL = """
[evidence]
review_share = 1.0
control_share = 1.0
false_alarm_every = 100
[[dial]]
leaf = "lost_or_stolen_card"
tool = "card_block"
level = "auto"
max_error = 0.1
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def prepare(folder):
    """A configuration with the dial above, a key for each person, and the bundle without its evidence."""
    shutil.copytree(ROOT / "config", folder / "config")
    (folder / "config/autonomy.toml").write_text(DIAL)
    (folder / "index").symlink_to(ROOT / "index")
    bundle = folder / "models/default"
    bundle.mkdir(parents=True)
    for file in (ROOT / "models/default").iterdir():
        if file.name != "evidence.json":
            (bundle / file.name).symlink_to(file)
    keys = {}
    text = (folder / "config/prokura.toml").read_text()
    people = {"app": "channel", "rita": "agent", "sara": "supervisor", "uwe": "supervisor", "otto": "operator"}
    for name, role in people.items():
        keys[name] = "prk_" + secrets.token_hex(32)
        digest = hashlib.sha256(keys[name].encode()).hexdigest()
        text += f'\n[[key]]\nname = "{name}"\nprincipal = "{name}"\nrole = "{role}"\nsha256 = "{digest}"\n'
    (folder / "config/prokura.toml").write_text(text)
    return keys


def call(url, key=None, body=None, token=None):
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    if token:
        headers["Prokura-Identity"] = token
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


class Bank:
    """The program under test, and what is said of its dial after each step."""

    def __init__(self, service, bank, keys):
        self.service, self.bank, self.keys = service, bank, keys
        self.customer, self.steps, self.cases = 100, [], 0

    def write(self, customer, text):
        _, login = call(f"{self.bank}/channel/token", body={"customer": customer, "text": text})
        status, view = call(f"{self.service}/v1/cases", self.keys["app"], {"text": text}, login["token"])
        assert status in (201, 202), view
        self.cases += 1

    def lost(self):
        self.customer += 1
        self.write(f"cus_{self.customer:03}", LOST)

    def dial(self, what=None):
        _, told = call(f"{self.service}/v1/autonomy", self.keys["sara"])
        row = next(row for row in told["dials"] if row["tool"] == "card_block")
        if what:
            self.steps.append({"what": what, "cases": self.cases, **row})
            print(f"{what}: {row['effective']}; {row['why']}")
        return row

    def review(self, read):
        _, told = call(f"{self.service}/v1/reviews", self.keys["rita"])
        for review in told["reviews"]:
            path = f"{self.service}/v1/reviews/{review['review']}"
            status, shown = call(path, self.keys["rita"])
            if status == 200:
                leaf = read(shown["messages"][0]["text"])
                status, told = call(path, self.keys["rita"], {"leaf": leaf, "act": True})
                assert status == 200, told

    def turn(self, who):
        body = {"leaf": "lost_or_stolen_card", "tool": "card_block", "level": "auto", "reason": "looked at"}
        return call(f"{self.service}/v1/autonomy", self.keys[who], body)[0]


def honest(text):
    return "lost_or_stolen_card" if text == LOST else "balance"


def show(bank):
    bank.dial("at the start")
    for _ in range(10):
        bank.write("cus_022", BALANCE)
    while bank.dial()["effective"] != "auto":
        bank.lost()
        bank.review(honest)
        bank.dial("a suggested call was reviewed")
    for _ in range(5):
        bank.lost()
    bank.review(honest)
    bank.dial("automatic calls were reviewed, and right")
    while not bank.dial()["demoted"]:
        bank.lost()
        bank.review(lambda _: "balance")
        bank.dial("a call was reviewed, and wrong")
    print("raising: sara", bank.turn("sara"), "sara again", bank.turn("sara"), "otto", bank.turn("otto"))
    bank.dial("two people raised it")
    while bank.dial()["effective"] != "auto":
        bank.lost()
        bank.review(honest)
    bank.dial("earned again")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/prokura")
    parser.add_argument("--out", type=Path, help="writes OUT.json")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys = prepare(folder)
        service, bank = free_port(), free_port()
        command = [given.program.resolve(), "demo", "--config", folder / "config/prokura.toml", "--state", folder / "state"]
        command += ["--listen", f"127.0.0.1:{service}", "--bank", f"127.0.0.1:{bank}"]
        with open(folder / "log", "w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                wait(f"http://127.0.0.1:{service}/healthz", process, folder / "log")
                shown = Bank(f"http://127.0.0.1:{service}", f"http://127.0.0.1:{bank}", keys)
                show(shown)
                told = [line for line in (folder / "log").read_text().splitlines() if "a dial" in line]
                print("\n".join(told))
            finally:
                process.terminate()
    if given.out:
        given.out.with_suffix(".json").write_text(json.dumps(shown.steps, indent=1) + "\n")


def wait(url, process, log):
    for _ in range(6000):
        assert process.poll() is None, log.read_text()
        try:
            if call(url)[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(log.read_text())


if __name__ == "__main__":
    main()
