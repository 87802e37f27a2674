"""A CMSIS-Pack: https://open-cmsis-pack.github.io/Open-CMSIS-Pack-Spec: a description (.pdsc), and an archive of it and what it names."""

from __future__ import annotations

import io
import re
import zipfile

from kiloc import CORES, variants_of

from .contents import Contents

DATE = (1980, 1, 1, 0, 0, 0)
"""Of every file in the archive: equal builds make equal packs."""


def files(contents: Contents) -> dict[str, str | bytes]:
    """The archive, and beside it the description, which an index of packs reads."""
    vendor = vendor_of(contents)
    description = contents.rendered("package.pdsc", vendor=vendor, cores=cores(contents))
    name = f"{vendor}.{contents.title}"
    inside: dict[str, str | bytes] = {
        f"{name}.pdsc": description,
        "README.md": contents.rendered("README_cmsis-pack.md", name=name),
        "templates/main.c": contents.rendered("sample.c", framework="cmsis-pack"),
        **contents.below("src"),
        **contents.license_files(),
    }
    return {f"{name}.pdsc": description, f"{name}.{contents.identity.version}.pack": _archive(inside)}


def vendor_of(contents: Contents) -> str:
    """The author's name in the letters that a pack's name may have."""
    name = contents.identity.author.partition("<")[0].strip()
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "kilotune"


def cores(contents: Contents) -> list[str]:
    """Of those that run the build as it was made, as descriptions name them: with packed constants, those that have the DSP extension."""
    fitting = [core for core in CORES.values() if not contents.packed or "dsp" in variants_of(core.name)]
    return [core.title for core in fitting]


def _archive(inside: dict[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(inside.items()):
            entry = zipfile.ZipInfo(name, DATE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()
