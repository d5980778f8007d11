"""The page: whole or not at all, the same bytes for the same results, and nothing in it that is not so."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from example_results import example_results

import compare.page
from compare import wording
from compare.hypotheses import judge, load
from compare.page import quantity, render, typographic, write_report
from compare.results_file import check_folder, from_json, to_json
from compare.sections import tables

REPORTS = Path(__file__).parents[1] / "reports"
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Reader(HTMLParser):
    """Text, links and ids of a page; asserts that every tag is closed in its turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.links, self.ids, self.sources, self.open = [], [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids += [given["id"]] if "id" in given and not self.inside("svg") else []
        self.links += [given["href"]] if tag == "a" else []
        self.sources += [
            given[name] for name in ("src", "xlink:href", "href") if name in given and tag != "a"
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        given = dict(attributes)
        self.sources += [given[name] for name in ("src", "xlink:href", "href") if name in given]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not (self.inside("style") or self.inside("script")):
            self.text.append(data)

    def inside(self, tag):
        return tag in self.open

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def judged():
    """The example with its verdicts."""
    return judge(example_results(), load())


@pytest.fixture(scope="module")
def folder(judged, tmp_path_factory):
    """A report that was written."""
    return write_report(judged, tmp_path_factory.mktemp("reports") / "example").parent


@pytest.fixture(scope="module")
def page(folder):
    """The page as text."""
    return (folder / "index.html").read_text(encoding="utf-8")


def test_the_page_is_whole_and_needs_nothing_from_outside(page):
    reader = Reader(page)
    own = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert "@import" not in own
    assert "default-src 'none'" in own
    outside = [source for source in reader.sources if not source.startswith(("#", "data:"))]
    assert outside == []
    assert not re.search(r"url\((?!#)", own)
    assert len(page) < 5_000_000


def test_every_link_leads_somewhere(page, folder):
    reader = Reader(page)
    for link in reader.links:
        assert link[1:] in reader.ids if link.startswith("#") else (folder / link).is_file()
    assert len(set(reader.ids)) == len(reader.ids)
    assert {f"{name}.csv" for name in ("map", "cells", "slopes", "histogram", "antipodal_pairs")} < set(
        reader.links
    )


def test_the_first_screen_has_claim_verdicts_sentences_and_model_quality(page):
    words = Reader(page).words
    first = words[: words.index("Antipodal pairs")]
    for part in (
        "The claim:",
        "CONFIRMED",
        "REFUTED",
        "UNDECIDED",
        "1.710 bits per byte",
        "trigram 1.83",
    ):
        assert part in first
    assert "QUICK" not in words
    assert "Better than the trigram" in first


def test_a_quick_run_says_so_loudly():
    words = Reader(render_of(judge(example_results(quick=True), load()))).words
    assert words.index("QUICK RUN") < words.index("The claim:")
    assert "quote no number" in words


def test_a_model_no_better_than_a_trigram_is_named_as_such(judged):
    weak = json.loads(json.dumps(judged))
    weak["models"][0]["quality"]["bits_per_byte"] = 2.5
    assert "Not better than the trigram" in Reader(render_of(weak)).words


def test_an_sae_that_says_nothing_of_its_quality_has_dashes(judged):
    silent = json.loads(json.dumps(judged))
    silent["models"][1]["quality"] = {}
    assert Reader(render_of(silent)).words.count(" \N{EN DASH}") >= 5


def render_of(results):
    """The page without its figures, which take seconds to draw."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("compare.page.inline", lambda draw: "<svg></svg>")
        return render(results, tables(results))


def test_tokens_that_look_like_html_are_shown_as_they_are(page):
    assert "<b>" not in page
    words = Reader(page).words
    for token in ("<b>", "&amp;", "␣the", "⏎", "]]>"):
        assert token in words


def test_every_table_has_its_csv_with_the_same_numbers(folder, judged):
    cells = pd.read_csv(folder / "cells.csv")
    assert len(cells) == 6 * len(judged["arms"])
    assert cells["mean"].tolist() == [cell["mean"] for arm in judged["arms"] for cell in arm["cells"]]
    verdicts = pd.read_csv(folder / "verdicts.csv")
    assert verdicts["verdict"].tolist() == [row["verdict"] for row in judged["verdicts"]]


def test_results_are_valid_json_without_nan_and_come_back_equal(folder, judged):
    text = (folder / "results.json").read_text(encoding="utf-8")
    back = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert back["arms"][0]["map"] == judged["arms"][0]["map"]
    assert back["verdicts"] == judged["verdicts"]
    assert json.loads(to_json({"a": [1.0, float("nan")], "b": "[ 1,\n 2 ]"})) == {
        "a": [1.0, None],
        "b": "[ 1,\n 2 ]",
    }


def keys_of(value):
    """Every key of the results whose keys are words of the schema, not names that a run gave."""
    given = {"config", "versions", "inputs", "quality", "gates", "files", "quantiles", "shares", "atlas"}
    if isinstance(value, list):
        return set().union(*map(keys_of, value))
    if not isinstance(value, dict):
        return set()
    return set(value).union(*(keys_of(one) for name, one in value.items() if name not in given))


def test_the_schema_names_every_key_of_the_committed_report():
    results = json.loads((REPORTS / "default/results.json").read_text(encoding="utf-8"))
    assert keys_of(results) - set(re.findall(r"\w+", compare.page.__doc__)) == set()


def test_the_same_results_give_the_same_bytes_from_memory_and_from_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("compare.page.inline", lambda draw: "<svg></svg>")  # figures have a test of their own
    results = example_results()
    nothing = {name: float("nan") for name in ("mean", "se", "low", "high")}
    for arm in results["arms"][3:]:  # undefined numbers, of controls as well
        arm["cells"][4] |= nothing | {"problem": "no pair falls into this cell"}
        arm["rules"] |= {"ceiling": float("nan"), "best": None}
    first = write_report(judge(results, load()), tmp_path / "first").parent
    from_disk = from_json((first / "results.json").read_text(encoding="utf-8"))
    again = write_report(from_disk, tmp_path / "again").parent
    assert len(list(again.iterdir())) == len(list(first.iterdir()))
    for path in sorted(first.iterdir()):
        assert path.read_bytes() == (again / path.name).read_bytes()


def test_a_new_report_replaces_an_old_one_and_leaves_nothing_beside_it(judged, tmp_path, monkeypatch):
    monkeypatch.setattr("compare.page.render", lambda results, made: "new")
    old = tmp_path / "report"
    old.mkdir()
    (old / "results.json").write_text('{"format": 1}')
    (old / "left over.csv").write_text("")
    assert write_report(judged, old) == old / "index.html"
    assert (old / "index.html").read_text() == "new"
    assert not (old / "left over.csv").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_a_run_that_fails_leaves_the_old_report_and_the_next_one_clears_up(judged, tmp_path, monkeypatch):
    def fail(results, made):
        raise KeyboardInterrupt

    old = tmp_path / "report"
    old.mkdir()
    (old / "results.json").write_text('{"format": 1, "old": true}')
    monkeypatch.setattr("compare.page.render", fail)
    with pytest.raises(KeyboardInterrupt):
        write_report(judged, old)
    assert json.loads((old / "results.json").read_text())["old"]
    monkeypatch.setattr("compare.page.render", lambda results, made: "new")
    write_report(judged, old)
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_a_folder_that_is_no_report_is_refused_and_kept(judged, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="expected a new folder or a report, found something else"):
        write_report(judged, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ('{"format": 1}', "expected nothing but a report in .*, found thesis.tex as well"),
        ("{}", "found something else"),
    ],
)
def test_what_lies_beside_a_report_or_with_results_of_another_program_is_kept(
    results, message, judged, tmp_path
):
    (tmp_path / "results.json").write_text(results)
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=message):
        write_report(judged, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    assert (tmp_path / "results.json").read_text() == results


def test_null_is_a_number_that_is_undefined_where_a_number_belongs_and_nothing_where_a_word_does():
    results = {
        "arms": [{"control_of": None, "cells": [{"mean": float("nan"), "problem": None}], "width": 3}],
        "run": {"config": {"limit": None}},
    }
    found = from_json(to_json(results))
    (arm,) = found["arms"]
    assert (arm["control_of"], arm["cells"][0]["problem"], arm["width"]) == (None, None, 3)
    assert arm["cells"][0]["mean"] != arm["cells"][0]["mean"]
    assert found["run"] == results["run"]


@pytest.mark.parametrize("kept", [["toy"], ["real"], ["real", "control"]])
def test_a_run_without_some_groups_makes_a_page_as_well(kept):
    results = example_results()
    results["arms"] = [arm for arm in results["arms"] if arm["group"] in kept]
    results["models"] = results["models"] if "real" in kept else []
    judged = judge(results, load())
    words = Reader(render_of(judged)).words
    assert ("No trained language model" in words) == (kept == ["toy"])
    assert ("No control was part of this run" in words) == ("control" not in kept)


def test_an_empty_cell_is_shown_as_such():
    results = example_results()
    nothing = {
        name: float("nan") for name in ("mean", "se", "low", "high", "sd", "share_below", "share_above")
    }
    problem = "no pair falls into this cell"
    for arm in results["arms"][2:4]:
        arm["cells"][0] |= nothing | {"n_pairs": 0, "problem": problem}
        arm["difference_in_differences"][0] |= {
            "mean": float("nan"),
            "low": float("nan"),
            "high": float("nan"),
        }
    words = Reader(render_of(judge(results, load()))).words
    assert "no pairs" in words
    assert problem in words
    assert "nan" not in words


def test_sentences_count_what_the_cells_say(judged):
    real, toy, control = wording.sentences(judged)
    arm = next(arm for arm in judged["arms"] if arm["group"] == "real")
    for sentence, cells in (
        (real.split(" On average")[0], arm["cells"]),
        (real.split(" On average")[1], arm["centred"]["cells"]),
    ):
        said = [cell["verdict"] for cell in cells]
        confirmed, refuted = (said.count(word) or "none" for word in ("CONFIRMED", "REFUTED"))
        assert f"{confirmed} came out as the post claims, {refuted} against it" in sentence
    assert "from +0.05 (outputs + reconstruction) to +0.99 (softmax on outputs only)" in toy
    assert "holds in none (refuted in 2) with “do not co-occur” read as exclusive and in none" in toy
    few = json.loads(json.dumps(judged))
    other = next(one for one in few["arms"] if one["group"] == "real")
    together = next(c for c in other["cells"] if (c["cooccurrence"], c["similarity"]) == wording.POSITIVE)
    together |= {"verdict": "UNDECIDED", "reason": "+0.1 is above zero; but its control says nothing"}
    said = wording.control_sentence(few, other)
    assert said.endswith("No verdict rests on it: its control says nothing.")
    softmax = next(arm for arm in few["arms"] if arm["name"] == "softmax on outputs only")
    next(cell for cell in softmax["cells"] if cell["cooccurrence"] == "exclusive")["n_pairs"] = 5
    few_pairs = wording.toy_sentence(few)  # a cell that is too small for a verdict is not quoted
    assert "similar outputs, had a mean cosine of +0.05 (outputs + reconstruction)." in few_pairs
    assert "which hold 93 % of its pairs (of the others co-occurrence stays open" in real
    assert "+0.090 in “Gaussian surrogate”, the highest of 2 controls" in control
    assert "an excess of +0.051 [+0.045, +0.057], which that control does not account for" in control
    assert "SAEs write +0.20 to +0.20 into this cell by themselves (means; with their intervals" in control


def test_claims_of_ones_own_come_first(tmp_path):
    cell = 'measure = "cell mean"\ncooccurrence = "exclusive"\nsimilarity = "similar"\n'
    claims = "".join(
        f'[[hypothesis]]\nid = "mine {k}"\nstatement = "s"\n{cell}claim = "> 0"\n' for k in range(3)
    )
    (tmp_path / "mine.toml").write_text(f"format = 1\n{claims}")
    own = judge(example_results(), load(tmp_path / "mine.toml"))
    first, *others = wording.sentences(own)
    row = own["verdicts"][0]
    assert first.startswith(
        f"Claims of mine.toml: mine 0 {row['verdict']} in “{row['arm']}” ({row['reason']}); "
    )
    assert first.endswith(f"; and {len(own['verdicts']) - 4} more below.")
    assert any("nothing was asked about the post's whole table" in one for one in others)


def test_a_model_whose_cells_all_stay_open_for_one_reason_says_why(judged):
    results = json.loads(json.dumps(judged))
    arm = next(arm for arm in results["arms"] if arm["group"] == "real")
    for cell in arm["cells"]:
        cell |= {"verdict": "UNDECIDED", "reason": "the model is no better than a trigram"}
    expected = "All six cells in “language model” stay undecided: the model is no better than a trigram."
    assert wording.sentences(results)[0] == expected


@pytest.mark.parametrize(
    ("control", "words"),
    [(0.141, "which its interval does not tell from zero"), (0.3, "so the control shows more, not less")],
)
def test_a_control_that_shows_as_much_is_not_hidden(control, words):
    results = example_results()
    results["arms"][-1]["cells"][4] |= {"mean": control}
    said = wording.sentences(judge(results, load()))[-1]
    assert words in said
    assert "SAEs write" not in said  # nothing is left to be explained


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0312, "+0.031"), (0.0, "0.000"), (-0.0001, "\N{MINUS SIGN}0.000"), (None, "\N{EN DASH}")],
)
def test_numbers_are_written_with_their_sign(value, text):
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1980, "1,980"), (0.8312, "0.831"), (1.5e-5, "1.5e-05"), (400.0, "400"), (None, "\N{EN DASH}")],
)
def test_quantities_are_written_without(value, text):
    assert quantity(value) == text


@pytest.mark.parametrize(
    ("plain", "printed"),
    [
        (
            "the post's 'do not co-occur' x 2",
            "the post\N{RIGHT SINGLE QUOTATION MARK}s “do not co-occur” \N{MULTIPLICATION SIGN} 2",
        ),
        ("toys' own", "toys\N{RIGHT SINGLE QUOTATION MARK} own"),
    ],
)
def test_quotes_open_and_close_as_in_print(plain, printed):
    assert typographic(plain) == printed


def test_a_cell_that_comes_out_against_the_claim_names_the_controls_that_show_as_much(judged):
    results = json.loads(json.dumps(judged))
    arm = next(arm for arm in results["arms"] if arm["group"] == "real")
    cell = arm["cells"][2]  # independent and similar: +0.018, where the claim is < 0
    assert cell["verdict"] == "REFUTED"
    surrogate = next(other for other in results["arms"] if other["name"] == "Gaussian surrogate")
    before = wording.real_sentence(results, arm)
    assert wording.as_much_in(results, arm, cell) == []
    surrogate["cells"][2]["mean"] = cell["mean"]
    assert wording.as_much_in(results, arm, cell) == ["Gaussian surrogate"]
    assert wording.real_sentence(results, arm) != before
    assert "no further than in a control" in wording.real_sentence(results, arm)
    assert '<small title="Gaussian surrogate">as in a control</small>' in render_of(results)


def test_a_direction_that_all_share_is_named_with_what_is_left_without_it(judged):
    results = json.loads(json.dumps(judged))
    arm = next(arm for arm in results["arms"] if arm["group"] == "real")
    arm["centred"]["mean_cosine"] = 0.14
    said = ["CONFIRMED", *["UNDECIDED"] * 4, "REFUTED"]
    for cell, verdict in zip(arm["centred"]["cells"], said, strict=True):
        cell["verdict"] = verdict
    assert wording.centred_sentence(arm) == (
        "On average directions in “language model” lean one way (mean cosine of all pairs +0.140); with that "
        "taken out, 1 came out as the post claims, 1 against it and 4 stay undecided."
    )
    assert wording.sentences(results)[0].endswith(wording.centred_sentence(arm))
    assert "its shared direction taken out" in render_of(results)
    for other in results["arms"]:
        other["centred"]["mean_cosine"] = 0.001  # within the margin of zero, .0049 at the least
    assert wording.leaning_arms(results) == []
    assert not any("lean one way" in sentence for sentence in wording.sentences(results))
    assert "its shared direction taken out" not in render_of(results)


def test_arms_whose_outputs_are_partly_noise_say_so_by_their_name(judged):
    results = json.loads(json.dumps(judged))
    for share, shown in ((0.49, "0.49"), (0.5, ""), (None, "unknown")):
        for arm in results["arms"]:
            arm["reliability"]["sim"] = 0.9
        model = next(arm for arm in results["arms"] if arm["group"] == "real")
        model["reliability"]["sim"] = share
        assert not any(wording.doubtful(arm) for arm in results["arms"] if arm is not model)
        assert wording.doubtful(model) == shown
    model["reliability"]["sim"] = 0.0
    assert render_of(results).count(", reliability of outputs 0.00</small></th>") == 1


def test_controls_of_an_arm_that_leans_stand_beside_it(judged):
    results = json.loads(json.dumps(judged))
    for arm in results["arms"]:
        arm["centred"]["mean_cosine"] = 0.14 * (arm["group"] == "real")
    groups = {arm["group"] for arm in wording.leaning_arms(results)}
    assert groups == {"real", "control"}


def test_a_place_where_nothing_can_be_written_is_told_beforehand(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match=r"found .*file, where nothing can be written: name another --out"):
        check_folder(tmp_path / "file" / "page")
    check_folder(tmp_path / "new" / "below" / "page")
