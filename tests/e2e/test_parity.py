"""Training gives the host's bits on every emulated core, for every method; `make parity` runs the whole table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import parity
import pytest


def subset() -> Iterator[tuple[str, str, str]]:
    """(model, method, core): each method on each small model, going round the cores; the large model where it is quick."""
    cores = list(parity.CORES)
    for i, method in enumerate(parity.METHODS):
        yield "gas_mlp", method, cores[i % 8]
        yield "ecg_cnn", method, cores[(i + 3) % 8]
    yield from (("fsdd_dscnn", "bias+lora", "cortex-m0"), ("fsdd_dscnn", "adapter", "cortex-m4"), ("fsdd_dscnn", "head", "cortex-m55"))


CASES = list(subset())


@pytest.mark.qemu
@pytest.mark.parametrize(("model", "method", "core"), CASES)
def test_the_core_trains_to_the_bits_of_the_host(
    model: str, method: str, core: str, data_dir: Path, tmp_path: Path, qemu: str, request: pytest.FixtureRequest
) -> None:
    if core == "rv32imc":
        request.getfixturevalue("riscv_gcc")
    material = parity.MODELS[model](data_dir)
    build = parity.make(material, method, tmp_path / "build")
    host = parity.trained(build, material, method, "host")
    assert host.state != host.start, "training changed nothing"
    found = parity.on_core(build, material, method, core)
    assert found is not None, "no board of this core has the memory"
    assert found[1] == host


def test_the_subset_covers_the_table() -> None:
    models, methods, cores = zip(*CASES, strict=True)
    assert (set(models), set(methods), set(cores)) == (set(parity.MODELS), set(parity.METHODS), set(parity.CORES))


def test_a_difference_is_seen(data_dir: Path, tmp_path: Path) -> None:
    """One bit of one sample is enough: the comparison can fail."""
    material = parity.MODELS["gas_mlp"](data_dir)
    build = parity.make(material, "bias", tmp_path / "build")
    host = parity.trained(build, material, "bias", "host")
    material.y[parity.STEPS - 1] ^= 1
    other = parity.trained(build, material, "bias", "agent:host")
    assert other.start == host.start and other.state != host.state and other.hash != host.hash
    row = parity.Row("gas_mlp", "bias", host.hash, {"cortex-m4": ("mps2-an386", other.hash)})
    assert not row.equal and parity.cell(row, "cortex-m4") == f"DIFFERS: {other.hash}"
