"""Many devices, one adapter: what a server makes of the adapters that clients send.

    base = device.export_adapter()                     # before any training, or what the last round gave
    sent = [Contribution(adapter, samples, client), ...]
    good, refused = accepted(sent, like=base)
    shared = exact_mean(good)

`exact_mean` works in integers alone: its result is a function of the files, whatever their order. The others compute with real values and round
once at the end: `mean`, `median`, `trimmed_mean` and `krum`, the last three for clients that cannot be trusted. `product_mean` is for LoRA: the mean
of the products B A, taken apart again, also of clients with other ranks. `private_update` and what belongs to it are for updates of bounded length
under noise, `epsilon` and `Ledger` for what these give away.

`kilotune.federated.flower` has these as strategies of Flower's server, and what its clients do; it needs the extra "federated".
"""

from .contributions import Acceptance, Contribution, Refusal, accepted
from .exact import ExactSum, exact_mean
from .private import private_update, update_of, with_mean, with_sum
from .products import product_mean
from .real import adapter_of, drawn_back, krum, mean, median, real_values, trimmed_mean
from .spending import Ledger, Spent, epsilon, epsilon_of

__all__ = [
    "Acceptance",
    "Contribution",
    "ExactSum",
    "Ledger",
    "Refusal",
    "Spent",
    "accepted",
    "adapter_of",
    "drawn_back",
    "epsilon",
    "epsilon_of",
    "exact_mean",
    "krum",
    "mean",
    "median",
    "private_update",
    "product_mean",
    "real_values",
    "trimmed_mean",
    "update_of",
    "with_mean",
    "with_sum",
]
