"""Spellings of generated C: what is written reads back as the same value, and no line is longer than it must be."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from kiloc.emit.c_names import (
    KEYWORDS,
    RESERVED,
    STATE_HEADER,
    WIDTH,
    Code,
    Identifiers,
    c_array,
    c_float,
    c_identifier,
    c_integer,
    c_string,
    c_wrapped,
)


@pytest.mark.parametrize(
    ("name", "identifier"), [("conv.lora_a", "conv_lora_a"), ("A-z 0/9_", "A_z_0_9_"), ("größe", "gr__e"), ("{[(", "___"), ("aZ09_", "aZ09_")]
)
def test_identifiers(name: str, identifier: str) -> None:
    assert c_identifier(name) == identifier


def test_identifiers_of_a_file_are_its_own() -> None:
    """Names that would become one are numbered, in the order in which they are asked for; a value keeps its name, a constant is another."""
    names = Identifiers("kws")
    assert [names.local(n) for n in ("a.b", "a_b", "a/b", "a.b")] == ["a_b", "a_b_2", "a_b_3", "a_b"]
    assert [names.file(n) for n in ("a.b", "a.b", "table", "table")] == ["a_b_4", "a_b_5", "table", "table_2"]
    assert names.local("table") == "table_3" and names.local("a_b_2") == "a_b_2_2"
    assert all(isinstance(n, Code) for n in (names.local("x"), names.file("x"), names.member("x"))), "what a template writes as it is"


@pytest.mark.parametrize("make", ["local", "file"])
def test_identifiers_never_mean_something_else(make: str) -> None:
    """Words of C and of the generated code are numbered; names like a macro's, the library's, the model's and C's own get another beginning."""
    named = getattr(Identifiers("kws"), make)
    assert {"int", "while", "arena", "m", "s", "t", "at", "in_arena", "memcpy", "stdin"} <= RESERVED
    assert [named(word) for word in sorted(RESERVED)] == [f"{word}_2" for word in sorted(RESERVED)]
    others = ["1st", "_t", "__x", "kt_copy", "kws_infer", "NULL", "KT_OK", "X1", "kws", "ktx", "Mixed", "v9"]
    found = ["v_1st", "v_t", "v_x", "v_kt_copy", "v_kws_infer", "v_NULL", "v_KT_OK", "v_X1", "kws", "ktx", "Mixed", "v9"]
    assert [named(name) for name in others] == found
    assert named("_9_") == "v_9" and named("9") == "v_9_2"


def test_members_of_the_state_are_named_apart_from_all_else() -> None:
    names = Identifiers("kws")
    assert names.local("scale.a") == names.member("scale.a") == "scale_a"
    assert [names.member(n) for n in ("scale_a", "scale/a", "scale.a")] == ["scale_a_2", "scale_a_3", "scale_a"]
    words = sorted(KEYWORDS | STATE_HEADER)
    assert {"layout", "base_hash"} <= STATE_HEADER and [names.member(w) for w in words] == [f"{w}_2" for w in words]
    assert names.member("arena") == "arena" and names.member("kws_x") == "kws_x", "a member hides nothing"


@pytest.mark.parametrize("data", [bytes(range(256)), b"", b"plain text ._-=,:;()", b'"\\?/*%', "größe".encode(), b"1\x009"])
def test_strings_are_their_bytes(data: bytes) -> None:
    """As a compiler reads them: a number of three octal digits is one byte, and ends where the next digit begins."""
    text = c_string(data)
    assert text[0] == text[-1] == '"' and all(c.isalnum() or c in "\\ ._-=,:;()" for c in text[1:-1])
    read = re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), text[1:-1].encode("ascii"))
    assert read == data and isinstance(text, Code)
    assert c_string(b"az AZ 09._-=,:;()") == '"az AZ 09._-=,:;()"', "what can be read stays readable"


def test_floats_read_back_to_the_same_bits() -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, 3000, dtype=np.uint64).astype(np.uint32)
    drawn = bits.view(np.float32)
    for x in drawn[np.isfinite(drawn)]:
        text = c_float(float(x))
        assert re.fullmatch(r"-?\d+\.\d+(e[-+]\d+)?f", text), text
        assert np.float32(text[:-1]).tobytes() == x.tobytes(), text


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (0.0, "0.0f"),
        (1.0, "1.0f"),
        (-0.5, "-0.5f"),
        (float(np.float32(0.1)), "0.1f"),
        (1e-4, "0.0001f"),
        (9.9e-5, "9.9e-05f"),
        (9999999.0, "9999999.0f"),
        (1e7, "1.0e+07f"),
        (-1e7, "-1.0e+07f"),
        (-1e-4, "-0.0001f"),
        (3e38, "3.0e+38f"),
    ],
)
def test_floats_of_usual_size_are_written_plainly(x: float, text: str) -> None:
    """From 0.0001 up to ten millions without an exponent, with a digit behind the point."""
    assert c_float(x) == text


def test_integers() -> None:
    """-2147483648 is no literal of C: it would be the negative of a number that int does not hold."""
    assert [c_integer(x) for x in (-(2**31), 1 - 2**31, -1, 0, 2**31 - 1)] == ["INT32_MIN", "-2147483647", "-1", "0", "2147483647"]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.float32])
@pytest.mark.parametrize("width", [40, 112])
def test_arrays_hold_their_elements_in_full_lines(dtype: type, width: int) -> None:
    data = np.random.default_rng(1).integers(0, 100, (37, 7)).astype(dtype) * dtype(1)
    text = c_array(data) if width == 112 else c_array(data, width)
    lines = text.split("\n")
    words = [word.strip() for word in text.split(",")]
    assert words[-1] == "" and np.array_equal(np.array([w.removesuffix("f") for w in words[:-1]]).astype(dtype), data.ravel())
    assert all(line.startswith("    ") and line[4] != " " for line in lines[1:]) and not lines[0].startswith(" ")
    assert all(line == line.rstrip() for line in lines)
    bare = [line.strip() for line in lines]
    for line, following in itertools.pairwise(bare):
        first = following.split(", ")[0].rstrip(",")
        assert len(line) + 1 <= width < len(line) + 1 + len(first) + 2, "a line ends where the next word does not fit"
    assert c_array(np.array([-(2**31)], np.int32)) == "INT32_MIN,"
    assert c_array(np.array([0.25], np.float32)) == "0.25f,"
    assert c_array(np.zeros(0, np.int8)) == "" and isinstance(c_array(data), Code)


# ---- Long statements ----


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_a_statement_that_fits_stays() -> None:
    fitting = "    kt_call(" + "a, " * 30
    fitting += "b" * (WIDTH - len(fitting) - 2) + ");"
    assert len(fitting) == WIDTH and c_wrapped(fitting) == fitting
    assert "\n" in c_wrapped(fitting.replace("b);", "bb);"))


def test_a_long_statement_is_broken_after_commas_of_its_outermost_brackets() -> None:
    inner = "f(1, 2)"
    text = "    kt_kernel(" + ", ".join([inner] * 40) + ");"
    lines = c_wrapped(text).split("\n")
    assert squeezed(" ".join(lines)) == squeezed(text)
    assert all(len(line) <= WIDTH for line in lines) and len(lines) > 1
    assert all(line.startswith(" " * 14 + "f(1, 2)") for line in lines[1:]), "aligned to the first argument"
    assert all(line.endswith(("f(1, 2),", "f(1, 2));")) for line in lines), "never within the brackets of an argument"
    for line in lines[:-1]:
        assert len(line) + len(" " + inner + ",") > WIDTH, "a line ends where the next argument does not fit"


@pytest.mark.parametrize("opening", ["(", "[", "{"])
def test_brackets_of_all_kinds_hold_together(opening: str) -> None:
    closing = {"(": ")", "[": "]", "{": "}"}[opening]
    argument = f"{opening}first, second{closing}"
    text = f"call{opening}" + ", ".join([argument] * 20) + closing
    for line in c_wrapped(text, 60).split("\n"):
        assert len(line) <= 60 and line.count("first") == line.count("second")


def test_what_opens_late_is_indented_instead() -> None:
    """Where the bracket is in the right half of a line, what follows is 8 columns further right than the statement."""
    for column, margin in ((20, 20), (19, 19), (21, 10), (40, 10)):
        text = "  " + "n" * (column - 3) + "(" + ", ".join(["argument"] * 8) + ");"
        lines = c_wrapped(text, 40).split("\n")
        assert all(line.startswith(" " * margin + "argument") for line in lines[1:]) and len(lines) > 1
        assert squeezed(" ".join(lines)).replace("( ", "(") == squeezed(text)


def test_an_argument_that_no_line_holds_stands_alone() -> None:
    lines = c_wrapped("f(" + "x" * 50 + ", y, " + "z" * 50 + ", w)", 40).split("\n")
    assert lines == ["f(" + "x" * 50 + ",", "        y,", "        " + "z" * 50 + ",", "        w)"]
    assert c_wrapped("x" * 50, 40) == "x" * 50
