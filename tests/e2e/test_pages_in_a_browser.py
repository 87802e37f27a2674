"""Reports in Chromium: on a phone and on a desk, in the light and in the dark, nothing is cut off, broken by letters or hard to read."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from golden.reference import samples, tiny

import kilotune as kt
from kiloc.export import tflite

pytestmark = pytest.mark.slow

PHONE, DESK = 360, 1280
CONTRAST = 4.5
"""Of text to its background, as WCAG asks of small text (level AA)."""
SMALLEST_TEXT = 9.0
"""CSS pixels of text in pictures, which shrink with the page."""
LARGEST_TEXT = 18.0
"""And grow with it, where a picture has the width for itself."""

LOOK = """
const all = [];
for (const frame of document.querySelectorAll('iframe')) {
const page = frame.contentDocument, root = page.documentElement, view = page.defaultView;
const rgb = c => c.match(/[\\d.]+/g).map(Number);
const light = c => { const [r, g, b] = rgb(c).map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b; };
const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
const found = { dark: view.matchMedia('(prefers-color-scheme: dark)').matches, wide: root.scrollWidth - root.clientWidth,
  broken: [], small: [], large: [], faint: [], charts: page.querySelectorAll('figure svg').length };
const background = view.getComputedStyle(page.body).backgroundColor;
for (const cell of page.querySelectorAll('th, td')) {
  const style = view.getComputedStyle(cell), line = parseFloat(style.lineHeight), words = cell.textContent.trim().split(/[ _.>-]+/).length;
  const lines = (cell.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom)) / line;
  const row = Math.max(...[...cell.parentElement.children].map(c => c.textContent.trim().split(/[ _.>-]+/).length));
  if (cell.textContent.trim() && lines > row + 1) found.broken.push(cell.textContent.trim());
}
for (const text of page.querySelectorAll('svg text')) {
  const svg = text.closest('svg'), size = parseFloat(view.getComputedStyle(text).fontSize) * svg.clientWidth / svg.viewBox.baseVal.width;
  if (size > LARGEST) found.large.push(text.textContent + ' ' + size.toFixed(1));
  if (size < SMALLEST) found.small.push(text.textContent + ' ' + size.toFixed(1));
}
for (const e of page.querySelectorAll('p, h1, h2, figcaption, td:not([style]), th')) {
  const ratio = contrast(view.getComputedStyle(e).color, background);
  if (e.textContent.trim() && ratio < CONTRAST) found.faint.push(e.textContent.trim().slice(0, 40) + ' ' + ratio.toFixed(1));
}
all.push(found);
}
document.body.innerHTML = '<pre id="found"></pre>';
document.getElementById('found').textContent = JSON.stringify(all);
"""


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("chromium not found: on Debian, apt install chromium")
    return found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every kind of page that kilotune writes, by name."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "model.tflite").write_bytes(tflite.write(tiny()))
    model = kt.load(folder / "model.tflite")
    method = [kt.LoRA(rank=2, layers="all"), kt.BiasOnly()]
    build = kt.build(model, folder / "build", method=method, optimizer=kt.SGD(lr=0.1))
    x, y = samples(tiny(), 45), np.arange(45) % model.graph.type(model.graph.outputs[0]).size
    build.save_html(folder / "memory.html")
    with build.open("host") as device:
        report = kt.TrainingReport(device, (x[:15], y[:15]), (x[30:], y[30:]))
        history = device.fit(x[15:30], y[15:30], epochs=3, validation=(x[:15], y[:15]))
        report.finish(history).save_html(folder / "training.html")
    history.plot().save(folder / "curves.html")
    kt.search(model, (x, y), ram="8K", train=False, progress=False).save_html(folder / "search.html")
    return {path.stem: path.read_text() for path in folder.glob("*.html")}


Look = Callable[[list[tuple[str, int]], bool], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def look(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Look:
    """look([(page, width), ...], dark): what the browser says of pages of this width, each in a frame."""
    folder = tmp_path_factory.mktemp("looked")

    def looked(asked: list[tuple[str, int]], dark: bool) -> list[dict[str, Any]]:
        script = LOOK.replace("SMALLEST", str(SMALLEST_TEXT)).replace("LARGEST", str(LARGEST_TEXT)).replace("CONTRAST", str(CONTRAST))
        style = "border: 0; height: 2000px; width"
        frames = "".join(f'<iframe style="{style}: {width}px" srcdoc="{html.escape(page)}"></iframe>' for page, width in asked)
        (folder / "frames.html").write_text(f"<!doctype html>{frames}<script>window.onload = () => {{ {script} }}</script>")
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", f"--user-data-dir={folder / 'profile'}"]
        command = [chromium, *options, *(["--force-dark-mode"] if dark else []), "--dump-dom", f"file://{folder / 'frames.html'}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
        assert found is not None, done.stdout[-2000:] + done.stderr[-2000:]
        results: list[dict[str, Any]] = json.loads(html.unescape(found[1]))
        return results

    return looked


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pages_are_readable(dark: bool, pages: dict[str, str], look: Look) -> None:
    assert set(pages) == {"memory", "training", "curves", "search"}
    asked = [(name, width) for name in sorted(pages) for width in (PHONE, DESK)]
    for (name, width), found in zip(asked, look([(pages[name], width) for name, width in asked], dark), strict=True):
        wanted = {"dark": dark, "wide": 0, "broken": [], "faint": [], "small": [], "large": []}
        assert {key: found[key] for key in wanted} == wanted, f"{name}, {width} pixels wide"
        assert found["charts"] >= (0 if name == "search" else 2)


def test_words_broken_by_letters_are_noticed(pages: dict[str, str], look: Look) -> None:
    """The rules by which the first column of a wide table became a column of letters."""
    narrow = "overflow-wrap: break-word; min-width: 6em; max-width: 28em"
    broken = pages["memory"].replace(narrow, "overflow-wrap: anywhere").replace(".scroll { overflow-x: auto; max-width: 100% }", "")
    assert broken != pages["memory"]
    [found] = look([(broken, PHONE)], False)
    assert found["broken"] or found["wide"] > 0
