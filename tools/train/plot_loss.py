"""Draws training logs (JSON lines), one run after the other, as an SVG of loss curves.

    python3 tools/train/plot_loss.py log.jsonl [log.jsonl ...] loss.svg
"""

import json
import math
import sys

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 360, 56, 40, 28, 16
COLOURS = {"loss": "#1f77b4", "draft": "#d62728", "index": "#2ca02c"}
NAMES = {"loss": "next token", "draft": "draft head", "index": "indexer (KL)"}


def _smooth(values, span):
    result, mean = [], None
    for v in values:
        mean = v if mean is None else mean + (v - mean) / span
        result.append(mean)
    return result


def _line(points, colour):
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{path}"/>'


def _text(x, y, text, anchor="middle"):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{text}</text>'


def _ticks(most):
    """Multiples of a round number up to `most`, at most seven."""
    size = 10 ** math.floor(math.log10(most))
    step = next(size * f for f in (0.1, 0.2, 0.5, 1, 2) if most / (size * f) <= 6)
    return [step * i for i in range(int(most / step) + 1)]


def draw(rows, keys=("loss", "draft", "index"), points=400):
    """The SVG text. rows: dicts with "tokens" and a value per key; losses on a log scale."""
    keys = [k for k in keys if k in rows[0]]
    curves = {k: _smooth([max(r[k], 1e-3) for r in rows], 8) for k in keys}
    step = max(1, len(rows) // points)
    most = rows[-1]["tokens"]
    low = math.floor(math.log10(min(min(c) for c in curves.values())) * 2) / 2
    high = math.ceil(math.log10(max(max(c) for c in curves.values())) * 2) / 2

    def at(tokens, value):
        x = LEFT + (WIDTH - LEFT - RIGHT) * tokens / most
        y = TOP + (HEIGHT - TOP - BOTTOM) * (high - math.log10(value)) / (high - low)
        return x, y

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#444">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for i in range(int(low * 2), int(high * 2) + 1):
        value = 10 ** (i / 2)
        _, y = at(0, value)
        out.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        out.append(_text(LEFT - 6, y + 4, f"{value:.2g}", "end"))
    for tokens in _ticks(most):
        x, _ = at(tokens, 1)
        out.append(_text(x, HEIGHT - BOTTOM + 18, f"{tokens / 1e6:g} M"))
    out.append(_text(WIDTH / 2, HEIGHT - 6, "tokens seen"))
    for n, key in enumerate(keys):
        picked = [at(rows[i]["tokens"], curves[key][i]) for i in range(0, len(rows), step)]
        out.append(_line(picked, COLOURS[key]))
        out.append(f'<g fill="{COLOURS[key]}">{_text(LEFT + 8 + 110 * n, 18, NAMES[key], "start")}</g>')
    return "\n".join(out) + "\n</svg>\n"


def read(paths):
    """The records of several logs; the tokens of a run count on from those of the run before."""
    records, before = [], 0
    for path in paths:
        with open(path, encoding="utf-8") as log:
            run = [r for r in map(json.loads, log) if "loss" in r]
        records += [{**r, "tokens": r["tokens"] + before} for r in run]
        before = records[-1]["tokens"]
    return records


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: plot_loss.py log.jsonl [log.jsonl ...] loss.svg")
    with open(sys.argv[-1], "w", encoding="utf-8") as svg:
        svg.write(draw(read(sys.argv[1:-1])))
