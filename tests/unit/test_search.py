"""The search: its criterion, its forecasts against real builds, what it refuses, and the configuration that it writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.reference import image, samples, tiny
from gradients.graphs import Maker

import kilotune as kt
from kiloc import pipeline
from kiloc.export import tflite
from kiloc.ir import interp
from kiloc.ir.graph import Graph
from kiloc.ops.model.add import Add
from kiloc.options import Options
from kiloc.peft import BottleneckAdapter, Calibration, attach_all
from kilotune.config import load_config
from kilotune.search import trials
from kilotune.search.candidates import Budget, Candidate, Space, front
from kilotune.search.families import Piece, TrainableSet, families, variants
from kilotune.search.noise import beliefs
from kilotune.search.prefix import after, last_cut
from kilotune.search.sensitivity import Sensitivity, _continued, agreement
from kilotune.search.setting import Data, Setting
from kilotune.search.trials import Effort, Outcome, Task, Trainer, Trial, race

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
        found[name] = Space(model.graph, Sensitivity(model.graph, Data((x,), y.astype(np.int32)), Setting()), Setting())
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
    assert s.gain(more) == pytest.approx(0.5 * sum(parts)) and s.gain(more) >= s.gain(both)


def test_small_ranks_have_a_part_of_the_gradient(spaces: dict[str, Space]) -> None:
    gains = spaces["tiny"].sensitivity.gains
    names = [n for n in gains[piece("lora", "first", 8)] if n.endswith("lora_b")]
    values = [gains[piece("lora", "first", rank)][names[0]] for rank in (1, 2, 4, 8)]
    assert len(set(values)) == 4 and gains[piece("lora", "first", 8)]["first.lora_a"] == 0


def test_methods_continue_from_the_forward_pass_of_the_base(models: dict[str, kt.Model]) -> None:
    graph = models["image"].graph
    forward = interp.run(graph, {"input": samples(graph, 4)})
    whole = attach_all(graph, (kt.LoRA(rank=2, layers="all"), BottleneckAdapter(width=2, layers="all")), Calibration(forward))
    again = interp.run(whole, {"input": forward["input"]})
    known = _continued(whole, forward)
    assert again.keys() == known.keys() and all(np.array_equal(again[k], known[k]) for k in again)


# ---- Sets ----


def test_sets_become_methods_as_a_person_writes_them(models: dict[str, kt.Model]) -> None:
    graph = models["tiny"].graph
    every = TrainableSet.of([piece("bias", n) for n in ("first", "second", "logits")])
    assert every.methods(graph) == (kt.BiasOnly(layers="all"),)
    mixed = TrainableSet.of([piece("lora", "second", 4), piece("lora", "first", 2), piece("head", "logits"), piece("bias", "second")])
    expected = (kt.BiasOnly(layers="last:2"), kt.Head(), kt.LoRA(rank=2, layers=("first",)), kt.LoRA(rank=4, layers=("second",)))
    assert mixed.methods(graph) == expected and mixed.kind == "bias+head+lora"


def test_what_a_layer_can_take() -> None:
    lora = TrainableSet.of([piece("lora", "a", 2)])
    assert lora.plus(piece("head", "a")) is None and lora.plus(piece("lora", "a", 1)) is None
    assert lora.plus(piece("lora", "a", 4)) == TrainableSet.of([piece("lora", "a", 4)])
    assert lora.plus(piece("bias", "a")) == TrainableSet.of([piece("lora", "a", 2), piece("bias", "a")])


def test_the_usual_sets_are_there(spaces: dict[str, Space]) -> None:
    names = {c.name for c in spaces["tiny"].candidates(Budget())}
    assert {"bias all", "head", "lora r=1 last:1", "lora r=2 all", "bias all; lora r=2 all", "bias all; head"} <= names


def test_series_of_sets_are_planned_as_far_as_they_fit(models: dict[str, kt.Model], spaces: dict[str, Space]) -> None:
    """Fewer are planned for a narrow budget, and none that fits is missing; plans serve another search of the model."""
    every = spaces["image"].candidates(Budget())
    narrow = Budget(every[len(every) // 4].bytes)
    first = spaces["image"]
    again = Space(first.graph, first.sensitivity, first.setting)
    usual = {c.set for c in first.usual(Budget()) if narrow.allows(c)}
    assert usual <= {c.set for c in again.usual(narrow)} and len(again.plans) < 0.7 * len(first.usual(Budget()))
    planned = again.candidates(narrow)
    shared = Space(first.graph, first.sensitivity, first.setting, again.plans)
    known = len(again.plans)
    assert [c.bytes for c in shared.candidates(narrow)] == [c.bytes for c in planned] and len(again.plans) == known


def test_what_one_would_train_by_hand_is_known(spaces: dict[str, Space]) -> None:
    space = spaces["tiny"]
    whole = space.candidate(TrainableSet.of([piece("head", "logits"), piece("bias", "first"), piece("bias", "second")]))
    every, two = (space.candidate(space.last("lora", 4, n)) for n in (3, 2))
    assert whole is not None and every is not None and two is not None
    # the last layer has three classes, so its rank is 2, the largest variant that fits
    assert two.methods == (kt.LoRA(rank=2, layers="last:1"), kt.LoRA(rank=4, layers=("second",)))
    recipe = space.candidate(space.with_every_companion(every.set))
    assert recipe is not None and recipe.methods == (kt.BiasOnly(layers="all"), *every.methods)
    assert space.by_hand(Budget()) == [recipe, whole, every], "what others are measured against is the default recipe"
    assert space.by_hand(Budget(every.bytes - 1))[2] is two and space.by_hand(Budget(10)) == []
    less = next(c for c in space.by_hand(Budget(whole.bytes - 1)) if "head" in c.set.kind)
    assert less.methods == (kt.BiasOnly(layers="last:2"), kt.Head())


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
        options = Options(methods=c.methods, calibration=x, calibration_target=y if name == "tiny" else None)
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


class Scripted(Trainer):
    """A trainer whose outcomes are written down: the losses of four samples, by (name, rate relative to the candidate's own)."""

    def __init__(self, script: dict[tuple[str, float], list[float]]) -> None:
        self.script = script
        self.trained: set[tuple[str, float, Any]] = set()

    def run(self, trial: Trial, parts: Any) -> None:
        losses = np.array(self.script[trial.candidate.name, round(trial.lr / trial.candidate.lr, 3)])
        for round_, fold, folds in parts:
            self.trained.add((trial.candidate.name, trial.lr, (round_, fold, folds)))
            rows = np.arange(4) + 4 * fold
            trial.outcomes[round_, fold, folds] = Outcome(rows, losses + 0.01 * fold, np.ones(4), 1.0)

    def run_all(self, trials: Any, parts: Any, tick: Any) -> None:
        for trial in trials:
            self.run(trial, parts)

    def parts_of(self, c: Candidate) -> int:
        return len([1 for name, lr, _ in self.trained if name == c.name and lr == c.lr])


@pytest.fixture
def five(spaces: dict[str, Space]) -> list[Candidate]:
    return spaces["tiny"].candidates(Budget())[:5]


NOISE = np.array([0.1, -0.1, 0.05, -0.05])


def script(five: list[Candidate], losses: list[float], other_rates: float = 0.05) -> dict[tuple[str, float], list[float]]:
    """Samples scatter by 0.1 around the loss of each candidate, in another order for each; other rates change it."""
    found = {}
    for i, (c, loss) in enumerate(zip(five, losses, strict=True)):
        for rate in (1.0, 3.0, 0.3, 0.1):
            found[c.name, rate] = list(loss + np.roll(NOISE, i) + (0 if rate == 1 else other_rates))
    return found


def test_the_best_wins_and_laggards_are_given_up(five: list[Candidate]) -> None:
    trainer = Scripted(script(five, [0.5, 0.45, 0.45, 0.2, 0.9]))
    trials = race(trainer, five, Effort(5, 1, 1, 3))
    assert trials[0].candidate is five[3] and trials[0].lr == five[3].lr
    assert [trainer.parts_of(c) for c in five] == [3, 1, 1, 3, 1], "the anchor, first, is never given up"
    assert trials[-1].outcomes.keys() == {(0, 0, 3)}


def test_the_anchor_stays_unless_another_is_surely_better(five: list[Candidate]) -> None:
    """The difference of two candidates scatters by about 0.1 a sample, its mean over twelve samples by 0.03."""
    for lead, moved in ((0.0, False), (0.04, False), (0.15, True)):
        trials = race(Scripted(script(five, [0.5, 0.5 - lead, 0.9, 0.9, 0.9])), five, Effort(5, 1, 1, 3))
        assert (trials[0].candidate is five[1]) is moved, lead


def test_the_luckiest_of_many_is_not_better() -> None:
    """Of forty trainings that are as good as the anchor none is taken in nearly all searches, though the best of them looks better by a standard
    error in most; one that is better by as much as they scatter is found, and so are many that are all a little better."""
    rng, taken, looks = np.random.default_rng(3), 0, 0
    for _ in range(60):
        gains = 0.7 * rng.normal(0, 1, (1, 40)) + 0.7 * rng.normal(0, 1, (40, 40))
        taken += _taken(gains)[0]
        looks += (gains.mean(1) > gains.std(1) / 40**0.5).any()
    assert taken <= 6 and looks > 30
    better = rng.normal(0, 1, (40, 40)) + np.eye(40)[:, :1]
    assert _taken(better) == (True, 0)
    assert 0.3 < beliefs(better)[0].expected < 1, "shrunken, and most of it is left"
    assert _taken(0.3 * rng.normal(0, 1, (20, 40)) + 0.3 * rng.normal(0, 1, (1, 40)) + 0.15)[0]
    assert not _taken(np.zeros((2, 9)))[0], "where nothing differs"


def _taken(gains: np.ndarray[Any, Any]) -> tuple[bool, int]:
    """Whether a training would be taken instead of the anchor, and which is the best."""
    found = beliefs(list(gains))
    best = max(range(len(found)), key=lambda i: found[i].expected)
    return found[best].chance <= trials.CHANCE and found[best].expected > trials.TOLERANCE, best


def test_losses_that_are_all_tiny_do_not_move_the_choice(five: list[Candidate]) -> None:
    written_down = script(five, [0.0] * 5, other_rates=0.0)
    flat = {(name, rate): [0.004 if name == five[0].name else 0.001] * 4 for name, rate in written_down}
    assert race(Scripted(flat), five, Effort(5, 1, 1, 3))[0].candidate is five[0]


def test_another_rate_wins_where_it_is_better(five: list[Candidate]) -> None:
    written_down = script(five, [0.3, 0.5, 0.5, 0.5, 0.5])
    written_down[five[0].name, 3.0] = [0.1, 0.12, 0.1, 0.12]
    best = race(Scripted(written_down), five, Effort(5, 1, 1, 3))[0]
    assert best.candidate is five[0] and best.lr == pytest.approx(3 * five[0].lr)


def test_an_error_counts_as_much_as_a_guess(five: list[Candidate]) -> None:
    """A candidate with smaller losses, but one more sample wrong in each four, is behind."""
    rows = np.arange(4)
    sure = Trial(five[0], 0.1, {(0, 0, 3): Outcome(rows, np.full(4, 0.4), np.ones(4), 2.0)})
    bold = Trial(five[1], 0.1, {(0, 0, 3): Outcome(rows, np.full(4, 0.2), np.array([1, 1, 1, 0]), 2.0)})
    assert bold.lag(sure)[0] == pytest.approx(0.25 - 0.1)


def test_a_sample_held_out_twice_counts_once(five: list[Candidate]) -> None:
    def trial(*losses: list[float]) -> Trial:
        return Trial(five[0], 0.1, {(r, 0, 3): Outcome(np.arange(2), np.array(v), None, 1.0) for r, v in enumerate(losses)})

    lag, error = trial([0.2, 0.6], [0.4, 0.8]).lag(trial([0.0, 0.0], [0.0, 0.0]))
    assert lag == pytest.approx(0.5) and error == pytest.approx(np.std([0.3, 0.7]) / np.sqrt(2))


def task(model: kt.Model, count: int = 20) -> Task:
    x, y = data(model, count)
    given = Data((x,), y.astype(np.int32))
    return Task(model, given, Setting(epochs=2), given)


def test_folds_deal_classes_evenly(models: dict[str, kt.Model]) -> None:
    y = np.repeat([0, 1, 2], [9, 9, 2]).astype(np.int32)
    given = Data((samples(models["tiny"].graph, 20),), y)
    made = Task(models["tiny"], given, Setting(), given)
    fold = made.folds(0, 3)
    assert {int(((fold == f) & (y == 0)).sum()) for f in range(3)} == {3} and max(np.bincount(fold)) - min(np.bincount(fold)) <= 1
    assert not np.array_equal(fold, made.folds(1, 3)) and np.array_equal(fold, made.folds(0, 3))


def test_effort_follows_the_work() -> None:
    small, large = Effort.of([1e7] * 14, 25), Effort.of([2e10] * 14, 25)
    assert small.most == 14 and small.rounds == 2 and small.tuned == trials.TUNED
    assert large.most == trials.FEWEST and large.rounds == 1 and large.tuned == 2
    assert Effort.of([1e7] * 14, 120).rounds == 1, "120 predictions are enough to judge by"
    assert small.trainings(14) > large.trainings(6)


def test_all_processors_give_what_one_gives(models: dict[str, kt.Model], spaces: dict[str, Space]) -> None:
    made, planned = task(models["tiny"]), spaces["tiny"].candidates(Budget())[:3]
    alone, together = ([Trial(c, rate) for c in planned for rate in (0.1, 0.3)] for _ in range(2))
    parts, done = [(0, f, 3) for f in range(3)], []
    one, several = Trainer(made), Trainer(made)
    for trial in alone:
        one.run(trial, parts)
    several.run_all(together, parts, done.append)
    assert all(np.array_equal(a.outcomes[p].losses, b.outcomes[p].losses) for a, b in zip(alone, together, strict=True) for p in parts)
    assert sum(done) == len(together) and len({t.loss for t in alone}) > 3


# ---- The frozen part ----


def test_the_last_cut_is_where_one_value_passes(models: dict[str, kt.Model]) -> None:
    graph = models["image"].graph
    stem, spread, head = (n.name for n in graph.nodes if n.op.mnemonic != "reshape")
    assert last_cut(graph, {stem, head}) == "input"
    assert last_cut(graph, {spread}) in graph.node(stem).outputs
    assert after(graph, "input").nodes == graph.nodes and [n.name for n in after(graph, last_cut(graph, {head})).nodes] == [head]


def test_a_value_that_is_read_later_is_no_cut() -> None:
    m = Maker("fork", (1, 6), 4)
    first = m.dense("input", "first", 6)
    second = m.dense(first, "second", 6)
    graph = m.finish(m.op(m.dense(second, "third", 6), "sum", Add(), (1, 6), 1 / 16, 0, other=first))
    assert last_cut(graph, {"third"}) == first, "second alone does not separate: the sum reads first"


class Whole(Task):
    """A task that never leaves out the frozen part."""

    def _cut(self, layers: Any) -> str | None:
        return None


@pytest.mark.parametrize("storage", ["block16", "block8"])
def test_training_the_rest_is_training_the_whole(storage: str, models: dict[str, kt.Model], spaces: dict[str, Space]) -> None:
    """Losses after training on the results of the frozen part equal those of the whole model, to the last bit."""
    model = models["tiny"]
    whole = replace(task(model), setting=Setting(epochs=3, storage=storage))
    candidate = spaces["tiny"].candidate(TrainableSet.of([piece("lora", "second", 4), piece("bias", "logits")]))
    assert candidate is not None and last_cut(model.graph, {"second"}) != "input"
    rest = whole.rest({"second", "logits"})
    assert len(rest.model.graph.nodes) == len(model.graph.nodes) - 1
    outcomes = []
    for t in (Whole(whole.model, whole.data, whole.setting, whole.calibration), whole):
        trial = Trial(candidate, 0.1)
        Trainer(t).run(trial, [(0, 0, 3)])
        outcomes.append(trial.outcomes[0, 0, 3])
    assert np.array_equal(outcomes[0].losses, outcomes[1].losses) and outcomes[0].losses.std() > 0
    assert whole.work(candidate) < candidate.macs * len(whole.data) * 3


# ---- The search ----


def test_search_by_gradients(models: dict[str, kt.Model]) -> None:
    model = models["tiny"]
    wide = kt.search(model, data(model), ram="64K", train=False)
    narrow = kt.search(model, data(model), ram=wide.best.bytes - 1, train=False)
    assert narrow.best.bytes < wide.best.bytes and narrow.best.gain < wide.best.gain
    assert wide.best.gain == max(r.gain for r in wide.rows) and wide.best.accuracy is None
    assert wide.to_dict() == kt.search(model, data(model), ram="64K", train=False).to_dict()
    limited = kt.search(model, data(model), ram="64K", time=wide.best.macs - 1, train=False)
    assert limited.best.macs < wide.best.macs


# ---- Configurations ----


def test_a_configuration_survives_its_file(tmp_path: Path) -> None:
    methods = (kt.BiasOnly(layers=("a", "b")), kt.LoRA(rank=2, layers="last:3", alpha=4.0), kt.Head())
    config = kt.Config(methods, kt.SGD(lr=0.03, momentum=0.9), "kws", {"epochs": 5})
    config.save(tmp_path / "c.json")
    assert load_config(tmp_path / "c.json") == config
    written = json.loads((tmp_path / "c.json").read_text())
    assert [entry["method"] for entry in written["methods"]] == ["bias", "lora", "head"]
    for entry, method in zip(written["methods"], methods, strict=True):
        entry["method"] = type(method).__name__  # as earlier versions wrote it
    (tmp_path / "old.json").write_text(json.dumps(written))
    assert load_config(tmp_path / "old.json") == config


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
    assert "<svg" in page and "http" not in page and "<script" not in page and page.count('r="4.5"') == len(found.rows)
    assert page.count('class="best"') == 2 and page.count("budget 65,536") == 1  # the dot, and what the legend says of it
    assert found.best.name in page
    assert json.dumps(found.to_dict())


def test_every_family_has_a_method_and_layers(models: dict[str, kt.Model]) -> None:
    for family in families().values():
        assert isinstance(family.sized(variants(family)[0], "all"), family) and family.fitting(models["image"].graph)
