"""Learns the merges of a byte-level BPE from word counts."""

import heapq
from collections import Counter, defaultdict


class BpeTrainer:
    """Merges the most frequent pair again and again; ties go to the smaller bytes."""

    def __init__(self, counts):
        """`counts`: how often each piece (bytes) occurs."""
        self._words = [[bytes([byte]) for byte in word] for word in counts]
        self._counts = list(counts.values())
        self._pairs = Counter()
        self._where = defaultdict(set)  # pair -> indices of words that hold it
        for index, word in enumerate(self._words):
            for pair in zip(word, word[1:]):
                self._pairs[pair] += self._counts[index]
                self._where[pair].add(index)
        self._heap = [(-count, pair) for pair, count in self._pairs.items()]
        heapq.heapify(self._heap)

    def train(self, number):
        """The merges that make the first `number` tokens; some tokens can be made in two ways."""
        merges = []
        tokens = set()
        while len(tokens) < number:
            count, pair = heapq.heappop(self._heap)
            now = self._pairs.get(pair, 0)
            if now != -count:
                if now > 0:
                    heapq.heappush(self._heap, (-now, pair))
                continue
            token = pair[0] + pair[1]
            self._apply(pair, token)
            tokens.add(token)
            merges.append(pair)
        return merges

    def _apply(self, pair, token):
        changed = set()
        for index in self._where.pop(pair):
            word = self._words[index]
            count = self._counts[index]
            for old in zip(word, word[1:]):
                self._pairs[old] -= count
            merged = _merged(word, pair, token)
            for new in zip(merged, merged[1:]):
                self._pairs[new] += count
                self._where[new].add(index)
                changed.add(new)
            self._words[index] = merged
        self._pairs.pop(pair, None)
        for new in changed:
            if self._pairs.get(new, 0) > 0:
                heapq.heappush(self._heap, (-self._pairs[new], new))


def _merged(word, pair, token):
    out = []
    i = 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            out.append(token)
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out
