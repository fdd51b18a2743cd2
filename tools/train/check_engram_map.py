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


def agrees(compressed, size, golden):
    """Golden maps are rows of (id, token, compressed id), or a size and the SHA-256 of the map."""
    if isinstance(golden, list):
        return [row[2] for row in golden] == compressed
    data = struct.pack(f"<{len(compressed)}i", *compressed)
    return (golden["compressed_size"] == size
            and golden["map_sha256_le_int32"] == hashlib.sha256(data).hexdigest())


def main():
    compressed, size = map_of_strings(strings_of(sys.argv[1]))
    with open(sys.argv[2], encoding="utf-8") as file:
        equal = agrees(compressed, size, json.load(file))
    print(f"{len(compressed)} tokens, {size} compressed: {'equal' if equal else 'different'}")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
