#!/usr/bin/env python3
"""Fails unless an object contains each of some instructions.

Kernels that this machine cannot run can still be looked at: that the compiler was given them, and
that the assembler knew them.
Usage: tools/check_instructions.py OBJDUMP FILE_NAME MNEMONIC,... OBJECT...
       (of the objects only the one called FILE_NAME is read)
"""
import pathlib
import re
import subprocess
import sys


def mnemonics(objdump: str, path: str) -> set[str]:
    text = subprocess.run(
        [objdump, "-d", "--no-show-raw-insn", path], check=True, capture_output=True, text=True
    ).stdout
    return set(re.findall(r"^\s+[0-9a-f]+:\s+([a-z0-9]+)", text, re.MULTILINE))


def main() -> int:
    objdump, name, wanted, *objects = sys.argv[1:]
    chosen = [path for path in objects if pathlib.Path(path).name == name]
    if len(chosen) != 1:
        print(f"{len(chosen)} objects are called {name}")
        return 1
    missing = set(wanted.split(",")) - mnemonics(objdump, chosen[0])
    print(f"{name}: {wanted}; missing: {', '.join(sorted(missing)) or 'none'}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
