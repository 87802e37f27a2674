"""The page and the picture of what was measured on meters."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from meters import CHANGES, CONTROL, METHODS, SHARES, UNSEEN, Case, taken_for
from prose import wrapped

Found = Mapping[tuple[str, int], Any]
Row = list[str]
HEADINGS = [*UNSEEN, "mean exact", "mean within 0.1", "original", CONTROL, "draws"]
CENTRAL = {"lcd_pb": (1.000, 1.000), "betar": (0.900, 0.973), "itron_C114U": (0.656, 1.000)}
"""Of the model of 22 months later, which was trained with these meters; its meters.md beside the set has these figures and those of FLOAT."""
FLOAT = {
    100: {
        "head": ((0.942, 0.942), (0.556, 0.824), (0.491, 0.950)), "bias": ((0.801, 0.801), (0.589, 0.824), (0.416, 0.989)),
        "LoRA r=4": ((0.731, 0.731), (0.587, 0.816), (0.430, 0.964)), "full": ((0.872, 0.872), (0.631, 0.842), (0.459, 0.982)),
    },
    30: {
        "head": ((0.769, 0.776), (0.491, 0.776), (0.387, 0.957)), "bias": ((0.801, 0.814), (0.542, 0.767), (0.384, 0.953)),
        "LoRA r=4": ((0.788, 0.788), (0.567, 0.771), (0.358, 0.939)), "full": ((0.769, 0.776), (0.573, 0.780), (0.412, 0.957)),
    },
}  # fmt: skip
"""Float training (jax) without anything rehearsed, as its page has it."""
FLOAT_CONTROL = {
    100: {"head": 0.789, "bias": 0.887, "LoRA r=4": 0.878, "full": 0.849},
    30: {"head": 0.822, "bias": 0.887, "LoRA r=4": 0.896, "full": 0.873},
}

DEFAULT = "LoRA r=4, biases"
"""What `kilotune train` trains without --method."""
ABOUT = f"""
A reader of water meters (dig-class100-0168 of haverland/Tenth-of-step-of-a-meter-digit, December 2023, INT8, 227 kB, Apache-2.0) meets three
meters whose images came later. It reads a tenth of a digit: 100 classes on a circle. A user labels 100 images of the own meter, or 30 (of
{UNSEEN[0]} the set has 60). The images that judge are others: 52, 150 and 93. "original": 150 images of the model's own training data that were
not rehearsed; {CONTROL}: 150 of a meter that it was trained on. Exact answers / answers within 0.1, whose labels are fuzzy by 0.1. Means over
the draws of the images, as many as a row says.

Everything is trained by the generated C with what is the default: `kt.build(model, folder, method=..., loss="soft_cross_entropy")` and
`device.fit(x, y, rehearsal=kt.Rehearsal(known))`, the same for every method, meter and number of images: about 1000 steps of the user's images,
the rate of the method, which falls to 0, and two of 150 original images rehearsed for each new one, with the answers of the model as built. No
rate was chosen for these meters; the defaults were found on other scenarios ([rates](../rates.md)). {DEFAULT} is what `kilotune train` trains
without `--method`. A device keeps what is rehearsed in 36,000 bytes of flash: brightness at half the resolution, colour at a quarter
(`examples/meter_digits/images.py`).

"x 0.7": `kilotune.adapters.scaled`, a share of the change. "switched": the adapter is on only where the nearest stored thumbnail (8x5 pixels) is
one of the user's meter: 120 bytes an image of the user's, those of the originals come from what is rehearsed. A user who knows which meter an
image is of switches without it, and loses nothing at all: `select_adapter`.
"""

NOT = (
    "One adapter for all meters: whatever reads the three meters well loses more than two points of the original domain. Half of the change of "
    "ScaleShift is near two points, and gains much less.",
    "What judges the original domain are images that the model was trained on. Whatever changes the model, some of what it knows by heart is lost; "
    "what is rehearsed does not bring back the others. Without rehearsing far more is lost.",
    "Tried in short runs on images of the control that were changed to look like another meter's (`--choose` has some of them), and left out because "
    "it moved the curve by less than draws differ: four rehearsed for each new one, rehearsed images shifted and with other contrast which the "
    "model as built answers anew, lower rates, no clipping.",
    "ScaleShift, which a prototype in float had found the best of all for gain and forgetting at its own rate, has the best curve without the "
    "switch, but not the best reading with it. The prototype had also found that soft circular labels, augmentation of the user's images and "
    "weight averaging bring nothing; that was not measured again.",
    "An image of a third meter, which neither the model nor the adapter knows, may be taken for the user's (the last column of \"Which image "
    'is whose"). Thumbnails tell known from own, no more.',
    "With the switch nothing needs to be rehearsed for the sake of the other meters: ScaleShift alone reads the three meters as well and loses as "
    "little. What is rehearsed is for adapters that stay on, and the switch needs its thumbnails.",
)


def verdict(found: Found) -> str:
    """What the default reaches, in a sentence for each way."""
    before, said = measured(found, DEFAULT, 100, 2.0, "before"), []
    for title, way in (("switched by thumbnails", "1.0 switched"), ("always on", "1.0")):
        m = measured(found, DEFAULT, 100, 2.0, way)
        if m and before:
            lost = [f"{100 * (before['kept'][name] - m['kept'][name]):.1f}" for name in ("original", CONTROL)]
            said.append(
                f"With 100 images and the default method, {title}, the mean of exact answers goes from {_number(before['mean'][0])} to "
                f"{_number(m['mean'][0])}, and the original domain loses {lost[0]} points, {CONTROL} {lost[1]}."
            )
    return " ".join(said)


def _number(value: float) -> str:
    return f"{value:.3f}".lstrip("0") if value < 1 else f"{value:.3f}"


def _pair(value: Sequence[float]) -> str:
    return f"{_number(value[0])}/{_number(value[1])}"


def measured(found: Found, method: str, images: int, ratio: float, way: str) -> dict[str, Any] | None:
    """Means by meter ("exact, within"), of what is kept, and the draws that all three meters have; None where one has none."""
    draws = [d for d in range(3) if all((Case(method, m, images, ratio).key, d) in found for m in UNSEEN)]
    if not draws:
        return None
    records = {m: [found[Case(method, m, images, ratio).key, d] for d in draws] for m in UNSEEN}
    own = {m: np.mean([r["own"][way] for r in rs], axis=0) for m, rs in records.items()}
    kept = {name: float(np.mean([r[name][way][0] for rs in records.values() for r in rs])) for name in ("original", CONTROL)}
    return {"own": own, "mean": np.mean(list(own.values()), axis=0), "kept": kept, "draws": len(draws)}


def _row(title: str, m: Mapping[str, Any]) -> Row:
    kept = [_number(m["kept"][name]) for name in ("original", CONTROL)]
    return [title, *(_pair(m["own"][name]) for name in UNSEEN), _number(m["mean"][0]), _number(m["mean"][1]), *kept, str(m["draws"])]


def accuracy(found: Found, images: int) -> list[Row]:
    rows = []
    before = measured(found, "ScaleShift", images, 2.0, "before")
    if before:
        rows.append(_row("before", before))
    central = [CENTRAL[name] for name in UNSEEN]
    rows.append(["central retraining, 22 months later", *map(_pair, central), *map(_number, np.mean(central, axis=0)), "", ".920", ""])
    for name, pairs in FLOAT[images].items():
        mean = np.mean(pairs, axis=0)
        rows.append([f"float {name}, nothing rehearsed", *map(_pair, pairs), *map(_number, mean), "", _number(FLOAT_CONTROL[images][name]), "3"])
    alone = measured(found, "ScaleShift", images, 0.0, "1.0")
    switched = measured(found, "ScaleShift", images, 0.0, "1.0 switched")
    if alone and switched:
        rows += [_row("ScaleShift, nothing rehearsed", alone), _row("ScaleShift, nothing rehearsed, switched", switched)]
    for method in METHODS:
        for share in SHARES if method == "ScaleShift" else (1.0,):
            m = measured(found, method, images, 2.0, f"{share}")
            if m:
                rows.append(_row(method if share == 1 else f"{method} x {share:g}", m))
        m = measured(found, method, images, 2.0, "1.0 switched")
        if m:
            rows.append(_row(f"**{method}, switched**" if method == DEFAULT else f"{method}, switched", m))
    return rows


def cost(found: Found) -> list[Row]:
    rows = []
    for name, c in found["costs", 0].items():
        m = measured(found, name, 100, 2.0, "1.0") if name in METHODS else None
        rows.append(
            [
                name, f"{c['arena']:,}", f"{c['state']:,}", f"{c['arena'] + c['state']:,}", f"{c['instructions']:,}" if "instructions" in c else "",
                f"{c['update']:,}" if "update" in c else "", _number(m["mean"][0]) if m else "", _number(m["kept"]["original"]) if m else "",
                str(m["draws"]) if m else "",
            ]
        )  # fmt: skip
    return rows


def _chosen_by(key: str) -> bool:
    method, meter = key.split("|")[:2]
    return method == "ScaleShift" and meter in CHANGES


def choice(found: Found) -> list[Row]:
    """ScaleShift on images of the control that were changed; the halves of the original images have changed places."""
    rows = []
    for ratio, rate in sorted({(float(k.split("|")[3]), k.split("|")[4]) for k, _ in found if k.count("|") == 4 and _chosen_by(k)}):
        keys = [k for k in found if k[0].count("|") == 4 and _chosen_by(k[0]) and k[0].endswith(f"|{ratio}|{rate}")]
        for way in [f"{share}" for share in SHARES]:
            own = np.mean([found[k]["own"][way] for k in keys], axis=0)
            original = float(np.mean([found[k]["original"][way][0] for k in keys]))
            title = [f"{ratio:g}", "default" if rate == "None" else rate, f"{float(way):g}"]
            rows.append([*title, _number(own[0]), _number(own[1]), _number(original), str(len(keys))])
    return rows


def table(headings: Sequence[str], rows: Sequence[Row]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (headings, ["---"] * len(headings), *rows)]


def told(found: Found) -> list[Row]:
    """Which share of images the thumbnails take for the user's."""
    rows = []
    for images in (100, 30):
        for name in UNSEEN:
            records = [found[key]["own images"] for d in range(3) if (key := (Case("ScaleShift", name, images).key, d)) in found]
            if records:
                rows.append([name, str(images), *(_number(float(np.mean([r[k] for r in records]))) for k in ("own", "original", CONTROL))])
                rows[-1].append(_number(float(np.mean([taken_for(name, draw, images) for draw in range(len(records))]))))
    return rows


OTHER = (CONTROL, *CHANGES)
"""Meters that are none of the three: one that the model knows, and its images changed."""
ABOUT_OTHERS = f"""
The same by the default method on all that the set has beside the three meters, one draw each, printed on {{date}}: {CONTROL}, which the model reads
well already, and four meters that do not exist: {CONTROL}'s images dimmed and blurred, as a negative, from nearer and from farther. 150 images judge
{CONTROL}, 50 each of the others; what the model knew is judged by 150 of its own images, while the other 150 are what is rehearsed. Exact
answers / within 0.1. A meter that is read well already is read worse behind a training on it: let a gate judge it by some images that it was not
trained on (`device.gate`). The 18 meters of the model's own images have 16 or 17 images each, too few to learn from 30.
"""


def others(found: Found) -> str:
    """The section of OTHER."""
    rows = []
    for name in OTHER:
        for images in (30, 100):
            r = found[Case(DEFAULT, name, images).key, 0]
            own, original = r["own"], r["original"]
            cells = [_pair(own[way]) for way in ("before", "1.0", "1.0 switched")]
            rows.append([name, str(images), *cells, *(_number(original[way][0]) for way in ("before", "1.0", "1.0 switched"))])
    headings = ["meter", "images", "before", "always on", "switched", "original before", "always on", "switched"]
    return "\n".join(["## Other meters", "", wrapped(ABOUT_OTHERS.format(date=datetime.date.today())), "", *table(headings, rows)])


def page(found: Found) -> tuple[str, str]:
    """Markdown, and the picture that it shows."""
    lines = ["# In the field: meters", "", wrapped(f"Printed by `make bench-field-meters` on {datetime.date.today()}. {ABOUT.strip()}"), ""]
    lines += [wrapped(verdict(found)), "", "![what is gained and what is lost](meters.svg)", ""]
    for images in (100, 30):
        lines += [f"## {images} images", "", *table(["", *HEADINGS], accuracy(found, images)), ""]
    lines += ["## Which image is whose", "", "The share of images that the nearest thumbnail takes for the user's:", ""]
    lines += [*table(["meter", "images", "its own", "original", CONTROL, "of another unseen one"], told(found)), ""]
    if ("costs", 0) in found:
        same = all(c.get("same", 1) for c in found["costs", 0].values())
        said = f"""Bytes of training memory; instructions of a step and an update on an emulated Cortex-M4, whose state was
        {"" if same else "NOT "}that of the host afterwards in every method; bytes of the file of an update; 100 images, always on. Those planned are
        the same training in float32, as reports have it."""
        lines += ["## What it costs", "", wrapped(said), ""]
        lines += table(["", "arena", "state", "total", "instructions", "update", "mean exact", "original", "draws"], cost(found))
        lines += [""]
    if all((Case(DEFAULT, name, images).key, 0) in found for name in OTHER for images in (30, 100)):
        lines += [others(found), ""]
    rows = choice(found)
    if rows:
        said = f"""ScaleShift on 100 images of {CONTROL}'s, changed to be another meter's ({", ".join(CHANGES)}), judged by 50 others and by the half
        of the original images that is rehearsed above, while the other half is rehearsed."""
        lines += ["## Choosing without the meters", "", wrapped(said), ""]
        lines += [*table(["rehearsed for each", "rate", "share", "exact", "within 0.1", "original", "runs"], rows), ""]
    lines += ["## What did not work", "", *(wrapped(text, "- ") for text in NOT), ""]
    return "\n".join(lines), picture(found)


# -- the picture --------------------------------------------------------------------------------------
LEFT, TOP, WIDE, HIGH = 60, 30, 520, 300
MOST_LOST, LOWEST, HIGHEST = 26.0, 0.40, 0.90
COLOURS = {"ScaleShift": "#06c", "bias": "#080", "head": "#c60", "LoRA r=4, biases": "#808", "Full": "#c00"}


def _place(lost: float, exact: float) -> tuple[float, float]:
    x = LEFT + WIDE * min(max(lost, -0.5) + 0.5, MOST_LOST + 0.5) / (MOST_LOST + 0.5)
    return x, TOP + HIGH * (HIGHEST - exact) / (HIGHEST - LOWEST)


def picture(found: Found) -> str:
    """Points of the original domain that are lost (mean of both sets) to the right, exact answers of the three meters upwards; 100 images."""
    before = measured(found, "ScaleShift", 100, 2.0, "before")
    assert before is not None

    def lost(m: Mapping[str, Any]) -> float:
        return 100 * float(np.mean([before["kept"][name] - m["kept"][name] for name in before["kept"]]))

    parts = [f'<rect x="{LEFT}" y="{TOP}" width="{WIDE}" height="{HIGH}" fill="none" stroke="#ccc"/>']
    levels = (("central retraining", np.mean([e for e, _ in CENTRAL.values()])), ("goal .69", 0.69), ("before", before["mean"][0]))
    for title, exact in levels:
        y = _place(0, float(exact))[1]
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{LEFT + WIDE}" y2="{y:.1f}" stroke="#999" stroke-dasharray="4 3"/>')
        parts.append(f'<text x="{LEFT + WIDE - 4}" y="{y - 4:.1f}" text-anchor="end">{title}</text>')
    for points in range(0, int(MOST_LOST) + 1, 4):
        parts.append(f'<text x="{_place(points, LOWEST)[0]:.1f}" y="{TOP + HIGH + 14}" text-anchor="middle">{points}</text>')
    for level in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        parts.append(f'<text x="{LEFT - 6}" y="{_place(0, level)[1] + 4:.1f}" text-anchor="end">{level:.1f}</text>')
    parts.append(f'<text x="{LEFT + WIDE / 2}" y="{TOP + HIGH + 32}" text-anchor="middle">points lost on the original domain</text>')
    parts.append(f'<text x="{LEFT}" y="{TOP - 10}">exact answers, mean of three meters, 100 images; hollow: switched</text>')
    for number, (method, colour) in enumerate(COLOURS.items()):
        ways = [f"{share}" for share in SHARES] if method == "ScaleShift" else ["1.0"]
        curve = [_place(lost(m), float(m["mean"][0])) for way in ways if (m := measured(found, method, 100, 2.0, way))]
        if len(curve) > 1:
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in curve)
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in curve]
        switched = measured(found, method, 100, 2.0, "1.0 switched")
        if switched:
            x, y = _place(lost(switched), float(switched["mean"][0]))
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{LEFT + 12 + 105 * number}" y="{TOP + HIGH + 52}" fill="{colour}">{method}</text>')
    alone = measured(found, "ScaleShift", 100, 0.0, "1.0")
    if alone:
        x, y = _place(lost(alone), float(alone["mean"][0]))
        parts.append(f'<path d="M{x - 4:.1f} {y - 4:.1f} l8 8 m0 -8 l-8 8" stroke="#06c" fill="none"/>')
        parts.append(f'<text x="{x - 8:.1f}" y="{y - 8:.1f}" text-anchor="end">nothing rehearsed</text>')
    size = f'width="{LEFT + WIDE + 20}" height="{TOP + HIGH + 66}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">{"".join(parts)}</svg>\n'
