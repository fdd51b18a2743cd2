"""Conversations and pages as ids with a weight for the loss of each."""

from chat_format import Segment, render
from special_tokens import BOS, EOS

LEARNED = 255
#: What users, systems and tools write; what is random in it cannot be learned.
READ = 25
PLAIN = 60


def encode(made, tokenizer):
    """(ids, weights) of what a task made: a request, or a page of plain text."""
    if isinstance(made, str):
        segments = [Segment(BOS, True), Segment(made, False), Segment(EOS, True)]
        other = PLAIN
    else:
        segments = render(made, header=False).segments
        other = READ
    ids = []
    weights = []
    for segment in segments:
        part = tokenizer.encode(segment.text, parse_special=segment.is_template)
        ids.extend(part)
        weights.extend([LEARNED if segment.learned else other] * len(part))
    weights[0] = 0  # what begins is not foretold by what was before
    return ids, weights
