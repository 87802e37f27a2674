"""What a search knows of the chip: instructions of kernels, energy, wear; and what it says of its choice."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from golden.reference import loaded_tiny, samples

import kilotune as kt
from kiloc.cores import CORES, kernels_of
from kiloc.forecast import estimate, forecast
from kiloc.forecast.geometry import geometry
from kiloc.forecast.instructions import EXACT, PAIRED, UNKNOWN, costs, taken
from kiloc.forecast.work import form, work
from kiloc.ir import interp
from kiloc.ops._window import Window
from kilotune import boards
from kilotune.cli import main
from kilotune.search import Search
from kilotune.search.candidates import Budget
from kilotune.search.chip import Chip, parse_energy, parse_wear
from kilotune.search.reason import reasons, verdicts
from kilotune.search.setting import Setting
from kilotune.search.trials import Outcome, Trial

BOARD = "nano33ble"
ROOT = Path(__file__).resolve().parents[2]
GUESSED = """
kt_adam8 kt_add_broadcast_s16 kt_add_broadcast_s8 kt_add_s16 kt_apply_gain_s8 kt_attention_gradient_one_pass_s8 kt_attention_next_s8
kt_average_of_sums kt_average_pool2d_s16 kt_bound_channels_s32 kt_bound_channels_s8 kt_clear_channels kt_banded_depthwise_strided_s8
kt_banded_depthwise_strided_scaled_relu_s8 kt_banded_depthwise_strided_scaled_s8 kt_batch_matmul_gradient_s8 kt_batch_matmul_s8
kt_binary_cross_entropy kt_channel_moments kt_channel_sums_s8 kt_choice_gradient_s8 kt_clip_gradient kt_concatenate_s16 kt_concatenate_s8
kt_conv2d_delta_scaled_s8 kt_conv2d_lora_scaled_s8 kt_conv2d_once_s8 kt_conv2d_s16 kt_conv2d_s16_bias32 kt_count_update kt_depthwise_conv2d_s16
kt_elementwise_chain_s8 kt_embedding_s8 kt_from_integers kt_gather_s8 kt_gradient_of_sums kt_gradient_of_total kt_gru_lora_next_s8 kt_gru_next_s8
kt_huber kt_information_maximisation kt_integer_sum kt_layer_normalization_gradient_s16 kt_layer_normalization_gradient_s8
kt_layer_normalization_s16 kt_layer_normalization_s8 kt_lion8 kt_log_softmax_gradient_s8 kt_log_softmax_s8 kt_logistic_s16 kt_lora_inner_exponent
kt_lora_inner_peak kt_lora_inner_rows_s8 kt_mask_gradient_s16 kt_max_pool2d_s16 kt_maximum_broadcast_s8 kt_maximum_s8 kt_mean_squared_error
kt_minimum_broadcast_s8 kt_minimum_s8 kt_move_s8 kt_mul_broadcast_s16 kt_mul_s16 kt_new_head_input_gradient_s8 kt_next_token_cross_entropy
kt_open_cross_entropy kt_packed_conv2d_delta_scaled_s8 kt_packed_row_scaled_relu_s8 kt_packed_sums_row_s8 kt_pad_gradient_s8 kt_pad_s16 kt_pad_s8
kt_prelu_broadcast_s8 kt_prelu_s8 kt_reconstruction_error kt_requantize_s16 kt_requantize_s16_s32 kt_requantize_s16_s8 kt_requantize_s8
kt_requantize_s8_s16 kt_requantize_s8_s32 kt_requantize_s8_u8 kt_requantize_u8_s8 kt_repeat_gradient_s8 kt_repeat_s8 kt_resample_gradient_s8
kt_resize_bilinear_s8 kt_save_mask_s16 kt_scaled_rate kt_schedule_cosine kt_schedule_linear kt_schedule_step kt_sgd8 kt_shared_input_gradient_s8
kt_shared_path_input_gradient_s8 kt_slope_gradient_s8 kt_soft_cross_entropy kt_softmax_gradient_s8 kt_softmax_s16 kt_softmax_s8 kt_softmax_s8_s16
kt_squared_difference_s8 kt_step_block8 kt_streamed_rows kt_sub_broadcast_s16 kt_sub_s16 kt_sub_s8 kt_svdf_input_gradient_s16
kt_svdf_input_gradient_s8 kt_svdf_s16 kt_svdf_s8 kt_tanh_s16 kt_total_of_sums kt_transpose_s8 kt_triple_conv2d_lora_scaled_s8
kt_triple_conv2d_scaled_relu_s8 kt_triple_conv2d_scaled_s8 kt_triple_down_projection_rows_s8 kt_turn_sign kt_winograd_conv2d_relu_s8
kt_winograd_conv2d_s8 kt_write_rows_s8
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> kt.Model:
    return loaded_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def prepared(model: kt.Model) -> Search:
    x = samples(model.graph, 30)
    return Search(model, (x, np.arange(30) % 3), Setting(chip=Chip.of(BOARD)))


# ---- Instructions ----


def test_a_form_without_costs_has_those_of_its_kernel() -> None:
    table = {"k": {"call": 7.0}, "k 3x3": {"call": 5.0, "macs": 2.0}}
    amounts = {"call": 1.0, "macs": 10.0, "results": 1.0, "inputs": 1.0}
    assert [taken(table, name, amounts) for name in ("k 3x3 strided odd", "k 3x3", "k pointwise", "k")] == [25, 25, 7, 7]
    assert taken(table, "k_scaled 3x3 odd", amounts) == 25, "what is alike takes about as long"
    assert taken(table, "other", amounts) == sum(UNKNOWN[name] * amounts[name] for name in UNKNOWN)


@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m55", "rv32imc"])
def test_a_step_is_the_sum_of_its_calls_and_kernels_are_those_of_the_core(target: str, model: kt.Model) -> None:
    forward = interp.run(model.graph, {"input": samples(model.graph, 1)})
    methods = (kt.BiasOnly(), kt.LoRA(rank=4))
    once, often = (forecast(model.graph, Setting(target=target, accumulate=n).options(methods), forward) for n in (1, 4))
    calls = list(once.calls())
    table = costs(kernels_of(target))
    parts = [taken(table, form(node, symbol, amounts), amounts) for graph, node, symbol, _ in calls for amounts in (work(graph, node),)]
    found = estimate(once, target)
    assert 0 <= found.instructions - sum(parts) < 100 and not found.unknown, "all kernels of a usual training were counted"
    assert not any(update for *_, update in calls), "where every sample updates, updates are part of the step"
    updates = [1 for *_, update in often.calls() if update]
    assert updates and estimate(often, target, 4).instructions < estimate(often, target, 1).instructions


@pytest.mark.parametrize(
    ("size", "window"),
    [
        ((7, 5), Window((3, 3), (1, 1), (1, 1, 1, 1))),
        ((9, 1), Window((4, 1), (2, 1), (1, 0, 2, 0))),
        ((2, 3), Window((5, 5), (1, 1), (2, 2, 2, 2))),
        ((8, 6), Window((2, 3), (1, 2), (0, 1, 1, 1), (2, 1))),
    ],
)
def test_taps_inside_an_image_are_those_that_a_window_meets(size: tuple[int, int], window: Window) -> None:
    """Beside the operator's own walk over an image of ones, of the layer and of the gradient to its input."""
    out = window.output(*size)
    fields = {"layer": {"window": window.fields((*size, 1), (*out, 1))}}
    met = window.patches(np.ones((1, *size, 1), int)).reshape(*out, -1).sum(-1)
    spread = window.scatter(np.ones((1, out[0] * out[1], window.kernel[0] * window.kernel[1]), int), (1, *size, 1))[0, ..., 0]
    for transposed, counts in ((False, met), (True, spread)):
        found = geometry(fields, transposed)
        assert found is not None and (found.rows, found.columns, found.taps) == (*counts.shape, counts.sum())
        whole = np.prod([-(-k // s) if transposed else k for k, s in zip(window.kernel, window.stride, strict=True)])
        assert found.inner == (counts == whole).sum() and found.placed == out[0] * out[1]


def test_every_kernel_has_costs_or_is_known_to_be_guessed() -> None:
    """Of those that the generated code calls: a new one is counted (`make bench-kernel-costs`), or it is named here. Those of exact words take as
    long as those of paired ones."""
    headers = [*(ROOT / "runtime/include/kt/kernels").glob("*.h"), *(ROOT / "runtime/include/kt" / name for name in ("loss.h", "optim.h"))]
    declared = {name for path in headers for name in re.findall(r"^\w+ (kt_\w+)\(", path.read_text(), re.MULTILINE)}
    counted = {name.partition(" ")[0] for core in CORES for name in costs(kernels_of(core))}
    assert counted <= declared, "costs of kernels that are gone"
    assert {name.replace(EXACT, PAIRED) for name in declared} - counted == set(GUESSED.split())


def test_costs_are_of_every_kind_of_core_and_plain() -> None:
    for core in CORES:
        for name, terms in costs(kernels_of(core)).items():
            assert name.startswith("kt_") and all(value > 0 for value in terms.values()), name


# ---- Boards ----


def test_every_chip_says_what_an_update_wears() -> None:
    nano, pico = Chip.of("nano33ble"), Chip.of("pico")
    assert (nano.target, nano.clock, nano.page_bytes) == ("cortex-m4", 64_000_000, 4096) and pico.target == "cortex-m0plus"
    assert [nano.erases(n) for n in (1, 4064, 4065, 8160)] == [1, 1, 2, 2], "the record of a slot takes 32 bytes"
    assert nano.updates == 2 * 10_000, "two slots by turns"
    assert nano.energy(1_000_000) == pytest.approx(1e-3 * (nano.nanojoules or 0))
    real = [b for b in map(boards.load, boards.names()) if b.uploads]
    assert real and all(b.nanojoules and b.flash for b in real), "boards that are flashed say both"


def test_a_save_wears_what_the_ring_of_records_erases() -> None:
    """A ring as `kt/state_store.h` has it: pages are erased when writing reaches them, none before."""
    nano = Chip.of("nano33ble")
    assert nano.page_bytes is not None
    for content in (1, 500, 700, 3000, 6000):
        length, end, erased, saves = -(-(32 + content) // 32) * 32, 0, 0, 4096
        for _ in range(saves):
            erased += (end + length - 1) // nano.page_bytes - (end - 1) // nano.page_bytes
            end += length
        assert erased / saves == pytest.approx(nano.erases_a_save(content) or 0, rel=0.01)


def test_what_an_error_allows_is_enough(prepared: Search) -> None:
    """Of one limit and of several at once, with the set that is nearest to them."""
    for wanted in ({"time": "1us"}, {"time": 5}, {"ram": 20}, {"ram": 40, "time": "1us"}, {"ram": "1K", "time": "1us", "energy": "0.001nJ"}):
        limits: dict[str, Any] = dict(wanted)
        with pytest.raises(kt.BudgetError, match="no trainable set of tiny fits") as error:
            prepared.choose(train=False, count=False, **limits)
        allowed = dict(part.split("=") for part in error.value.hint.removeprefix("allow ").split(" and ") if "=" in part)
        limits |= allowed or {error.value.where.partition("=")[0]: error.value.hint.removeprefix("allow ").replace(",", "")}
        assert len(limits) == len(wanted) and prepared.choose(train=False, count=False, **limits).feasible > 0, (wanted, limits)


def test_limits_as_people_write_them() -> None:
    assert [parse_energy(e) for e in ("2mJ", "500 uJ", "1J", 0.25, None)] == [0.002, pytest.approx(5e-4), 1.0, 0.25, None]
    assert [parse_wear(w) for w in (3, "3", None)] == [3, 3, None]
    for wrong in ("2 watts", 0, -1, "-2mJ", True, "mJ"):
        with pytest.raises(kt.CompileError, match="no energy"):
            parse_energy(wrong)
    for wrong in ("some", 0, -1, "1.5", True):
        with pytest.raises(kt.CompileError, match="no number of sectors"):
            parse_wear(wrong)


def test_budgets_of_energy_and_wear(prepared: Search) -> None:
    wide = prepared.choose(ram="64K", train=False)
    joules, erases = wide.best.joules, wide.best.erases
    assert joules is not None and erases == 1 and wide.clock == 64_000_000 and wide.board == BOARD
    narrow = prepared.choose(ram="64K", energy=0.9 * joules, flash_wear=1, train=False, count=False)
    assert narrow.best.joules is not None and narrow.best.joules <= 0.9 * joules and narrow.feasible < wide.feasible
    with pytest.raises(kt.BudgetError, match="as estimated") as error:
        prepared.choose(ram="64K", energy="1nJ", train=False, count=False)
    assert error.value.where == "energy=0.001uJ"
    assert prepared.choose(ram="64K", energy=error.value.hint.split()[-1], train=False, count=False).feasible > 0
    assert "an estimate" in wide.why() and "worn after 20,000 updates" in wide.why()
    candidate = prepared.space.candidates(Budget())[-1]
    assert Budget(wear=1).allows(candidate) and not Budget(wear=0).allows(candidate)


@pytest.mark.parametrize(
    ("options", "code", "what"),
    [
        (["--energy", "1mJ"], 3, "depends on the board"),
        (["--flash-wear", "2"], 3, "depends on the board"),
        (["--board", BOARD, "--flash-wear", "-1"], 3, "no number of sectors"),
        (["--board", BOARD, "--energy", "-1mJ"], 3, "no energy"),
        (["--board", "mps2-an386", "--energy", "1mJ"], 3, "does not say nanojoules_per_instruction"),
        (["--board", "mps2-an386", "--flash-wear", "1"], 3, "does not say erase_bytes"),
        (["--board", "posix"], 3, "its core is host"),
        (["--board", "nano"], 1, "no board of this name"),
        (["--board", BOARD, "--energy", "1nJ"], 1, "the smallest"),
    ],
)
def test_command_line_errors(options: list[str], code: int, what: str, model: kt.Model, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=samples(model.graph, 30), y=np.arange(30) % 3)
    command = ["search", str(model.path), "--data", str(tmp_path / "d.npz"), "--ram", "64K", "--no-train", "--no-count", *options]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == code and what in done.output, done.output


def test_the_command_line_says_why(model: kt.Model, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=samples(model.graph, 30), y=np.arange(30) % 3)
    command = ["search", str(model.path), "--data", str(tmp_path / "d.npz"), "--ram", "64K", "--no-train", "--board", BOARD]
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0 and "nothing was trained" in done.output and "energy is an estimate" in done.output
    found = json.loads(CliRunner().invoke(main, [*command, "--json"], catch_exceptions=False).stdout)
    assert found["target"] == "cortex-m4" and found["board"] == BOARD and found["best"]["erases"] == 1 and found["reason"]


# ---- Reasons ----


def test_reasons_name_what_noise_does_not_tell_apart(prepared: Search) -> None:
    one, other, far = prepared.space.candidates(Budget())[:3]
    noise = np.array([0.1, -0.1, 0.05, -0.05])

    def trial(candidate: object, loss: float, turn: int, parts: int = 2, anchor: bool = False) -> Trial:
        losses = loss + np.roll(noise, turn)
        return Trial(candidate, 0.1, {(0, f, 2): Outcome(np.arange(4) + 4 * f, losses, np.ones(4), 1.0) for f in range(parts)}, anchor)  # type: ignore[arg-type]

    trials = [trial(one, 0.5, 0, anchor=True), trial(other, 0.48, 1), trial(far, 0.9, 2, parts=1)]
    said = verdicts(trials)
    assert said[one.name] == "chosen" and said[other.name].startswith("within noise: -0.020") and said[far.name].startswith("given up: +0.400")
    text = " ".join(reasons(one, trials, [one, other, far]))
    assert "without a search" in text and f"within noise of it: {other.name} at lr" in text and far.name not in text
    moved = " ".join(reasons(other, [trials[1], trials[0], trials[2]], [one, other, far]))
    assert "better than what one would train without a search" in moved and "by 0.020" in moved


def test_it_is_said_where_the_default_recipe_does_not_fit(prepared: Search) -> None:
    smallest = min((c for s in prepared.space.default_recipes()[0] if (c := prepared.space.candidate(s))), key=lambda c: c.bytes)
    assert not any("does not fit" in line for line in prepared.choose(ram=smallest.bytes, train=False).reason)
    said = prepared.choose(ram=smallest.bytes - 1, train=False).reason[1]
    assert said == f"the default recipe does not fit: the smallest, {smallest.name}, takes {smallest.bytes:,} bytes"
    slower = prepared.choose(time=f"{0.99e3 * smallest.instructions / 64e6:.6f}ms", train=False, count=False).reason[1]
    assert smallest.name in slower and "ms a step at 64 MHz" in slower
