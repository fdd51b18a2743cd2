"""Sentences that say nothing about what will be asked, and plain text to learn language from."""

#: About, in what the tasks write.
CHARACTERS_A_TOKEN = 3.1


def random_size(rng, low, high):
    """A number from low to high, each doubling as likely as the next."""
    return low * (high / low) ** rng.random()


class Filler:
    """Texts of WordNet and of manuals."""

    def __init__(self, texts):
        """`texts`: (kind, text) pairs; kind: definition, sentence or manual."""
        self._texts = [text for _, text in texts]
        self._sentences = [text for kind, text in texts if kind != "definition"]

    def sentence(self, rng):
        """A line for a lookup text."""
        return rng.choice(self._sentences if rng.random() < 0.6 else self._texts)

    def page(self, rng, lines):
        """Lines of plain text."""
        return "\n".join(rng.choice(self._texts) for _ in range(lines))
