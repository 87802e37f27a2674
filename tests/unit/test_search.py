"""The search: its criterion, its forecasts against real builds, what it refuses, and the configuration that it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import image, samples, tiny

import kilotune as kt
from kiloc import peft, pipeline
from kiloc.export import tflite
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.peft import BottleneckAdapter
from kilotune.config import METHODS, load_config
from kilotune.search import Search
from kilotune.search.candidates import Budget, Candidate, Space, front
from kilotune.search.families import FAMILIES, Piece, TrainableSet
from kilotune.search.sensitivity import Sensitivity, _continued, agreement
from kilotune.search.trials import Effort, Outcome, Task, Trial, race

COUNT = 30


def written(graph: Graph, folder: Path) -> kt.Model:
    (folder / f"{graph.name}.tflite").write_bytes(tflite.write(graph))
    return kt.load(folder / f"{graph.name}.tflite")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, kt.Model]:
    folder = tmp_path_factory.mktemp("models")
    return {g.name: written(g, folder) for g in (tiny(), image())}


def data(model: kt.Model, count: int = COUNT, seed: int = 0) -> tuple[Any, Any]:
    """Samples whose class is the model's own answer, moved to the next class: a domain that training can learn."""
    x = samples(model.graph, count, seed)
    return x, (x.reshape(count, -1).astype(int)[:, :2] > 0).sum(1) % 3


@pytest.fixture(scope="module")
def spaces(models: dict[str, kt.Model]) -> dict[str, Space]:
    found = {}
    for name, model in models.items():
        x, y = data(model)
        found[name] = Space(model.graph, Sensitivity(model.graph, x, y.astype(np.int32)))
    return found


def piece(family: str, layer: str, variant: int = 0) -> Piece:
    return Piece(family, layer, variant)


# ---- Criterion ----


def test_agreement_is_what_one_update_takes_from_another_sample() -> None:
    g = np.array([[3.0, 0.0], [0.6, 0.8], [0.0, -0.5]])
    clipped = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, -0.5]])
    by_hand = np.mean([clipped[i] @ g[j] for i in range(3) for j in range(3) if i != j])
    assert agreement(g) == pytest.approx(by_hand)


def test_gradients_that_cancel_promise_nothing() -> None:
    along, across = np.tile([0.5, 0.0], (8, 1)), np.tile([[0.5, 0.0], [-0.5, 0.0]], (4, 1))
    assert (along**2).sum() == (across**2).sum()
    assert agreement(along) == pytest.approx(0.25) and agreement(across) < 0


def test_gain_of_a_set_is_that_of_its_tensors_once(spaces: dict[str, Space]) -> None:
    s = spaces["tiny"].sensitivity
    head, bias = piece("head", "logits"), piece("bias", "logits")
    both = TrainableSet.of([head, bias])
    assert both == TrainableSet.of([head]), "the head trains that bias already"
    more = TrainableSet.of([head, piece("bias", "first")])
    parts = [max(v, 0.0) for p in more.pieces for v in s.gains[p].values()]
    assert s.gain(more) == pytest.approx(0.3 * sum(parts)) and s.gain(more) >= s.gain(both)


def test_small_ranks_have_a_part_of_the_gradient(spaces: dict[str, Space]) -> None:
    gains = spaces["tiny"].sensitivity.gains
    names = [n for n in gains[piece("lora", "first", 8)] if n.endswith("lora_b")]
    values = [gains[piece("lora", "first", rank)][names[0]] for rank in (1, 2, 4, 8)]
    assert len(set(values)) == 4 and gains[piece("lora", "first", 8)]["first.lora_a"] == 0


def test_methods_continue_from_the_forward_pass_of_the_base(models: dict[str, kt.Model]) -> None:
    graph = models["image"].graph
    forward = interp.run(graph, {"input": samples(graph, 4)})
    whole = pipeline.attach(graph, (kt.LoRA(rank=2, layers="all"), BottleneckAdapter(width=2, layers="all")), forward)
    again = interp.run(whole, {"input": forward["input"]})
    known = _continued(whole, forward)
    assert again.keys() == known.keys() and all(np.array_equal(again[k], known[k]) for k in again)


# ---- Sets ----


def test_sets_become_methods_as_a_person_writes_them(models: dict[str, kt.Model]) -> None:
    graph = models["tiny"].graph
    every = TrainableSet.of([piece("bias", n) for n in ("first", "second", "logits")])
    assert every.methods(graph) == (kt.BiasOnly(layers="all"),) and every.lr == 0.3
    mixed = TrainableSet.of([piece("lora", "second", 4), piece("lora", "first", 2), piece("head", "logits"), piece("bias", "second")])
    expected = (kt.BiasOnly(layers="last:2"), kt.Head(), kt.LoRA(rank=2, layers=("first",)), kt.LoRA(rank=4, layers=("second",)))
    assert mixed.methods(graph) == expected and mixed.kind == "bias+head+lora" and mixed.lr == 0.1


def test_what_a_layer_can_take() -> None:
    lora = TrainableSet.of([piece("lora", "a", 2)])
    assert lora.plus(piece("head", "a")) is None and lora.plus(piece("lora", "a", 1)) is None
    assert lora.plus(piece("lora", "a", 4)) == TrainableSet.of([piece("lora", "a", 4)])
    assert lora.plus(piece("bias", "a")) == TrainableSet.of([piece("lora", "a", 2), piece("bias", "a")])


def test_the_usual_sets_are_there(spaces: dict[str, Space]) -> None:
    names = {c.name for c in spaces["tiny"].candidates(Budget())}
    assert {"bias all", "head", "lora r=1 last:1", "lora r=2 all", "bias all; lora r=2 all", "bias all; head"} <= names


def test_what_one_would_train_by_hand_is_known(models: dict[str, kt.Model], spaces: dict[str, Space]) -> None:
    space = spaces["tiny"]
    every, two = (space.candidate(space.last("lora", 4, n)) for n in (3, 2))
    assert every is not None and two is not None
    # the last layer has three classes, so its rank is 2, the largest variant that fits
    assert two.methods == (kt.LoRA(rank=2, layers="last:1"), kt.LoRA(rank=4, layers=("second",)))
    assert space.by_hand(Budget(every.bytes)) is every and space.by_hand(Budget(every.bytes - 1)) is two and space.by_hand(Budget(10)) is None


def test_the_front_is_what_nothing_beats(spaces: dict[str, Space]) -> None:
    every = spaces["image"].candidates(Budget())
    best = front(every)
    assert 1 < len(best) < len(every)
    for c in every:
        beaten = [o for o in best if o.bytes <= c.bytes and o.macs <= c.macs and o.gain >= c.gain]
        assert beaten and (c not in best or beaten == [c])


# ---- Forecasts ----


@pytest.mark.parametrize("name", ["tiny", "image"])
def test_forecast_is_what_a_build_reports(name: str, models: dict[str, kt.Model], spaces: dict[str, Space]) -> None:
    """Without calibration and emission, yet to the byte: memory, MACs, weights and tables."""
    every = spaces[name].candidates(Budget())
    kinds = {c.set.kind: c for c in every}
    chosen = [*kinds.values(), every[0], every[len(every) // 2], every[-1]]
    assert len(kinds) >= 4
    x, y = data(models[name])
    for c in chosen:
        options = pipeline.Options(methods=c.methods, calibration=x, calibration_target=y if name == "tiny" else None)
        built = pipeline.compile_graph(models[name].graph, options, "test")
        assert built.train is not None
        assert c.bytes == built.context.arena_train + built.context.state_bytes, c.name
        assert c.constant_bytes == built.context.constant_bytes, c.name


def test_forecast_and_report(models: dict[str, kt.Model], spaces: dict[str, Space], tmp_path: Path) -> None:
    for c in (spaces["image"].candidates(Budget())[i] for i in (0, -1)):
        report = kt.build(models["image"], tmp_path / "b", method=c.methods).report
        assert c.bytes == report["memory"]["train_total"] and c.arena_bytes == report["memory"]["train_arena"]
        assert {"forward": c.forward_and_backward[0], "backward": c.forward_and_backward[1]} == report["macs"]


# ---- What wins ----


class Scripted:
    """A trainer whose outcomes are written down: (loss, right) for each sample, by (name, rate relative to the set's own)."""

    def __init__(self, script: dict[tuple[str, float], list[tuple[float, int]]]) -> None:
        self.script, self.trained = script, []

    def run(self, trial: Trial, parts: Any) -> None:
        losses, right = np.array(self.script[trial.candidate.name, round(trial.lr / trial.candidate.set.lr, 3)]).T
        for part in parts:
            if part not in trial.outcomes:
                self.trained.append((trial.candidate.name, trial.lr, part))
            trial.outcomes[part] = Outcome(losses + 0.01 * part[1], right)


@pytest.fixture
def five(spaces: dict[str, Space]) -> list[Candidate]:
    return spaces["tiny"].candidates(Budget())[:5]


def script(five: list[Candidate], losses: list[float], slower: float) -> dict[tuple[str, float], list[tuple[float, int]]]:
    """Samples scatter by 0.1 around the loss of each candidate; smaller rates change it by `slower`."""
    noise = [0.1, -0.1, 0.05, -0.05]
    return {(c.name, r): [(v + n + (0 if r == 1 else slower), 1) for n in noise] for c, v in zip(five, losses, strict=True) for r in (1.0, 0.3, 0.1)}


def test_the_smallest_loss_wins_and_laggards_are_given_up(five: list[Candidate]) -> None:
    trainer = Scripted(script(five, [0.5, 0.4, 0.3, 0.2, 0.9], slower=0.1))
    trials = race(trainer, five, Effort(5, 1, 1))  # type: ignore[arg-type]
    assert trials[0].candidate is five[3] and trials[0].own_rate
    parts = {c.name: len({p for n, lr, p in trainer.trained if n == c.name and lr == c.set.lr}) for c in five}
    assert parts[five[3].name] == parts[five[1].name] == 3 and parts[five[4].name] == 1 and parts[five[0].name] == 1


def test_a_smaller_rate_has_to_be_better_by_more_than_the_noise(five: list[Candidate]) -> None:
    for gain, own in ((-0.2, False), (0.0, True)):
        written_down = script(five, [0.3, 0.5, 0.5, 0.5, 0.5], slower=gain)
        assert race(Scripted(written_down), five, Effort(5, 1, 1))[0].own_rate is own  # type: ignore[arg-type]
    noisy = script(five, [0.3, 0.5, 0.5, 0.5, 0.5], slower=0.0)
    noisy[five[0].name, 0.3] = [(0.0, 1), (0.6, 1), (0.0, 1), (0.5, 1)]  # smaller on average, but not surely
    assert race(Scripted(noisy), five, Effort(5, 1, 1))[0].own_rate  # type: ignore[arg-type]


def test_folds_deal_classes_evenly(models: dict[str, kt.Model]) -> None:
    x = samples(models["tiny"].graph, 20)
    y = np.repeat([0, 1, 2], [9, 9, 2]).astype(np.int32)
    task = Task(models["tiny"], x, y, x, 1, "cortex-m4", 0)
    fold = task.folds(0, 3)
    assert {int(((fold == f) & (y == 0)).sum()) for f in range(3)} == {3} and max(np.bincount(fold)) - min(np.bincount(fold)) <= 1
    assert not np.array_equal(fold, task.folds(1, 3)) and np.array_equal(fold, task.folds(0, 3))


# ---- The search ----


def test_search_by_gradients(models: dict[str, kt.Model]) -> None:
    model = models["tiny"]
    wide, narrow = (kt.search(model, data(model), ram=ram, train=False) for ram in ("64K", 300))
    assert narrow.best.bytes <= 300 < wide.best.bytes and narrow.best.gain < wide.best.gain
    assert wide.best.gain == max(r.gain for r in wide.rows) and wide.best.accuracy is None
    assert wide.to_dict() == kt.search(model, data(model), ram="64K", train=False).to_dict()
    limited = kt.search(model, data(model), ram="64K", time=wide.best.macs - 1, train=False)
    assert limited.best.macs < wide.best.macs


def test_search_refuses(models: dict[str, kt.Model]) -> None:
    model = models["tiny"]
    x, y = data(model)
    for given, what in (
        ((x, None), "no labels"),
        ((x[:, :5], y), "shape"),
        ((x, y[:-1]), "labels of shape"),
        ((x, np.full(COUNT, 2)), "every sample has the label 2"),
        ((x, y + 1), "class numbers below 3"),
        ((x, y.astype(float)), "class numbers"),
    ):
        with pytest.raises(kt.CompileError, match=what):
            kt.search(model, given, ram="64K", train=False)
    with pytest.raises(kt.CompileError, match="too few"):
        kt.search(model, (x[:5], np.arange(5) % 2), ram="64K")


def test_a_budget_below_the_smallest_set_names_it(models: dict[str, kt.Model]) -> None:
    model = models["tiny"]
    prepared = Search(model, data(model))
    for limit in ("ram", "time", "flash"):
        with pytest.raises(kt.BudgetError) as error:
            prepared.choose(**{"train": False, "ram": "1M", limit: 10})
        need = int(error.value.hint.split()[-1].replace(",", ""))
        with pytest.raises(kt.BudgetError):
            prepared.choose(**{"train": False, "ram": "1M", limit: need - 1})
        if limit != "flash":  # code comes on top, which only a build measures
            assert prepared.choose(**{"train": False, "ram": "1M", limit: need}).best.name in error.value.what


# ---- Configurations ----


def test_a_configuration_survives_its_file(tmp_path: Path) -> None:
    methods = (kt.BiasOnly(layers=("a", "b")), kt.LoRA(rank=2, layers="last:3", alpha=4.0), kt.Head())
    config = kt.Config(methods, kt.SGD(lr=0.03, momentum=0.9), "kws", {"epochs": 5})
    config.save(tmp_path / "c.json")
    assert load_config(tmp_path / "c.json") == config
    assert METHODS.keys() >= {"BiasOnly", "Head", "LoRA"} and all(issubclass(m, peft.Method) for m in METHODS.values())


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "not a configuration"),
        ("[]", "no list"),
        ('{"methods": [{"method": "Lora"}]}', "'Lora' is no method"),
        ('{"methods": [{"method": "LoRA", "width": 3}]}', "LoRA has no width"),
        ('{"methods": [3]}', "is no method"),
        ('{"methods": [], "optimizer": {"optimizer": "SGDM"}}', "'SGDM' is no optimizer"),
        ('{"methods": [], "optimizer": {"optimizer": "SGD", "lr": -1}}', "not"),
        ('{"methods": [], "training": 3}', "not an object"),
    ],
)
def test_configurations_that_are_refused(text: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(kt.CompileError, match=what):
        load_config(tmp_path / "c.json")


def test_build_takes_a_configuration_or_methods(models: dict[str, kt.Model], tmp_path: Path) -> None:
    config = kt.Config((kt.BiasOnly(layers="last:2"),), kt.SGD(lr=0.03))
    built = kt.build(models["tiny"], tmp_path / "b", config=config)
    assert built.report["model"]["methods"] == ["bias last:2"] and built.manifest["learning_rate"] == 0.03
    with pytest.raises(kt.CompileError, match="method and optimizer"):
        kt.build(models["tiny"], tmp_path / "b", config=config, method=kt.Head())


# ---- Picture ----


def test_the_page_is_self_contained(models: dict[str, kt.Model], tmp_path: Path) -> None:
    found = kt.search(models["tiny"], data(models["tiny"]), ram="64K", train=False)
    found.save_html(tmp_path / "front.html")
    page = (tmp_path / "front.html").read_text()
    assert "<svg" in page and "http" not in page and "<script" not in page and page.count("<circle") == len(found.rows)
    assert page.count('class="best"') == 1 and found.best.name in page
    assert json.dumps(found.to_dict())


def test_every_family_has_a_method_and_layers(models: dict[str, kt.Model]) -> None:
    for family in FAMILIES.values():
        assert isinstance(family.make(family.variants[0], "all"), peft.Method) and family.layers(models["image"].graph)
