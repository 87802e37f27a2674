"""Federated training over Flower: what the apps of server and clients call. Needs the extra "federated".

    app = ClientApp()

    @app.train()
    def train(message, context):
        with flower.open_device(context) as device:
            return flower.train_reply(message, device, x, y, epochs=2)

and on the server `flower.ExactAdapters(like).start(grid, flower.packed(like), num_rounds=5)`. `kilotune federated new` writes an app with both.

Between server and clients travel files of adapters, as bytes, and nothing else of the model; where the server takes sums alone
(`flower.SummedUpdates`), clients send integers instead.
"""

from .clients import evaluate_reply, first_adapter, open_device, samples_of, share, train_reply
from .naming import NAMES, strategy, strategy_of
from .records import packed, sender, unpacked
from .replies import Streaming
from .rounds import Rounds, judge_of
from .secure import secure_mod
from .strategies import AdapterStrategy, ExactAdapters, Requantized, RuledAdapters
from .summed import SummedUpdates

__all__ = [
    "NAMES",
    "AdapterStrategy",
    "ExactAdapters",
    "Requantized",
    "Rounds",
    "RuledAdapters",
    "Streaming",
    "SummedUpdates",
    "evaluate_reply",
    "first_adapter",
    "judge_of",
    "open_device",
    "packed",
    "samples_of",
    "secure_mod",
    "sender",
    "share",
    "strategy",
    "strategy_of",
    "train_reply",
    "unpacked",
]
