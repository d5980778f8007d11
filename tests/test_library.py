"""The few names that `import compare` gives: from a system to a page, and looked at on the way."""

import json
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from synthetic import planted_system

import compare
from compare.names import pair_name, term_name


@pytest.fixture(scope="module")
def evidence():
    return compare.measure(planted_system(n=40))


@pytest.fixture(scope="module")
def results(evidence):
    return compare.test(evidence)


def test_every_public_name_is_there():
    for name in compare.__all__:
        assert getattr(compare, name).__doc__
    assert dir(compare) == sorted(compare.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        compare.nothing  # noqa: B018


def test_importing_loads_nothing_heavy_and_prints_nothing():
    code = (
        "import sys, compare, toy, real; "
        "assert not {'torch', 'pandas', 'matplotlib', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_evidence_shows_itself(evidence):
    frame = evidence.to_frame()
    np.testing.assert_array_equal(frame["count"], evidence.counts)
    np.testing.assert_allclose(frame["rate"] * evidence.n_tokens, evidence.counts)
    np.testing.assert_allclose(frame["mean_activation"] * frame["count"], evidence.activation_sums)
    assert "40 of 40 features fired" in evidence.summary()
    assert "<table" in evidence._repr_html_()
    drawn = evidence.plot().axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(drawn, np.sort(frame["rate"])[::-1])


def test_results_have_the_verdicts_of_every_cell_in_every_form(results):
    frame = results.to_frame()
    assert len(frame) == 6
    assert set(results.verdicts["verdict"]) <= {"CONFIRMED", "REFUTED", "UNDECIDED"}
    assert frame["verdict"].tolist() == [cell["verdict"] for cell in results.values["arms"][0]["cells"]]
    assert "planted" in results.summary()
    assert results._repr_html_().count("UNDECIDED") == (frame["verdict"] == "UNDECIDED").sum()
    assert "nan" not in results._repr_html_()
    assert isinstance(results.plot(), Figure)


def test_seeds_and_controls_stand_where_they_were_put(evidence):
    control = compare.measure(planted_system(n=40, seed=1, effect=None))
    other = compare.measure(planted_system(n=40, seed=7))
    assert other.name == evidence.name
    results = compare.test([evidence, other], controls=control)
    (arm, other) = results.values["arms"]
    assert arm["seeds"] == 2
    assert (other["group"], other["control_of"]) == ("control", evidence.name)


def test_a_weak_model_and_an_unknown_one_open_no_gate_and_the_unknown_one_is_named(evidence, results):
    from compare.wording import of_unknown_quality

    quality = {"bits_per_byte": 2.3, "unigram": 3.0, "bigram": 2.4, "trigram": 2.1}
    weak = {"name": "mine", "kind": "language model", "note": "", "quality": quality}
    judged = compare.test(evidence, models=[weak])
    assert set(judged.to_frame()["verdict"]) == {"UNDECIDED"}
    assert of_unknown_quality(judged.values) == []
    assert set(results.to_frame()["verdict"]) == {"UNDECIDED"}
    assert of_unknown_quality(results.values) == [f"“{evidence.name}”"]


CLAIMS = """format = 1
[gates]
beats = ""
min_agreement = 0
min_alive = 39
controlled = []
[[hypothesis]]
id = "{id}"
statement = "{id}"
measure = "slope"
slope = ["{co}", "js", "additive", "co"]
claim = "> 0"
"""


def test_hypotheses_name_slopes_on_any_measure_and_no_other_number_changes(
    evidence, results, tmp_path, monkeypatch
):
    """One of no default specification, one on an own measure that is NaN for most pairs, one that a system
    without a truth lacks, one on a measure that is NaN for all.
    """
    from compare import measures

    def seldom(evidence, rows, cols):
        return np.where(measures.phi(evidence, rows, cols) > 0.05, measures.phi(evidence, rows, cols), np.nan)

    monkeypatch.setitem(measures.COOCCURRENCE, "seldom", seldom)
    monkeypatch.setitem(measures.COOCCURRENCE, "never", lambda *at: np.full_like(measures.phi(*at), np.nan))

    def few(evidence, rows, cols):
        """NaN but between the first 38 features, all of which are alive."""
        at = np.arange(evidence.n_features)
        return np.where(
            (at[rows][:, None] < 38) & (at[cols] < 38), measures.phi(evidence, rows, cols), np.nan
        )

    monkeypatch.setitem(measures.COOCCURRENCE, "few", few)
    names = ("jaccard", "seldom", "few", "true_phi", "never")
    parts = [CLAIMS.format(id=name, co=name) for name in names]
    text = parts[0] + "".join(part[part.index("[[") :] for part in parts[1:])
    (tmp_path / "mine.toml").write_text(text)
    judged = compare.test(evidence, hypotheses=tmp_path / "mine.toml")
    (arm,), (plain,) = judged.values["arms"], results.values["arms"]
    rows = {row["cooccurrence"]: row for row in arm["regression"] if row["term"] == "co"}
    assert {"true_phi", "never"}.isdisjoint(rows)
    for name in names[:3]:
        pairs = compare.pair_table(evidence, cooccurrence=[name], similarity=["js"], min_count=30)
        fitted = compare.fit(pairs.cosine, pairs[name], pairs["js"], mask=pairs.mask, effects="additive")
        assert rows[name]["estimate"] == pytest.approx(fitted.params["co"], rel=1e-9)
    own = [row for row in arm["regression"] if row["cooccurrence"] in names]
    assert len(own) == 12  # three slopes and a difference, of three
    assert json.dumps([row for row in arm["regression"] if row not in own]) == json.dumps(plain["regression"])
    assert [cell["n_pairs"] for cell in arm["cells"]] == [cell["n_pairs"] for cell in plain["cells"]]
    verdicts = judged.verdicts.set_index("id")
    assert verdicts.loc["jaccard", "verdict"] == "CONFIRMED"
    cells, others = ([cell["mean"] for cell in one["cells"]] for one in (arm, plain))
    np.testing.assert_array_equal(cells, others)
    for name, why in (
        ("true_phi", "expected a known world, found no truth"),
        ("never", "expected pairs i < j"),
    ):
        told = f"no slope {name} js additive co was estimated in this arm: {why}"
        assert told in verdicts.loc[name, "reason"]
    assert "only 38 features have these measures, 39 are asked for" in verdicts.loc["few", "reason"]
    page = compare.report(judged, tmp_path / "page").read_text(encoding="utf-8")
    assert pair_name("seldom", "js") in page


def test_a_report_is_written(results, tmp_path):
    page = compare.report(results, tmp_path / "page")
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert "“planted” is is not known: every claim about it stays undecided." in text


def test_a_fit_shows_itself(evidence):
    pairs = compare.pair_table(evidence, cooccurrence=["phi"], similarity=["js"])
    fit = compare.fit(pairs.cosine, pairs["phi"], pairs["js"], mask=pairs.mask)
    assert "co:sim" in fit._repr_html_()
    figure = fit.plot()
    assert [axis.get_title() for axis in figure.axes] == [
        f"slope on {term_name(term)}" for term in fit.params.index
    ]


def test_pairs_show_themselves(evidence):
    pairs = compare.pair_table(evidence, cooccurrence=["phi"], similarity=["js"])
    frame = pairs.to_frame()
    assert len(frame) == 40 * 39 // 2
    row = frame.iloc[17]
    place = {feature: k for k, feature in enumerate(pairs.feature_ids)}
    assert row["cosine"] == pairs.cosine[place[row["i"]], place[row["j"]]]
    assert (frame["i"] < frame["j"]).all()
    assert "780 of 780 pairs of 40 features" in pairs.summary()
    correlation = np.corrcoef(frame["phi"], frame["cosine"])[0, 1]
    assert f"{correlation:.4g}" in pairs.summary()
    assert "<pre>" in pairs._repr_html_()
    assert isinstance(pairs.plot(), Figure)


@pytest.mark.parametrize("method", ["dsp", "moments"])
def test_a_permutation_shows_itself(evidence, method):
    pairs = compare.pair_table(evidence, cooccurrence=["phi"], similarity=["js"])
    found = compare.permute(
        pairs.cosine, pairs["phi"], pairs["js"], mask=pairs.mask, permutations=19, method=method
    )
    assert "Permutation of 40 features" in found.summary()
    assert f"{found.pvalues['co']:.4g}" in found.summary()
    assert "co:sim" in found._repr_html_()
    lines = [axis.lines[0].get_xdata()[0] for axis in found.plot().axes]
    assert lines == found.tvalues.tolist()
