"""Runs Lethe and llama.cpp in turn on one file and prints both with their ratio."""

import argparse
import json
import statistics
import subprocess
import sys


def run(command):
    """What a command printed; its own words and an end of ours if it failed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"compare.py: '{' '.join(command)}' ended with status {done.returncode}")
    return done.stdout


def lethe_speed(options):
    """One round of Lethe: {'prefill': tokens/s, 'decode': tokens/s, 'probe': the machine's}."""
    rows = json.loads(run([
        options.lethe, "bench", "--model", options.model, "--json", "--repeat", "1",
        "--weights", options.weights, "--threads", str(options.threads), "--depth", str(options.depth),
        "--prefill", str(options.prefill), "--decode", str(options.decode)]))
    speed = {row["kind"]: row["tokens_per_s"] for row in rows if row["kind"] != "probe"}
    speed["probe"] = next(row for row in rows if row["kind"] == "probe")
    return speed


def peer_speed(options):
    """One round of llama.cpp: {'prefill': tokens/s, 'decode': tokens/s}."""
    lines = run(["node", options.peer, options.model, str(options.threads), str(options.depth),
                 str(options.prefill), str(options.decode), options.weights]).splitlines()
    return json.loads(lines[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a GGUF")
    parser.add_argument("--lethe", required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--depth", type=int, default=1024)
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=16)
    parser.add_argument("--weights", choices=("map", "copy"), default="map",
                        help="where both have them: in the mapped file, or read into memory")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    rounds = []
    for n in range(options.rounds):
        pair = (lethe_speed(options), peer_speed(options))
        rounds.append(pair)
        probe = pair[0]["probe"]
        print(f"round {n + 1}: this machine reads {probe['read_gb_s']:.1f} GB/s, "
              f"int8 {probe['int8_gop_s']:.0f} Gop/s", file=sys.stderr)

    print(f"{options.model}, {options.threads} threads, {options.depth} tokens in the cache, "
          f"medians of {options.rounds} rounds in turn, tokens/s")
    print(f"{'':10}{'lethe':>10}{'llama.cpp':>12}{'ratio':>8}")
    for kind in ("prefill", "decode"):
        if getattr(options, kind) == 0:
            continue
        ours = statistics.median(pair[0][kind] for pair in rounds)
        theirs = statistics.median(pair[1][kind] for pair in rounds)
        ratio = statistics.median(pair[0][kind] / pair[1][kind] for pair in rounds)
        print(f"{kind:10}{ours:10.2f}{theirs:12.2f}{ratio:8.2f}")


if __name__ == "__main__":
    main()
