#!/usr/bin/env python3
"""Fails on an #include that points upward (design: one static library per floor).

Every file under src/FLOOR may include only "FLOOR/..." and the floors that FLOOR stands on.
Usage: tools/check_layers.py [SRC_DIR]
"""
import pathlib
import re
import sys

BELOW = {
    "base": [],
    "tensor": ["base"],
    "quant": ["tensor", "base"],
    "kernels": ["quant", "tensor", "base"],
    "ops": ["kernels", "quant", "tensor", "base"],
    "model": ["ops", "kernels", "quant", "tensor", "base"],
    "cache": ["model", "ops", "kernels", "quant", "tensor", "base"],
    "engine": ["cache", "model", "ops", "kernels", "quant", "tensor", "base"],
    "text": ["base"],
}
BELOW["serve"] = ["engine", "text"] + BELOW["engine"]
BELOW["apps"] = ["serve"] + BELOW["serve"]

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')


def check(src: pathlib.Path) -> list[str]:
    faults = []
    for path in sorted(p for p in src.rglob("*") if p.suffix in {".h", ".cpp", ".inc", ".inl"}):
        floor = path.relative_to(src).parts[0]
        if floor not in BELOW:
            faults.append(f"{path}: '{floor}' is not a floor")
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            target = match.group(1)
            if ".." in target.split("/") or not (src / target).is_file():
                faults.append(f'{path}:{number}: "{target}" is not a path from src/')
            elif target.split("/")[0] not in [floor, *BELOW[floor]]:
                faults.append(f"{path}:{number}: {floor} must not include {target}")
    return faults


def main() -> int:
    root = pathlib.Path(__file__).resolve().parent.parent
    src = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root / "src"
    faults = check(src)
    for fault in faults:
        print(fault)
    print(f"layers: {len(faults)} upward or broken includes")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
