"""KT_ABI is the number of what user firmware sees: its declarations do not change under the same number unseen."""

from __future__ import annotations

import difflib
import re

import pytest

from kilotune import resources

from . import declarations

WHAT_TO_DO = """
The public C declarations are not those that KT_ABI {abi} was recorded with:

{changes}

Firmware that was written for the recorded ones may not compile or, worse, compile and do something else. If a released version has this number,
raise KT_ABI in runtime/include/kt/model.h and in codegen/kiloc/emit/templates/model.h.j2, and tell users in CHANGELOG.md. If none has it yet, or
if only a name of a parameter is another, the number may stay. Then record the declarations: python tests/compatibility/make_files.py --replace
"""


def changes(before: list[str], now: list[str]) -> str:
    return "\n".join(line for line in difflib.unified_diff(before, now, lineterm="", n=0) if not line.startswith(("---", "+++", "@@")))


def test_declarations_belong_to_the_number() -> None:
    abi, snapshot = declarations.abi(), declarations.snapshot()
    if not snapshot.is_file():
        pytest.fail(f"KT_ABI is {abi}, but {snapshot.name} is missing: python tests/compatibility/make_files.py writes it", pytrace=False)
    found = changes(snapshot.read_text().splitlines(), declarations.declared())
    if found:
        pytest.fail(WHAT_TO_DO.format(abi=abi, changes=found), pytrace=False)


def test_generated_headers_ask_for_this_number() -> None:
    template = resources.runtime().parent / "codegen/kiloc/emit/templates/model.h.j2"
    assert re.findall(r"^#if KT_ABI != (\d+)$", template.read_text(), re.MULTILINE) == [str(declarations.abi())]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("KT_ERROR_ARENA = 1", "KT_ERROR_ARENA = 18"),
        ("    uint32_t model_bytes;\n    uint32_t input_bytes;", "    uint32_t input_bytes;\n    uint32_t model_bytes;"),
        ("kt_status (*apply)(void *model);", "void (*apply)(void *model);"),
        ("#define KT_ALIGNMENT 8", "#define KT_ALIGNMENT 16"),
        ("    const float *values;\n", ""),
    ],
)
def test_a_change_is_seen(old: str, new: str) -> None:
    text = (resources.runtime() / "include/kt/model.h").read_text()
    assert old in text
    assert declarations.lines_of(text.replace(old, new)) != declarations.lines_of(text)


def test_comments_and_layout_are_no_change() -> None:
    text = (resources.runtime() / "include/kt/model.h").read_text()
    other = re.sub(r"/\*.*?\*/", "/* other\n words */", text, flags=re.DOTALL).replace("(void *model, ", "(void *model,\n        ")
    assert other != text and declarations.lines_of(other) == declarations.lines_of(text)
