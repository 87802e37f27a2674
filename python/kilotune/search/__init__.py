"""Which trainable set suits a model, a budget and a new domain: `search`.

setting       how the device will train, and with what samples
sensitivity   gradients on the samples say what each piece would gain
candidates    sets of pieces, planned by the compiler, pruned by dominance
speed, chip   limits of time, energy and wear, and what a board says of them
prefix        the frozen part of a model, which is run once for all trainings
trials        the most promising are trained by the generated C and judged on samples held out
reason        why this set and not another
result        the front, the choice and its configuration
"""

from .engine import Search, search
from .result import Row, SearchResult

__all__ = ["Row", "Search", "SearchResult", "search"]
