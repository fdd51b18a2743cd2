"""What changes during a run, as functions of the fraction of it that is over (0 to 1).

The fraction is of the time or of the steps, whichever the run was given: a run that must end at a
given minute still goes through every phase.
"""


def _ramp(x, begin, end):
    return min(max((x - begin) / (end - begin), 0.0), 1.0)


def learning_rate(fraction):
    """Of the peak: a short warm-up, a plateau, a long straight descent."""
    return _ramp(fraction, -0.002, 0.015) * (1 - 0.98 * _ramp(fraction, 0.4, 1.0))


def rounding(fraction):
    """How much of the released formats' rounding the forward pass applies."""
    return _ramp(fraction, 0.3, 0.4)


def readable_rows(fraction, everything, topk):
    """Compressed rows a query may read: all while the indexer warms up, then fewer and fewer."""
    return everything * (topk / everything) ** _ramp(fraction, 0.12, 0.4)
