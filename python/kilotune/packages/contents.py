"""What every format of package is made of: the files of a build, and what is said about them."""

from __future__ import annotations

import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from kiloc import CompileError, variants_of
from kiloc.ir import PACKAGES

from .. import provenance, resources
from ..building import GRAPH, MANIFEST, MONOCYPHER, PLANS, REPORT, Build
from ..devices.manifest import Manifest, Tensor

RUNTIME_LICENSE = "Apache-2.0"
MONOCYPHER_LICENSE = "(BSD-2-Clause OR CC0-1.0)"
PLACEHOLDER = "https://example.org"
"""Of a package that nobody has published."""


@dataclass(frozen=True)
class Identity:
    """What a package says of itself beside its contents.

    version: three numbers, as "1.0.0".
    author: "Ann Example <ann@example.org>"; "" names nobody.
    license: of the model, as an SPDX expression; "" where it is not known. That of the runtime is added.
    url: where the package is published; "" where it is not.
    """

    version: str = "1.0.0"
    author: str = ""
    license: str = ""
    url: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", self.version):
            raise CompileError(f"version={self.version!r}", "is not three numbers", 'pass "1.0.0", for example')
        if self.license and not re.fullmatch(r"[A-Za-z0-9.+() -]+", self.license):
            raise CompileError(f"license={self.license!r}", "is not an SPDX expression", 'pass "MIT" or "CC-BY-4.0", for example')
        if self.url and not re.fullmatch(r"https?://[!#-;=?-~]+", self.url):
            raise CompileError(f"url={self.url!r}", "is not an address of the web", 'pass "https://example.org/kws", for example')
        if not (self.author.isprintable() and re.fullmatch(r"[^\"\\{}]*", self.author)):
            raise CompileError(f"author={self.author!r}", "holds what a package cannot name", 'pass "Ann Example <ann@example.org>", for example')


@dataclass(frozen=True)
class End:
    """An input or output, as a program declares it."""

    name: str
    macro: str
    ctype: str
    values: int

    @property
    def capital(self) -> str:
        return self.name.upper()


@dataclass(frozen=True)
class Contents:
    """A build, ready to be laid out. files: path in the build directory -> content, of all that is compiled or read by people."""

    identity: Identity
    manifest: Manifest
    files: dict[str, bytes]
    bill: bytes
    """Of materials."""
    core: str
    packed: bool
    """Constants are in the order of kernels that need the DSP extension."""
    in_arena: bool
    """Inputs and results lie in the arena."""
    model_file: str
    version: str
    """Of kilotune."""
    class_names: tuple[str, ...]

    @classmethod
    def of(cls, build: Build, identity: Identity) -> Contents:
        """Raises DeviceError or CompileError where the build is damaged."""
        left_out = (MANIFEST, REPORT, PLANS, GRAPH, "CMakeLists.txt", "library.json", f"kilotune_{build.manifest['name']}-config.cmake")
        names = provenance.hashes(build.directory, (*left_out, provenance.BILL))
        files = {name: (build.directory / name).read_bytes() for name in names}
        named = build.manifest.get("class_names") or ()
        return cls(
            identity=identity,
            manifest=Manifest.load(build.directory),
            files=files,
            bill=(build.directory / provenance.BILL).read_bytes(),
            core=build.manifest["target"],
            packed="dsp" in variants_of(build.manifest["target"])
            and not build.manifest.get("size")
            and any(name.startswith("runtime/src/product/") for name in files),
            in_arena=build.manifest["options"]["buffers"] == "arena",
            model_file=re.sub(r"[^\w. -]", "_", build.manifest["model"]["file"], flags=re.ASCII),
            version=build.manifest["kilotune"],
            class_names=tuple(str(name) for name in named),
        )

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def prefix(self) -> str:
        return self.name.upper()

    @property
    def title(self) -> str:
        """Of the package: a name that begins with a letter and holds letters, digits and underscores."""
        return f"kilotune_{self.name}"

    @property
    def sentence(self) -> str:
        """What it is, in one sentence."""
        does = "infers and trains on the device" if self.manifest.training else "infers"
        return f"The model {self.name} as C99 that {does}, compiled by kilotune {self.version}."

    @property
    def author(self) -> str:
        return self.identity.author or f"the maker of {self.name}"

    @property
    def url(self) -> str:
        return self.identity.url or f"{PLACEHOLDER}/{self.title}"

    @property
    def license(self) -> str:
        """An SPDX expression of all parts: the runtime, Monocypher where it is in there, the model."""
        parts = [RUNTIME_LICENSE, *([MONOCYPHER_LICENSE] if self.signed else []), self.identity.license or "LicenseRef-model"]
        return " AND ".join(f"({p})" if " OR " in p and not p.startswith("(") else p for p in dict.fromkeys(parts))

    @property
    def signed(self) -> bool:
        return any(name.startswith(f"{MONOCYPHER}/") for name in self.files)

    @property
    def sources(self) -> tuple[str, ...]:
        """What is compiled, by its path in the build."""
        return self.manifest.sources

    @property
    def include(self) -> tuple[str, ...]:
        """Folders of headers, by their path in the build; "." is the build itself."""
        return self.manifest.include

    @property
    def inputs(self) -> list[End]:
        return [_end(i, "input", self.prefix, t) for i, t in enumerate(self.manifest.inputs)]

    @property
    def outputs(self) -> list[End]:
        return [_end(i, "output", self.prefix, t) for i, t in enumerate(self.manifest.outputs)]

    @property
    def learns_labels(self) -> bool:
        return self.manifest.training and self.manifest.targets == "labels"

    @property
    def arena_macro(self) -> str:
        return f"{self.prefix}_ARENA_BYTES_{'TRAIN' if self.manifest.training else 'INFER'}"

    def below(self, folder: str) -> dict[str, str | bytes]:
        """The files of the build in a folder of the package, laid out as in the build."""
        return {f"{folder}/{name}": content for name, content in self.files.items()}

    def flat(self, folder: str) -> dict[str, str | bytes]:
        """The same for a tool that knows one folder of headers: kt/ and what else is included by name lie at its top."""
        moves = {"runtime/include/": "", "runtime/src/": "runtime/", f"{MONOCYPHER}/": "", f"{PACKAGES}/": ""}

        def place(name: str) -> str:
            return next((to + name.removeprefix(begin) for begin, to in moves.items() if name.startswith(begin)), name)

        return {f"{folder}/{place(name)}": content for name, content in self.files.items()}

    def rendered(self, template: str, **more: Any) -> str:
        """A template of this folder, which reads the contents as `p`."""
        return _environment().get_template(f"{template}.j2").render(p=self, **more)

    def license_files(self) -> dict[str, str | bytes]:
        """LICENSE, of the runtime, a page that says what is under which licence, and the bill of materials."""
        return {"LICENSE": license_text(), "LICENSES.md": self.rendered("LICENSES.md"), provenance.BILL: self.bill}


def _end(i: int, name: str, prefix: str, t: Tensor) -> End:
    numbered = name if i == 0 else f"{name}_{i + 1}"
    return End(numbered, f"{prefix}_{numbered.upper()}", f"{t.dtype}_t", t.size)


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=lambda name: name is not None and name.endswith((".pdsc.j2", ".xml.j2")),
    )


def license_text() -> bytes:
    """The licence of the runtime: of an installed package, or of the repository."""
    beside = resources.runtime().parent / "LICENSE"
    if beside.is_file():
        return beside.read_bytes()
    for path in importlib.metadata.files("kilotune") or ():
        if path.name == "LICENSE":
            return Path(str(path.locate())).read_bytes()
    raise CompileError("kilotune", "its LICENSE is not installed", "install kilotune again")
