"""Cuts text into the pieces that BPE may not merge across, as the released tokenizer does."""

import re
import sys
import unicodedata

#: The three expressions of the released tokenizer.json, in its notation.
PATTERNS = (
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
)

#: White_Space of Unicode; Python's \s has U+001C to U+001F as well.
_SPACE = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"


def _class_of(categories, last):
    """The inside of a character class with every code point of the general categories."""
    ranges = []
    for code in range(last + 1):
        if unicodedata.category(chr(code))[0] in categories:
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges)


def _compile(pattern, last):
    """One of PATTERNS in Python's notation, for text with no code point above `last`."""
    for letter in "LMNPS":
        pattern = pattern.replace("\\p{%s}" % letter, _class_of(letter, last))
    pattern = pattern.replace("\\s", f"[{_SPACE}]").replace("\\S", f"[^{_SPACE}]")
    return re.compile(pattern)


class PreTokenizer:
    """Splits text; the tables for text beyond ASCII are made when first needed."""

    def __init__(self):
        self._ascii = [_compile(pattern, 127) for pattern in (PATTERNS[0], PATTERNS[2])]
        self._unicode = None

    def split(self, text):
        """The pieces of `text`, in order; joined they are the text."""
        if text.isascii():
            expressions = self._ascii
        else:
            if self._unicode is None:
                self._unicode = [_compile(pattern, sys.maxunicode) for pattern in PATTERNS]
            expressions = self._unicode
        pieces = [text] if text else []
        for expression in expressions:
            pieces = [part for piece in pieces for part in _isolate(expression, piece)]
        return pieces


def _isolate(expression, piece):
    """Matches of the expression and what lies between them."""
    parts = []
    end = 0
    for match in expression.finditer(piece):
        if match.start() > end:
            parts.append(piece[end : match.start()])
        parts.append(match.group())
        end = match.end()
    if end < len(piece):
        parts.append(piece[end:])
    return parts
