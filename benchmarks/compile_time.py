"""Seconds to build DS-CNN with biases and LoRA: compilation alone, and with linking for the report's size of code (cold cache).

    .venv/bin/python benchmarks/compile_time.py

Nothing else should run meanwhile.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

os.environ["KILOTUNE_CACHE"] = tempfile.mkdtemp(prefix="kilotune-cold-")

from scenarios import DATA

import kilotune as kt


def main() -> None:
    methods = [kt.BiasOnly(), kt.LoRA(rank=4, layers="last:2")]
    for title, measure in (("compile", False), ("compile and link, cold cache", True)):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            model = kt.load(DATA / "models" / "kws_dscnn_int8.tflite")
            kt.build(model, Path(folder) / "build", method=methods, measure=measure)
            print(f"{title:<30} {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
