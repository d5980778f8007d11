"""The page in a real browser: no error, working controls, nothing fetched, two widths, both schemes."""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from example_results import example_results
from matplotlib.image import imread

from compare.hypotheses import judge, load
from compare.page import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=20000",
]

WATCH = """<script>
window.faults = [];
addEventListener("error", (event) => faults.push(String(event.message)));
addEventListener("securitypolicyviolation", (event) => faults.push(`blocked ${event.blockedURI}`));
console.error = console.warn = (...words) => faults.push(words.join(" "));
</script>"""

DRIVE = """<script>
addEventListener("load", async () => {
  const found = {};
  const $ = (selector) => document.querySelector(selector);
  const rest = () => new Promise((done) => setTimeout(done, 300));
  const choose = async (selector, value) => {
    $(selector).value = value;
    $(selector).dispatchEvent(new Event("change"));
    await rest();
  };
  try { %s } catch (fault) { faults.push(String(fault)); }
  found.faults = faults;
  found.fetched = performance.getEntriesByType("resource").map((one) => one.name);
  document.body.replaceChildren(Object.assign(document.createElement("pre"), {
    id: "found", textContent: btoa(unescape(encodeURIComponent(JSON.stringify(found)))),
  }));
});
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """The example's page."""
    return write_report(judge(example_results(), load()), tmp_path_factory.mktemp("reports") / "example")


def chromium(page: Path, profile: Path, *flags: str) -> str:
    """What Chromium prints."""
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout


def drive(page: Path, folder: Path, script: str, *flags: str) -> dict:
    """What a script that runs in the page finds, with the faults and fetches that the page made."""
    text = page.read_text(encoding="utf-8").replace("<head>", "<head>" + WATCH, 1)
    driven = folder / "driven.html"
    driven.write_text(text.replace("</body>", DRIVE % script + "</body>"), encoding="utf-8")
    dom = chromium(driven, folder / "profile", "--dump-dom", *flags)
    return json.loads(base64.b64decode(re.search(r'<pre id="found">([^<]*)</pre>', dom)[1]))


def test_the_page_loads_without_an_error_and_fetches_nothing(page, tmp_path):
    found = drive(page, tmp_path, "found.drawn = document.querySelectorAll('#explorer .main-svg').length;")
    assert found["faults"] == []
    assert found["fetched"] == []
    assert found["drawn"] >= 2


def test_every_figure_can_be_chosen_for_every_arm(page, tmp_path):
    script = """
      found.titles = [];
      for (const view of [...$("#explorer-view").options].map((option) => option.value)) {
        await choose("#explorer-view", view);
        for (const arm of ["0", "3", "5"]) {
          await choose("#explorer-left", arm);
          found.titles.push([view, $("#panel-left .gtitle").textContent]);
        }
        found[view] = document.querySelectorAll("#panel-left .trace, #panel-left .shapelayer path").length;
        found[view + " measures"] = !$("#explorer-measures").closest("label").hidden;
      }"""
    found = drive(page, tmp_path, script)
    names = [arm["name"] for arm in example_results()["arms"]]
    assert found["faults"] == []
    views = ("cells", "map", "cosines", "slopes")
    assert found["titles"] == [[view, names[k]] for view in views for k in (0, 3, 5)]
    assert all(found[view] > 0 for view in views)
    assert [found[f"{view} measures"] for view in views] == [False, False, False, True]


def test_pointing_at_a_cell_shows_its_pairs_and_so_does_the_keyboards_way(page, tmp_path):
    script = """
      const told = () => [...document.querySelectorAll("#explorer-told tbody tr")];
      const rows = () => told().map((row) => row.cells[1].textContent);
      $("#panel-right").emit("plotly_hover", {points: [{customdata: 4}]});
      found.hovered = rows();
      await choose("#explorer-cell", "0");
      found.chosen = rows();
      await choose("#explorer-view", "map");
      found.cleared = rows();"""
    found = drive(page, tmp_path, script)
    assert found["faults"] == []
    assert found["hovered"] == ["co-occurring, similar outputs"] * 2
    assert found["chosen"] == ["exclusive, similar outputs"] * 2
    assert found["cleared"] == []


def test_a_table_is_filtered_and_sorted(page, tmp_path):
    script = """
      const table = $("#examples-table"), tools = table.closest("details").querySelector(".tools");
      const shown = () => [...table.tBodies[0].rows].filter((row) => !row.hidden);
      const field = tools.querySelector("input"), pick = tools.querySelector("select[data-column=arm]");
      found.all = shown().length;
      pick.value = "language model";
      pick.dispatchEvent(new Event("change"));
      found.arm = shown().length;
      field.value = "exclusive";
      field.dispatchEvent(new Event("input"));
      found.words = shown().length;
      found.said = tools.querySelector("output").textContent;
      pick.value = field.value = "";
      field.dispatchEvent(new Event("input"));
      const button = table.tHead.rows[0].cells[3].querySelector("button");
      const number = (row) => parseFloat(row.cells[3].textContent.replace("\\u2212", "-"));
      const cosines = () => shown().map(number);
      button.click();
      found.up = cosines();
      button.click();
      found.down = cosines();
      found.aria = button.parentElement.getAttribute("aria-sort");"""
    found = drive(page, tmp_path, script)
    assert found["faults"] == []
    assert (found["all"], found["arm"], found["words"]) == (72, 12, 4)
    assert found["said"] == "4 of 72 rows"
    assert found["up"] == sorted(found["up"])
    assert found["down"] == sorted(found["up"], reverse=True)
    assert found["aria"] == "descending"


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(page, tmp_path, width):
    script = "found.wide = document.documentElement.scrollWidth; found.window = innerWidth;"
    found = drive(page, tmp_path, script, f"--window-size={width},900")
    assert found["wide"] <= found["window"]


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (1280, True)])
def test_a_screenshot_has_ink_and_the_paper_of_its_scheme(page, tmp_path, width, dark):
    shot = tmp_path / "page.png"
    flags = ["--blink-settings=preferredColorScheme=0"] if dark else []
    chromium(page, tmp_path / "profile", f"--screenshot={shot}", f"--window-size={width},1600", *flags)
    grey = imread(shot)[..., :3].mean(-1)
    corner = grey[2, 2]
    assert (corner < 0.2) == dark
    assert (abs(grey - corner) > 0.4).mean() > 0.01
