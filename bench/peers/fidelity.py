"""How far `fast` and llama.cpp are from exact arithmetic on one GGUF: KL divergence of their next tokens."""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np


def run(*command):
    """Ends with a message of ours if the command fails."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        sys.exit(f"fidelity.py: '{' '.join(map(str, command))}' ended with status {done.returncode}")


def lethe_logits(options, tokens_file, numerics, folder):
    """`lethe logits`, as f32 [tokens, vocabulary]."""
    out = folder / f"{numerics}.safetensors"
    run(options.lethe, "logits", "--model", options.model, "--threads", options.threads,
        "--tokens-file", tokens_file, "--numerics", numerics, "--out", out)
    raw = np.memmap(out, dtype=np.uint8, mode="r")
    header_size = int(raw[:8].view("<u8")[0])
    entry = json.loads(raw[8:8 + header_size].tobytes())["logits"]
    begin, end = (8 + header_size + at for at in entry["data_offsets"])
    return raw[begin:end].view("<f4").reshape(entry["shape"])


def peer_logits(options, tokens_file, tokens, folder):
    """llama.cpp's, likewise."""
    out = folder / "llama_cpp.f32"
    run("node", options.peer, options.model, options.threads, tokens_file, out)
    return np.memmap(out, dtype="<f4", mode="r").reshape(tokens, -1)


def log_softmax(logits):
    x = logits.astype(np.float64)
    x -= x.max()
    return x - np.log(np.exp(x).sum())


def differences(reference, other):
    """Per position: KL(reference || other) in nats; whether the best token is the same."""
    kl, same = [], []
    for p, q in zip(reference, other):
        log_p, log_q = log_softmax(p), log_softmax(q)
        kl.append(float((np.exp(log_p) * (log_p - log_q)).sum()))
        same.append(int(p.argmax()) == int(q.argmax()))
    return np.array(kl), np.array(same)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a GGUF")
    parser.add_argument("--lethe", required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=512)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        tokens_file = folder / "tokens.json"
        # Words of no meaning, as in llama_cpp.mjs.
        tokens_file.write_text(json.dumps([1000 + i * 7919 % 90000 for i in range(options.tokens)]))
        rows = {"lethe, fast": lethe_logits(options, tokens_file, "fast", folder),
                "llama.cpp": peer_logits(options, tokens_file, options.tokens, folder)}
        # What the released form of the cache does by itself, in exact arithmetic.
        served = lethe_logits(options, tokens_file, "f32-served", folder)
        print(f"{options.model}, {options.tokens} positions; KL in nats")
        print(f"{'from':12}{'of':14}{'mean':>10}{'median':>10}{'90 %':>10}{'largest':>10}"
              f"{'same best token':>18}")
        for numerics in ("f32-served", "official", "f32"):
            reference = (served if numerics == "f32-served"
                         else lethe_logits(options, tokens_file, numerics, folder))
            for label, logits in rows.items():
                kl, same = differences(reference, logits)
                print(f"{numerics:12}{label:14}{kl.mean():10.5f}{np.median(kl):10.5f}"
                      f"{np.quantile(kl, 0.9):10.5f}{kl.max():10.5f}{100 * same.mean():16.1f} %",
                      flush=True)
            rows["f32-served"] = served


if __name__ == "__main__":
    main()
