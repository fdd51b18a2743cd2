"""Fills rows of one length with whole conversations."""

import bisect

from encoded_chat import encode


class RowsTooShort(Exception):
    """No conversation of a task fits into a row."""


class Packer:
    """Rows of `length` ids. Conversations wait in a pool; the longest that fits comes next, and
    plain text, cut off at the end of the row, closes the gap that none fits into."""

    POOL = 48
    #: The least room for another conversation.
    GAP = 40
    #: So many conversations in a row that do not fit mean that none does.
    PATIENCE = 500

    def __init__(self, length, tokenizer, schedule, make_plain):
        """`make_plain` makes a page of text."""
        self._length = length
        self._tokenizer = tokenizer
        self._schedule = schedule
        self._make_plain = make_plain
        self._pool = []  # (length, number, ids, weights), ascending
        self._made = 0

    def row(self):
        """(ids, weights) of one row."""
        ids, weights = [], []
        while len(ids) < self._length:
            self._fill_pool()
            room = self._length - len(ids)
            if ids:
                at = bisect.bisect_left(self._pool, (room + 1,)) - 1
            else:  # a row begins with what has waited longest, so that none waits for ever
                at = min(range(len(self._pool)), key=lambda i: self._pool[i][1])
            if at >= 0 and room >= self.GAP:
                _, _, more, more_weights = self._pool.pop(at)
            else:
                more, more_weights = encode(self._make_plain(), self._tokenizer)
            ids.extend(more[:room])
            weights.extend(more_weights[:room])
        return ids, weights

    def _fill_pool(self):
        too_long = 0
        while len(self._pool) < self.POOL:
            name, made = self._schedule.make()
            ids, weights = encode(made, self._tokenizer)
            if len(ids) > self._length:
                too_long += 1
                if too_long == self.PATIENCE:
                    raise RowsTooShort(f"no conversation of the task {name} fits into a row of "
                                       f"{self._length - 1} tokens: make the rows longer")
                continue
            too_long = 0
            self._schedule.took(name, len(ids))
            bisect.insort(self._pool, (len(ids), self._made, ids, weights))
            self._made += 1
