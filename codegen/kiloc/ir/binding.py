"""How files of models name an operator. Front ends and exporters look the bindings up; the methods beside them on the class read and write.

A method that reads is given the reader of the file (`frontend.tflite.TFLiteReader`, `frontend.onnx_reader.OnnxReader`), one that writes the
writer (`export.tflite.TFLiteWriter`, `export.onnx.OnnxWriter`): their public methods are all that a binding needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TFLiteBinding:
    """operators: names of the schema's BuiltinOperator that the class reads, each with its first version that knows int8; the first is the one
    that an element-wise operator is written as.
    table: the options of these operators in the schema, as "AddOptions"; "" where they have none. fields: what is read of them.
    also: operators that another class reads, and may turn into this one.
    others: table and fields of those of the operators that have other options.
    several: operators that may have any number of results, or none; all others have one.
    """

    operators: Mapping[str, int]
    table: str = ""
    fields: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    others: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    several: tuple[str, ...] = ()

    def options(self, operator: str) -> tuple[str, tuple[str, ...]]:
        """The table of an operator's options, and the fields that are read of it."""
        return self.others.get(operator, (self.table, self.fields))


@dataclass(frozen=True)
class OnnxBinding:
    """operators: names of ONNX that the class reads; the first is the one that an element-wise operator is written as.
    also: operators that another class reads, and may turn into this one.
    """

    operators: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
