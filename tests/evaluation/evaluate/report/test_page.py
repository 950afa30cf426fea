"""The page in a browser: nothing is wider than the screen, and the legend has groups."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from serve_app.core.types.answer import Generation
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.evaluate.evaluate import evaluate
from serve_app.evaluation.evaluate.report.page import html
from serve_app.evaluation.evaluate.results import Evaluation
from serve_app.evaluation.records.file import Records
from tests.evaluation.synthetic import args, questions, records, write_records
from tests.patience import PATIENCE_S

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
MEASURE = """<!doctype html><body>{frames}<pre id="out"></pre><script>
onload = () => {{
  const measured = [...document.querySelectorAll("iframe")].map(frame => {{
    const page = frame.contentDocument, root = page.documentElement;
    const wide = [...page.querySelectorAll(".scroll")].filter(part => part.scrollWidth > part.clientWidth);
    return {{
      page: root.scrollWidth, screen: root.clientWidth,
      clipped: wide.map(part => part.previousElementSibling.textContent),
      groups: [...page.querySelectorAll(".legend summary")].map(part => part.textContent),
      bands: page.querySelectorAll("polygon.band").length, curves: page.querySelectorAll("polyline.curve").length,
    }};
  }});
  document.getElementById("out").textContent = JSON.stringify(measured);
}};
</script></body>"""


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    path = records(tmp_path_factory.mktemp("records") / "records.jsonl", 60, ("small", "tiny", "odd"))
    return evaluate(load_dataset(Records.load(path), Options(signals=("exact", "rougeL"), resamples=100)))


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_no_table_is_wider_than_a_laptop_or_a_phone(evaluation: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(html(evaluation), encoding="utf-8")
    frames = "".join(f'<iframe src="page.html" width="{width}" height="800"></iframe>' for width in (1280, 390))
    (tmp_path / "measure.html").write_text(MEASURE.format(frames=frames))
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom"]
    command = [str(CHROMIUM), *options, f"--user-data-dir={tmp_path}/profile", f"file://{tmp_path}/measure.html"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    match = re.search(r'<pre id="out">(.*?)</pre>', result.stdout)
    assert match is not None
    measured: list[dict[str, Any]] = json.loads(match[1])
    for width, layout in zip((1280, 390), measured, strict=True):
        assert (layout["page"], layout["clipped"]) == (layout["screen"], []), width
        assert [name.partition(" (")[0] for name in layout["groups"]] == [
            "semantic agreement",
            "token-level, one member",
            "baselines",
            "fixed member selected",
            "token-level, all members",
        ]
        assert layout["bands"] == layout["curves"] == 4  # two signals, the best baseline, random deferral


def test_cells_of_numbers_are_broken_before_intervals_only(evaluation: Evaluation) -> None:
    page = html(evaluation)
    assert re.search(r'<td data-label="AUC"><span>0\.\d{4}</span> <span>\[0\.\d{4}, 0\.\d{4}\]</span></td>', page)
    assert re.search(r'<td data-label="scored by" class="words">rougeL \(max\), small selected</td>', page)


def test_what_a_view_shows_of_an_answer_is_on_the_page(tmp_path: Path) -> None:
    values = args(signal="exact")
    values["cascades"]["default"]["tiers"][0]["compare"] = {"take": {"after": "So:"}}
    examples = questions(30)
    columns = {
        model: [Generation(f"Because. So: {k} & {k % 2}", "stop", 1, 1) for k in range(30)]
        for model in ("small", "tiny", "large")
    }
    path = write_records(tmp_path / "r.jsonl", values, examples, columns)
    result = evaluate(load_dataset(Records.load(path), Options(signals=("exact",), resamples=100)))
    assert re.search(
        r'<p class="soft">compared: \d+ &amp; [01]</p><pre>Because\. So: \d+ &amp; [01]</pre>', html(result)
    )
