"""Engram's compressed token map: which tokens share one id because their texts are alike."""

import re
import unicodedata

from byte_alphabet import token_bytes

_SPACE_MARK = "\ue000"
#: White_Space of Unicode; str.strip() alone would take U+001C to U+001F as well.
_WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + (
    "\u2028\u2029\u202f\u205f\u3000"
)


def normalize(text):
    """The normal form that tokens are compared by: no case, no marks, no white space around."""
    text = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text))
    text = "".join(c for c in text if not unicodedata.category(c).startswith("M"))
    text = "".join(c.lower() for c in text)
    text = re.sub("[ \t\r\n]+", " ", text)
    if text == " ":
        text = _SPACE_MARK
    return text.strip(_WHITE_SPACE).replace(_SPACE_MARK, " ")


def _key(token):
    data = token_bytes(token)
    text = token if data is None else data.decode("utf-8", "replace")
    if "\ufffd" in text:
        return token
    return normalize(text) or text


def engram_token_map(tokenizer):
    """(compressed id of every token id, number of compressed ids) of a bpe.Tokenizer."""
    return map_of_strings(tokenizer.strings())


def map_of_strings(strings):
    """The same from the vocabulary strings by id."""
    ids = {}
    compressed = [ids.setdefault(_key(token), len(ids)) for token in strings]
    return compressed, len(ids)
