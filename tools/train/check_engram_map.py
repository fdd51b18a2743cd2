"""Checks engram_map.py against a golden map: check_engram_map.py tokenizer.json token_map.json"""

import hashlib
import json
import struct
import sys

from engram_map import map_of_strings


def strings_of(path):
    """The vocabulary strings of any tokenizer.json, by id."""
    with open(path, encoding="utf-8") as file:
        source = json.load(file)
    by_id = {i: token for token, i in source["model"]["vocab"].items()}
    by_id.update({token["id"]: token["content"] for token in source["added_tokens"]})
    return [by_id[i] for i in range(len(by_id))]


def main():
    compressed, size = map_of_strings(strings_of(sys.argv[1]))
    with open(sys.argv[2], encoding="utf-8") as file:
        golden = json.load(file)
    digest = hashlib.sha256(struct.pack(f"<{len(compressed)}i", *compressed)).hexdigest()
    print(f"{len(compressed)} tokens, {size} compressed, sha256 {digest}")
    text = json.dumps(golden)
    ok = digest in text and str(size) in text
    print("equal" if ok else f"different: {list(golden)}")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
