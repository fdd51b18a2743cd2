"""What changes during a run, as functions of the fraction of it that is over (0 to 1).

The fraction is of the time or of the steps, whichever the run was given: a run that must end at a
given minute still goes through every phase.
"""


def _ramp(x, begin, end):
    return min(max((x - begin) / (end - begin), 0.0), 1.0)


#: From here on everything is as released, and the learning rate falls.
DESCENT = 0.4


def continued(fraction):
    """Where a run stands that goes on from a released model: all of it is descent."""
    return DESCENT + (1 - DESCENT) * fraction


def warm_up(fraction):
    """Of the learning rate, while the optimizer has seen few steps."""
    return _ramp(fraction, -0.002, 0.015)


def learning_rate(fraction):
    """Of the peak, once warm: a plateau, a long straight descent."""
    return 1 - 0.98 * _ramp(fraction, DESCENT, 1.0)


def rounding(fraction):
    """How much of the released formats' rounding the forward pass applies."""
    return _ramp(fraction, 0.3, DESCENT)


def readable_rows(fraction, everything, topk):
    """Compressed rows a query may read: all while the indexer warms up, then fewer and fewer."""
    return everything * (topk / everything) ** _ramp(fraction, 0.12, DESCENT)
