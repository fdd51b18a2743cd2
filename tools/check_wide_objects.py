#!/usr/bin/env python3
"""Fails if an object compiled with wide instruction flags shares more than its installer.

The linker keeps one copy of a weak symbol, and it could be the one that only some CPUs can run. So
each object may define exactly one global symbol, a function called install_*.
Usage: tools/check_wide_objects.py NM OBJECT...     (only those named avx*, amx* or neon*)
"""
import pathlib
import subprocess
import sys


def shared_symbols(nm: str, path: str) -> list[tuple[str, str]]:
    """(kind, name) of what the object defines for others: nm's capitals but U, and u, v, w."""
    lines = subprocess.run(
        [nm, "-C", "--defined-only", path], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    symbols = [line.split(" ", 2)[1:] for line in lines if line.strip()]
    return [(kind, name) for kind, name in symbols if kind.isupper() or kind in "uvw"]


def fault(symbols: list[tuple[str, str]]) -> str:
    if len(symbols) == 1 and symbols[0][0] == "T" and "::install_" in symbols[0][1]:
        return ""
    return "; ".join(f"{kind} {name}" for kind, name in symbols) or "no symbol at all"


def main() -> int:
    nm, *objects = sys.argv[1:]
    wide = [path for path in objects if pathlib.Path(path).name.startswith(("avx", "amx", "neon"))]
    faults = 0
    for path in wide:
        found = fault(shared_symbols(nm, path))
        if found:
            print(f"{path}: expected one T install_*, found {found}")
            faults += 1
    print(f"wide objects: {len(wide)} checked, {faults} at fault")
    return 1 if faults or not wide else 0


if __name__ == "__main__":
    sys.exit(main())
