"""The tokenizer: byte-level BPE, read from and written to the form of a tokenizer.json."""

import json
import re

from byte_alphabet import CHAR_OF_BYTE, token_bytes, token_string
from pre_tokenizer import PATTERNS, PreTokenizer
from special_tokens import FIRST, LAST, NOT_SPECIAL


class Tokenizer:
    """Text to ids and back. `tokens`: every token's bytes or, for added ones, text, by id."""

    def __init__(self, merges, vocabulary_size):
        """`merges`: pairs of byte strings, best first."""
        base = [bytes([byte]) for byte in range(256)]
        base += dict.fromkeys(left + right for left, right in merges)  # one id for one text
        self.merges = merges
        self.size = vocabulary_size
        if len(FIRST) + len(base) + len(LAST) != vocabulary_size:
            raise ValueError(f"{len(base)} base and the added tokens are not {vocabulary_size}")
        self.tokens = [*FIRST, *base, *LAST]
        self.added = {text: self.tokens.index(text) for text in (*FIRST, *LAST)}
        self.id_of = {data: i for i, data in enumerate(self.tokens) if isinstance(data, bytes)}
        self._rank = {
            (self.id_of[left], self.id_of[right]): rank for rank, (left, right) in enumerate(merges)
        }
        self._result = {pair: self.id_of[left + right]
                        for pair, (left, right) in zip(self._rank, merges)}
        self._splitter = PreTokenizer()
        self._words = {}
        self._added_pattern = re.compile(
            "(" + "|".join(re.escape(t) for t in sorted(self.added, key=len, reverse=True)) + ")"
        )

    @staticmethod
    def load(path):
        """Reads a file that save() wrote."""
        with open(path, encoding="utf-8") as file:
            model = json.load(file)
        merges = [tuple(token_bytes(part) for part in merge.split(" "))
                  for merge in model["model"]["merges"]]
        return Tokenizer(merges, len(model["model"]["vocab"]) + len(LAST))

    def save(self, path):
        """Writes a tokenizer.json with the structure of the released one."""
        added = [
            {"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": text not in NOT_SPECIAL}
            for text, i in sorted(self.added.items(), key=lambda item: item[1])
        ]
        vocab = {data if isinstance(data, str) else token_string(data): i
                 for i, data in enumerate(self.tokens[: self.size - len(LAST)])}
        splits = [{"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated",
                   "invert": False} for pattern in PATTERNS]
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                      "use_regex": False}
        model = {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": added,
            "normalizer": {"type": "Sequence", "normalizers": []},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*splits, byte_level]},
            "post_processor": {"type": "ByteLevel", "add_prefix_space": True,
                               "trim_offsets": False, "use_regex": True},
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                        "use_regex": True},
            "model": {
                "type": "BPE", "dropout": None, "unk_token": None,
                "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
                "byte_fallback": False, "vocab": vocab,
                "merges": [f"{token_string(left)} {token_string(right)}"
                           for left, right in self.merges],
            },
        }
        with open(path, "w", encoding="utf-8") as file:
            json.dump(model, file, ensure_ascii=False, indent=1)
            file.write("\n")

    def strings(self):
        """Every token as a vocabulary file writes it, by id."""
        return [t if isinstance(t, str) else token_string(t) for t in self.tokens]

    def encode(self, text, parse_special=False):
        """Ids of `text`; added tokens count as such only if asked for."""
        if not parse_special:
            return self._encode_plain(text)
        ids = []
        for part in self._added_pattern.split(text):
            if part in self.added:
                ids.append(self.added[part])
            elif part:
                ids.extend(self._encode_plain(part))
        return ids

    def decode(self, ids):
        """The text of `ids`, added tokens included."""
        return b"".join(
            t.encode() if isinstance(t, str) else t for t in (self.tokens[i] for i in ids)
        ).decode("utf-8", "replace")

    def _encode_plain(self, text):
        ids = []
        words = self._words
        for piece in self._splitter.split(text):
            known = words.get(piece)
            if known is None:
                known = self._merge(piece.encode("utf-8"))
                if len(words) < 1_000_000:
                    words[piece] = known
            ids.extend(known)
        return ids

    def _merge(self, word):
        """The ids of one piece: the pair with the best rank is merged first, leftmost on a tie."""
        ids = [self.id_of[bytes([byte])] for byte in word]
        while len(ids) > 1:
            best = min(zip(ids, ids[1:]), key=lambda pair: self._rank.get(pair, 1 << 30))
            if best not in self._rank:
                break
            at = next(i for i in range(len(ids)) if (ids[i], ids[i + 1]) == best)
            ids[at : at + 2] = [self._result[best]]
        return ids


assert len(CHAR_OF_BYTE) == 256
