"""A language model that learns another author on a microcontroller: it knows Shakespeare's plays and reads Paradise Lost.

    python examples/language/run.py
    python examples/language/run.py --rows 200                        # a part of the text
    python examples/language/run.py --device qemu:mps2-an500 --target cortex-m7

An emulated Cortex-M4 trains LoRA on 100 KB of the poem in 160 KB of memory, arena and state together, while the weights stay in flash: a quarter
of an hour.
Another build takes what was learned and writes, a character a call. Exit code 1 unless the board's state is that of this computer, both builds give
the same results, bit for bit, and the model got better.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from device import CHECKED, CONTEXT, DECAY, RATE, alike, bits, built, fingerprint, writer, written
from text import texts, windows

import kilotune as kt

EVALUATED = 4
"""Every so many-th row of the text that is kept for the end is evaluated."""
WRITTEN = 160


def shown(device: kt.Device, title: str, count: int) -> None:
    text = written(device, count)
    print(f"\nIt writes {title}:\n" + "\n".join(f"    {line}" for line in text.split("\n")), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="qemu:mps2-an386")
    parser.add_argument("--target", default="cortex-m4")
    parser.add_argument("--rows", type=int, help="of 64 characters to train on; all of 100 KB where left out")
    parser.add_argument("--write", type=int, default=WRITTEN, help="characters of each sample of its text")
    arguments = parser.parse_args()
    t = texts()
    learned, kept = windows(t.trained, CONTEXT)[: arguments.rows], windows(t.test, CONTEXT)[::EVALUATED]
    with tempfile.TemporaryDirectory() as folder:
        build = built(Path(folder) / "learns", t.base, target=arguments.target)
        print(build.report_text(), end="\n\n")
        with build.open("host") as host:
            expected = fingerprint(host, learned[:CHECKED])
        writes = writer(Path(folder) / "writes", t.base, target=arguments.target)
        with build.open(arguments.device) as device, writes.open(arguments.device) as pen:
            same = fingerprint(device, learned[:CHECKED]) == expected
            print(f"state after {CHECKED} rows on {arguments.device}: {expected}{'' if same else ' on this computer, ANOTHER on the board'}")
            before = bits(device, kept)
            print(f"{before:.3f} bits a character of the poem before training", flush=True)
            shown(pen, "before", arguments.write)
            device.fit(learned, epochs=1, learning_rate=RATE, decay=DECAY, hold_out=0, progress=True)
            after = bits(device, kept)
            print(f"\n{after:.3f} bits a character after {len(learned):,} rows", flush=True)
            pen.load_adapter(device.export_adapter())
            same = same and alike(device, pen, kept[:1])
            shown(pen, "after", arguments.write)
    return 0 if same and after < before else 1


if __name__ == "__main__":
    sys.exit(main())
