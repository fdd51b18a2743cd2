"""Fills rows of one length with whole conversations."""

import bisect

from encoded_chat import encode


class Packer:
    """Rows of `length` ids. Conversations wait in a pool; the longest that fits comes next, and
    plain text, cut off at the end of the row, closes the gap that none fits into."""

    POOL = 48
    #: The least room for another conversation.
    GAP = 40

    def __init__(self, length, tokenizer, make, make_plain):
        """`make` and `make_plain` return what tasks make."""
        self._length = length
        self._tokenizer = tokenizer
        self._make = make
        self._make_plain = make_plain
        self._pool = []  # (length, number, ids, weights), ascending
        self._made = 0

    def row(self):
        """(ids, weights) of one row."""
        ids, weights = [], []
        first = True
        while len(ids) < self._length:
            self._fill_pool()
            room = self._length - len(ids)
            # The first one is the oldest: none waits for ever.
            at = (min(range(len(self._pool)), key=lambda i: self._pool[i][1]) if first
                  else bisect.bisect_left(self._pool, (room + 1,)) - 1)
            first = False
            if at >= 0 and room >= self.GAP:
                _, _, more, more_weights = self._pool.pop(at)
            else:
                more, more_weights = encode(self._make_plain(), self._tokenizer)
            ids.extend(more[:room])
            weights.extend(more_weights[:room])
        return ids, weights

    def _fill_pool(self):
        while len(self._pool) < self.POOL:
            ids, weights = encode(self._make(), self._tokenizer)
            if len(ids) <= self._length:
                bisect.insort(self._pool, (len(ids), self._made, ids, weights))
                self._made += 1
