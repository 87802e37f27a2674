"""A model, its tensors and its file may be called anything: nothing of that becomes code, markup or a command of the terminal."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnx
import pytest
from gradients.graphs import Maker, every_operator

import kilotune as kt
from kiloc import pipeline
from kiloc.emit.c_names import c_string
from kiloc.errors import CompileError
from kiloc.export import onnx as onnx_writer
from kiloc.export import tflite as tflite_writer
from kiloc.frontend import onnx as onnx_reader
from kiloc.frontend import tflite as tflite_reader
from kiloc.ir.graph import Graph
from kiloc.ir.text import parse_graph, print_graph
from kiloc.ir.verify import verify
from kiloc.ops._window import Window
from kiloc.ops.model.add import Add
from kiloc.ops.model.average_pool_2d import AveragePool2D
from kiloc.ops.model.max_pool_2d import MaxPool2D
from kiloc.ops.model.mean import Mean
from kiloc.ops.model.pad import Pad
from kiloc.ops.model.requantize import Requantize
from kiloc.ops.model.reshape import Reshape
from kiloc.ops.model.softmax import Softmax
from kiloc.ops.model.transpose import Transpose
from kiloc.options import Options
from kiloc.plain_text import plain, printable
from kilotune import resources

HOSTILE = {
    "comment": "*/ int escaped; /*",
    "line comment": "// \\",
    "splice": "*\\\n/ int escaped; /\\\n*",
    "splice with carriage return": "*\\\r\n/ int escaped; /\\\r\n*",
    "splice with blanks": "*\\ \t\n/ int escaped; /\\ \n*",
    "trigraph": "*??/\n/ int escaped; /??/\n*",
    "trigraphs": "??/ ??= ??( ??' ??! ??< ??> ??-",
    "directive": "\n#error escaped\n#define int escaped\n",
    "string": '"; int escaped; "',
    "percent": '%s%n"\\"',
    "bidirectional": "\u202e\u2066 ;escaped tni \u2069\u202c",
    "separators": "a\u2028b\u2029c\u0085d\x0be\x0cf",
    "zero": "a\0int escaped;",
    "surrogate": "\udcff\ud800",
    "template": "{{ m.name }}{% for a in b %}${ENV{HOME}}$(escaped)`escaped`",
    "markup": "<script>escaped()</script><b onclick='escaped()'>&amp;\"",
    "terminal": "\x1b[2J\x1b]0;title\x07\r\x08",
    "long": "*/ int escaped; /*" * 3000,
    "letters": "日本語 é ß \U0001f600",
}
WARNINGS = ("-std=c99", "-trigraphs", "-Wall", "-Wextra", "-Wcomment", "-Wtrigraphs", "-Wbidi-chars=any", "-pedantic", "-Werror")
EVERY = pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))


def chain() -> Graph:
    """Every operator of both formats, with windows that both can write."""
    m = Maker("chain", (1, 12, 10, 2), 3)
    x = m.conv("input", "stem", 4, Window((3, 3), (1, 1), (1, 1, 1, 1)), "relu")
    y = m.op(x, "sum", Add(), m.type(x).shape, other=x)
    y = m.depthwise(y, "spread", 1, Window((3, 3)), "relu6")
    y = m.op(y, "widen", Pad((1, 1, 1, 1), -128), (1, 12, 10, 4))
    y = m.op(y, "largest", MaxPool2D(Window((2, 2), (2, 2))), (1, 6, 5, 4))
    y = m.op(y, "rescale", Requantize("relu"), m.type(y).shape, m.type(y).scale * 0.7, -128)
    y = m.op(y, "average", AveragePool2D(Window((2, 2))), (1, 5, 4, 4))
    y = m.op(y, "turn", Transpose((0, 3, 1, 2)), (1, 4, 5, 4))
    y = m.op(y, "middle", Mean((3,)), (1, 4, 5), m.type(y).scale * 0.5, -110)
    y = m.op(y, "flat", Reshape((1, 20)), (1, 20))
    y = m.dense(y, "logits", 5)
    return m.finish(m.op(y, "probabilities", Softmax(), (1, 5), 1 / 256, -128))


def renamed(graph: Graph, text: str) -> Graph:
    """With the text in the name of every value and node, and in all else that a file may say."""

    def call(name: str) -> str:
        return f"{text}{name}{text}"

    values = {call(k): replace(v, name=call(k), origin=call(v.origin)) for k, v in graph.values.items()}
    nodes = tuple(
        replace(n, name=call(n.name), inputs={o: call(v) for o, v in n.inputs.items()}, outputs=tuple(map(call, n.outputs)), origin=text)
        for n in graph.nodes
    )
    inputs, outputs = tuple(map(call, graph.inputs)), tuple(map(call, graph.outputs))
    return replace(graph, values=values, nodes=nodes, inputs=inputs, outputs=outputs, origin=text, notes=(text,))


def read_back(suffix: str, text: str) -> Graph:
    """The graph of a file in which everything has the text in its name."""
    if suffix == ".tflite":
        return verify(tflite_reader.load(_tflite_file(text), "model", f"{text}.tflite"))
    proto = onnx.load_model_from_string(onnx_writer.write(chain()))
    text = text.encode("utf-8", "replace").decode()
    for node in proto.graph.node:
        node.name, node.doc_string = f"{text}{node.name}", text
        node.input[:], node.output[:] = [f"{text}{i}" for i in node.input], [f"{text}{o}" for o in node.output]
    for named in (*proto.graph.initializer, *proto.graph.input, *proto.graph.output):
        named.name = f"{text}{named.name}"
    proto.graph.name = proto.producer_name = proto.doc_string = text
    return verify(onnx_reader.load(proto.SerializeToString(), "model", f"{text}.onnx"))


def _tflite_file(text: str) -> bytes:
    return tflite_writer.write(renamed(chain(), text.encode("utf-8", "replace").decode()))


def code(folder: Path) -> str:
    """What the compiler makes of the generated sources: no comment is left, no string, no directive."""
    found = ""
    for source in ("model.c", "model_interface.c"):
        command = ["gcc", *WARNINGS, f"-I{folder}", f"-I{folder / 'runtime/include'}", f"-I{resources.runtime() / 'include'}"]
        subprocess.run([*command, "-fsyntax-only", folder / source], check=True)
        found += subprocess.run([*command, "-E", "-P", folder / source], check=True, capture_output=True, text=True).stdout
    return re.sub(r'"(\\.|[^"\\])*"', '""', found)


def check_sources(files: dict[str, str], folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        assert re.fullmatch(r"[\x20-\x7e\n]*", content), f"{name} holds more than printable ASCII"
        assert "??" not in content or name == "library.json", name
    assert not re.search(r"\bescaped\b", code(folder))
    assert "escaped" not in files["CMakeLists.txt"] + files["kilotune_model-config.cmake"] + files["library.json"]
    assert json.loads(files["library.json"])["name"] == "kilotune_model"


@EVERY
@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_names_of_a_file_stay_in_comments(suffix: str, text: str, tmp_path: Path) -> None:
    graph = read_back(suffix, text)
    check_sources(pipeline.compile_graph(graph, Options(name="model"), "0").files, tmp_path)
    assert parse_graph(print_graph(graph)) == graph
    shown = [graph.origin, *graph.notes, *(v.origin for v in graph.values.values()), *(n.origin for n in graph.nodes)]
    assert all(t.isprintable() for t in shown)
    assert {n.name for n in graph.nodes} | set(graph.values) == {re.sub("[^0-9a-z_.]", "", name) for name in graph.values}


IN_GRAPHS = [*((text, True) for text in HOSTILE.values()), *((HOSTILE[which], False) for which in ("splice", "trigraph", "string"))]


@pytest.mark.parametrize(("text", "train"), IN_GRAPHS, ids=[*HOSTILE, "splice, adapters", "trigraph, adapters", "string, adapters"])
def test_no_text_of_a_graph_becomes_code(text: str, train: bool, tmp_path: Path) -> None:
    """Also where the graph itself, or a configuration, says it: names of layers, methods, notes."""
    text = text[:500].encode("utf-8", "replace").decode()  # no surrogates: names are hashed
    graph = renamed(every_operator(), text)
    methods = (kt.LoRA(layers=f"*logits*,*dilated*,{'' if ',' in text else '*logits' + text}", rank=2), kt.BiasOnly())
    try:
        compilation = pipeline.compile_graph(graph, Options(methods=methods, train=train, name="model"), text[:9])
    except CompileError:  # the text is no pattern of a layer's name
        methods = (kt.LoRA(layers="all", rank=2), kt.BiasOnly())
        compilation = pipeline.compile_graph(graph, Options(methods=methods, train=train, name="model"), text[:9])
    check_sources(compilation.files, tmp_path)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


@pytest.mark.parametrize("which", ["splice", "bidirectional", "markup", "terminal", "letters"])
def test_a_build_from_a_file_of_any_name(which: str, tmp_path: Path) -> None:
    """The report, its page and the manifest name the file; the sources are those of a file of another name."""
    made = {}
    for name in ("harmless", HOSTILE[which].replace("/", "|")):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(_tflite_file(name))
        build = kt.build(kt.load(path), tmp_path / f"built {len(made)}", method=kt.BiasOnly(), name="model", measure=False)
        build.save_html(tmp_path / "page.html")
        tags = _Tags()
        tags.feed((tmp_path / "page.html").read_text(encoding="utf-8"))
        assert all(line.isprintable() for line in build.report_text().split("\n"))
        assert build.manifest["model"]["file"] == path.name
        made[name] = (build.directory, tags.found)
    (plain_folder, plain_tags), (folder, tags_found) = made.values()
    assert tags_found == plain_tags
    for name in ("CMakeLists.txt", "kilotune_model-config.cmake", "library.json"):
        assert (folder / name).read_text() == (plain_folder / name).read_text()
    assert not re.search(r"\bescaped\b", code(folder))


@EVERY
def test_errors_show_what_they_quote(text: str) -> None:
    error = CompileError(f"tensor '{text}'", f"has {text}", text)
    assert all(line.isprintable() for line in str(error).split("\n")) and len(str(error).split("\n")) == 2


# ---- The filters themselves ----


@EVERY
def test_plain_text(text: str) -> None:
    assert re.fullmatch(r"[ -~]{0,100}", plain(text)) and not set(plain(text)) & set('*/\\?"')


def test_what_is_harmless_stays() -> None:
    assert plain("conv2d_3: 3x3x8 -> 4 (relu6); a, b") == "conv2d_3: 3x3x8 -> 4 (relu6); a, b"
    assert plain("model/conv2d_3/Conv2D") == "model.conv2d_3.Conv2D"
    assert printable("models/größe.tflite") == "models/größe.tflite" and printable("a\x1b[2J\u202eb") == "a\\x1b[2J\\u202eb"


def test_a_string_literal_holds_exactly_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(1, 256)) + b'*/ ??/ \\ "%s" 7'
    body = f"static const char text[] = {c_string(data)}; return fwrite(text, 1, sizeof text - 1, stdout) == 0;"
    source = f"#include <stdio.h>\nint main(void) {{ {body} }}\n"
    (tmp_path / "text.c").write_text(source)
    assert re.fullmatch(r"[ -~\n]*", source) and "??" not in source
    subprocess.run(["gcc", *WARNINGS, tmp_path / "text.c", "-o", tmp_path / "text"], check=True)
    assert subprocess.run([tmp_path / "text"], check=True, capture_output=True).stdout == data


def test_two_names_that_are_one_in_c(tmp_path: Path) -> None:
    """a.b and a_b are the same identifier: tables and constants get numbers."""
    m = Maker("model", (1, 8), 1)
    y = m.dense("input", "a.b", 8)
    y = m.dense(y, "a_b", 8)
    graph = m.finish(m.dense(y, "a-b", 4))
    check_sources(pipeline.compile_graph(graph, Options(), "0").files, tmp_path)
    assert len({v.data.tobytes() for v in graph.values.values() if v.data is not None and v.data.dtype == np.int8}) == 3
