"""The C that user firmware sees, without comments and layout: what KT_ABI in kt/model.h is the number of."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from golden.reference import tiny

import kilotune as kt
from kiloc.export import tflite
from kilotune import resources

PUBLIC = ("model", "quantize", "adapter", "adapter_pool", "adapter_slots", "port", "sliced_step", "state_store", "guard", "drift", "recorder")
"""Headers of runtime/include/kt that an application includes. Those of the kernels are between generated code and runtime, which a build
directory holds together."""


def abi() -> int:
    """KT_ABI of the runtime."""
    found = re.search(r"^#define KT_ABI (\d+)$", (resources.runtime() / "include/kt/model.h").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def snapshot() -> Path:
    """The file of the declarations that belong to this number."""
    return Path(__file__).resolve().parent / f"abi_{abi()}.txt"


def lines_of(text: str) -> list[str]:
    """Macros and declarations of a header, one a line, each with single spaces; guards, inclusions and KT_ABI itself are left out."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.DOTALL)
    text = re.sub(r"#ifdef __cplusplus.*?#endif", "", text, flags=re.DOTALL).replace("\\\n", " ")
    text = re.sub(r"^(static inline [^\n;]*)\n\{\n.*?^\}$", r"\1;", text, flags=re.DOTALL | re.MULTILINE)  # without what they do
    found, pending, depth = [], "", 0
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            macro = re.match(r"#define (?!KT_ABI |\w+_H$)(.+)", line)
            found += [" ".join(macro[0].split())] if macro else []
            continue
        for part in re.split(r"(?<=[{};])", line):
            pending, depth = f"{pending} {part}", depth + part.count("{") - part.count("}")
            if depth == 0 and part.endswith(";"):
                found.append(" ".join(pending.split()))
                pending = ""
    assert depth == 0 and not pending.strip(), pending
    return found


def generated() -> list[str]:
    """Functions, constants and names of macros in the headers of a model that trains and of one that takes adapters: sizes are the model's own."""
    found: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "tiny.tflite"
        path.write_bytes(tflite.write(tiny()))
        for train in (True, False):
            build = kt.build(kt.load(path), Path(scratch) / "b", method=[kt.LoRA(rank=2, layers="all")], train=train, measure=False)
            for line in lines_of((build.directory / "tiny.h").read_text()):
                if line.startswith("#define"):
                    line = " ".join(line.split()[:2])
                if not line.endswith(("} tiny_state;", "} tiny_values;")):
                    found.append(line)
    return found


def declared() -> list[str]:
    """Everything, with the header that it is from in front."""
    include = resources.runtime() / "include" / "kt"
    found = [f"kt/{name}.h: {line}" for name in PUBLIC for line in lines_of((include / f"{name}.h").read_text())]
    return found + [f"generated: {line}" for line in generated()]
