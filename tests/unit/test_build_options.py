"""Options of a build in groups and by their own names: the same either way, refused where they are given twice or unknown."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from golden.reference import tiny

import kilotune as kt
from kiloc import Options
from kiloc.export import WRITERS
from kilotune.options import SingleOptions, compile_options, grouped

GROUPS: dict[str, type] = {"training": kt.Training, "memory": kt.Memory, "target": kt.Target}
OTHER_THAN_USUAL: dict[str, Any] = {
    "optimizer": kt.Adam(), "loss": "mse", "storage": "block8", "accumulate": 4, "moments": True, "shard": (0, 2), "ram": "1M", "flash": 2**20,
    "buffers": "arena", "offload": "optimizer", "moments_in_ram": "4K", "slow_memory": "mps2-an386", "backward_weights": "shared", "optimal": True,
    "profile": "litert", "speed": True, "attention_window": 8, "by_position": True, "front": True, "size": True,
    "replay": kt.Replay(samples=60), "slice_instructions": 50_000,
}  # fmt: skip
"""stack is left out: a budget of it needs the cross compiler."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> kt.Model:
    path = tmp_path_factory.mktemp("model") / "tiny.tflite"
    path.write_bytes(WRITERS[".tflite"](tiny()))
    return kt.load(path)


def compiled(model: kt.Model, training: Any = None, memory: Any = None, target: Any = "cortex-m4", **single: Any) -> Options:
    rest: dict[str, Any] = {"calibration": None, "adapters": None, "seed": 0, "name": None, "config": None, "measure": True}
    return compile_options(model, kt.BiasOnly(), True, *grouped(training, memory, target, single), **rest)


def test_every_field_of_a_group_is_an_option_by_its_own_name() -> None:
    every = [f.name for group in GROUPS.values() for f in fields(group)]
    assert sorted(SingleOptions.__annotations__) == sorted(set(every) - {"core"})
    assert len(every) == len(set(every)), "no two groups have a field of one name"
    assert set(OTHER_THAN_USUAL) == set(SingleOptions.__annotations__) - {"stack"}


@pytest.mark.parametrize("name", OTHER_THAN_USUAL)
def test_a_group_says_the_same_as_the_option_alone(name: str, model: kt.Model) -> None:
    value = OTHER_THAN_USUAL[name]
    group = next(g for g, cls in GROUPS.items() if name in {f.name for f in fields(cls)})
    alone = compiled(model, **{name: value})
    assert alone == compiled(model, **{group: GROUPS[group](**{name: value})})
    assert alone != compiled(model), "the option reaches the compiler"


def test_groups_build_what_the_options_alone_do(model: kt.Model, tmp_path: Path) -> None:
    alone = kt.build(
        model, tmp_path / "alone", method=kt.LoRA(rank=2), optimizer=kt.SGD(lr=0.1, momentum=0.9), loss="cross_entropy", accumulate=2,
        target="cortex-m7", ram="1M", flash=None, measure=False,
    )  # fmt: skip
    groups = kt.build(
        model, tmp_path / "groups", method=kt.LoRA(rank=2), training=kt.Training(optimizer=kt.SGD(lr=0.1, momentum=0.9), accumulate=2),
        memory=kt.Memory(ram="1M"), target=kt.Target("cortex-m7"), measure=False,
    )  # fmt: skip
    assert alone.manifest == groups.manifest and alone.manifest["target"] == "cortex-m7" and alone.manifest["accumulate"] == 2


def test_an_option_completes_a_group(model: kt.Model) -> None:
    options = compiled(model, memory=kt.Memory(ram="1M"), flash="2M", target=kt.Target(speed=True))
    assert (options.ram, options.flash, options.speed, options.target) == (2**20, 2**21, True, "cortex-m4")


@pytest.mark.parametrize(
    ("options", "where", "what"),
    [
        ({"ram": "64K", "memory": kt.Memory(ram="32K")}, "ram='64K'", "is given twice, by its own name and in memory=kt.Memory(ram='32K')"),
        ({"speed": True, "target": kt.Target(speed=True)}, "speed=True", "is given twice"),
        ({"optimizer": kt.SGD(), "training": kt.Training(optimizer=kt.Adam())}, "optimizer=SGD", "is given twice"),
        ({"optimiser": kt.SGD()}, "optimiser=SGD", "is no option of a build"),
        ({"training": kt.SGD()}, "training", "is no kt.Training"),
        ({"memory": "64K"}, "memory", "is no kt.Memory"),
        ({"target": kt.Target("cortex-m5")}, "target='cortex-m5'", "is not a known core"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], where: str, what: str, model: kt.Model, tmp_path: Path) -> None:
    with pytest.raises(kt.CompileError) as error:
        kt.build(model, tmp_path / "build", method=kt.BiasOnly(), measure=False, **options)
    assert error.value.where.startswith(where) and what in error.value.what and error.value.hint
    assert not (tmp_path / "build").exists()


def test_a_misspelt_option_is_corrected(model: kt.Model, tmp_path: Path) -> None:
    with pytest.raises(kt.CompileError, match="did you mean 'accumulate'"):
        kt.build(model, tmp_path / "build", acumulate=2)  # type: ignore[call-arg]
