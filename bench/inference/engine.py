#!/usr/bin/env python3
"""One of our encoder's peers: the same orders on standard input, the same answers (see benches/inference.rs).

    engine.py NAME BASE IDS.jsonl WORK [DEVICE]

NAME: torch-f32, torch-bf16, onnx-f32, onnx-int8, each on one thread; with a DEVICE that PyTorch knows torch-eager and
torch-compiled, in bf16, which also tell the `peak`: what the device multiplies at most. BASE holds config.json and
model.safetensors; WORK keeps the model as ONNX.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertModel


class Pooled(torch.nn.Module):
    """The mean of a text's vectors, of length 1."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids, attention_mask):
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(mean.float(), dim=1)


def base(folder):
    config = BertConfig.from_pretrained(folder, attn_implementation="sdpa")
    encoder = BertModel(config, add_pooling_layer=False)
    weights = {name.removeprefix("bert."): value for name, value in load_file(folder / "model.safetensors").items()}
    missing, _ = encoder.load_state_dict(weights, strict=False)
    assert not [name for name in missing if "position_ids" not in name], missing
    return Pooled(encoder).eval()


def padded(batch, multiple=1):
    longest = -(-max(map(len, batch)) // multiple) * multiple
    ids = np.zeros((len(batch), longest), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(batch):
        ids[row, : len(text)] = text
        mask[row, : len(text)] = 1
    return ids, mask


def torch_engine(folder, dtype):
    torch.set_num_threads(1)
    model = base(folder).to(dtype)

    def run(batch):
        ids, mask = padded(batch)
        with torch.inference_mode():
            return model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()

    return run


def device_engine(folder, device, compiled):
    """In bf16. Lengths are filled up to multiples of 16, so that few shapes are compiled."""
    model = base(folder).to(device, torch.bfloat16)
    if compiled:
        model = torch.compile(model, dynamic=True)

    def run(batch):
        ids, mask = (torch.from_numpy(each).to(device) for each in padded(batch, 16))
        with torch.inference_mode():
            return model(ids, mask).cpu().numpy()

    return run


def peak(device, size):
    """Products a second of two square matrices in bf16; the best of nine."""
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    times = []
    for _ in range(9):
        begun = time.perf_counter()
        (a @ a)[0, 0].item()
        times.append(time.perf_counter() - begun)
    return size**3 / min(times)


def onnx_engine(folder, work, eight_bit):
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    full, small = work / "full.onnx", work / "int8.onnx"
    if not full.exists():
        ids = torch.ones((2, 8), dtype=torch.int64)
        axes = {"input_ids": {0: "batch", 1: "length"}, "attention_mask": {0: "batch", 1: "length"}}
        model = base(folder)
        torch.onnx.export(model, (ids, ids), str(full), input_names=list(axes), output_names=["vectors"],
                          dynamic_axes=axes | {"vectors": {0: "batch"}}, opset_version=17, dynamo=False)
    if eight_bit and not small.exists():
        quantize_dynamic(full, small, weight_type=QuantType.QInt8, per_channel=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(small if eight_bit else full), options, ["CPUExecutionProvider"])

    def run(batch):
        ids, mask = padded(batch)
        return session.run(None, {"input_ids": ids, "attention_mask": mask})[0]

    return run


def engine(name, folder, work, device):
    match name:
        case "torch-eager" | "torch-compiled":
            return device_engine(folder, device, name == "torch-compiled")
        case "torch-f32":
            return torch_engine(folder, torch.float32)
        case "torch-bf16":
            return torch_engine(folder, torch.bfloat16)
        case "onnx-f32":
            return onnx_engine(folder, work, False)
        case "onnx-int8":
            return onnx_engine(folder, work, True)
    raise SystemExit(f"no engine `{name}`")


def timed(run, batches):
    each, texts, tokens = [], 0, 0
    begun = time.perf_counter()
    for batch in batches:
        one = time.perf_counter()
        run(batch)
        each.append((time.perf_counter() - one) * 1e3)
        texts += len(batch)
        tokens += sum(map(len, batch))
    seconds = time.perf_counter() - begun
    each.sort()
    at = lambda share: each[int(len(each) * share)]
    return {"p50_ms": at(0.5), "p99_ms": at(0.99), "texts_per_second": texts / seconds,
            "tokens_per_second": tokens / seconds}


def chunks(texts, size):
    return [texts[at:at + size] for at in range(0, len(texts), size)]


def main():
    name, folder, file, work = sys.argv[1], *map(Path, sys.argv[2:5])
    device = sys.argv[5] if len(sys.argv) > 5 else "cpu"
    texts = [json.loads(line) for line in file.read_text().splitlines()]
    run = engine(name, folder, work, device)
    say = lambda answer: print(json.dumps(answer), flush=True)
    say({"kernel": name, "texts": len(texts)})
    for order in sys.stdin:
        match order.split():
            case ["one"]:
                say(timed(run, [[text] for text in texts]))
            case ["batch", size]:
                say(timed(run, chunks(texts, int(size))))
            case ["sorted", size]:
                say(timed(run, chunks(sorted(texts, key=len), int(size))))
            case ["vectors"]:
                say([run([text])[0].tolist() for text in texts])
            case ["peak", size]:
                say({"macs_per_second": peak(device, int(size))})
            case _:
                say({"error": "one, batch N, sorted N, vectors or peak SIZE"})


if __name__ == "__main__":
    main()
