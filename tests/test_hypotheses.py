"""Verdicts by rule: each outcome is reached where it is due, and no gate is passed unseen."""

from dataclasses import replace

import numpy as np
import pytest
from example_results import CELLS, example_results
from scipy import stats

from compare.cells import estimate, p_against
from compare.hypotheses import CONFIRMED, REFUTED, UNDECIDED, judge, load
from compare.verdicts import by_interval

CLAIMS = dict(zip(CELLS, ("< 0", "< 0", "< 0", "< 0", "> 0", "= 0"), strict=True))
AS_CLAIMED = (-0.1, -0.1, -0.1, -0.1, 0.1, 0.0)
NOTHING = (0.0,) * 6


def results(real=AS_CLAIMED, control=NOTHING, *, se=0.001) -> dict:
    """One language model and one control, whose six cells have these means and this error."""
    made = example_results()
    del made["sae_bias"]
    arms = {arm["name"]: arm for arm in made["arms"]}
    made["arms"] = [arms["language model"], arms["frozen decoder"]]
    for arm, means in zip(made["arms"], (real, control), strict=True):
        for cell, mean in zip(arm["cells"], means, strict=True):
            cell |= {"mean": mean, "se": se, "low": mean - 2 * se, "high": mean + 2 * se}
    return made


def verdicts(made: dict, rules=None) -> dict[str, tuple[str, str]]:
    """Verdict and reason by the id of the hypothesis, of the language model."""
    rows = judge(made, rules or load())["verdicts"]
    return {row["id"]: (row["verdict"], row["reason"]) for row in rows if row["group"] == "real"}


def test_a_table_that_holds_beyond_its_control_is_confirmed_as_a_whole():
    said = verdicts(results())
    assert {
        said[name][0] for name in said if name.startswith(("exclusive", "independent", "tog", "table"))
    } == {CONFIRMED}
    assert said["exclusive-similar"][1].endswith("is below zero; also beyond frozen decoder")


def test_a_reason_says_where_a_control_tells_outputs_apart_by_chance():
    made = results()
    made["arms"][1]["reliability"]["sim"] = 0.49
    reason = verdicts(made)["exclusive-similar"][1]
    assert reason.endswith(
        "also beyond frozen decoder (in frozen decoder similar outputs are told from different ones partly "
        "by chance: their reliability is below 0.5)"
    )


def test_no_p_value_is_quoted_where_the_gate_is_shut():
    made = results()
    made["arms"][0]["cells"][0]["n_pairs"] = 3
    rows = {row["id"]: row for row in judge(made, load())["verdicts"] if row["group"] == "real"}
    assert (rows["exclusive-similar"]["p"], rows["exclusive-similar"]["p_against"]) == (None, None)
    assert rows["exclusive-different"]["p"] < 0.025
    assert rows["table-exclusive"]["p"] is None


def test_a_table_with_the_signs_reversed_is_refuted():
    said = verdicts(results(real=(0.1, 0.1, 0.1, 0.1, -0.1, 0.1)))
    assert {
        said[name][0] for name in said if name.startswith(("exclusive", "independent", "tog", "table"))
    } == {REFUTED}
    assert said["table-exclusive"][1].startswith("refuted: exclusive-similar, exclusive-different")


def test_one_refuted_cell_refutes_the_whole_and_one_undecided_cell_leaves_it_open():
    assert verdicts(results(real=(0.1, -0.1, -0.1, -0.1, 0.1, 0.0)))["table-exclusive"][0] == REFUTED
    unsure = results(real=(0.0, -0.1, -0.1, -0.1, 0.1, 0.0))
    unsure["arms"][0]["cells"][0]["se"] = 0.01
    open_ = verdicts(unsure)
    assert open_["table-exclusive"] == (UNDECIDED, "undecided: exclusive-similar")
    assert open_["table-independent"][0] == CONFIRMED


def test_a_cell_whose_control_shows_the_same_cannot_be_confirmed():
    said = verdicts(results(control=AS_CLAIMED))
    for name in ("exclusive-similar", "independent-different", "together-similar"):
        assert said[name][0] == UNDECIDED
        assert "frozen decoder shows" in said[name][1]
    assert said["together-different"][0] == CONFIRMED  # zero is claimed there, not a sign


def test_a_control_that_shows_more_or_has_no_number_blocks_as_well():
    more = verdicts(results(control=(-0.3, 0.0, 0.0, 0.0, 0.3, 0.0)))
    assert more["together-similar"][0] == more["exclusive-similar"][0] == UNDECIDED
    made = results()
    made["arms"][1]["cells"][4] |= {"mean": float("nan"), "se": float("nan"), "problem": "no pair"}
    assert verdicts(made)["together-similar"][1].endswith("frozen decoder has no number to compare with")


def test_a_real_arm_without_a_control_is_not_confirmed_and_a_toy_may_be():
    made = results()
    made["arms"].pop()
    assert "no control stands beside this arm" in verdicts(made)["together-similar"][1]
    made["arms"][0]["group"] = "toy"
    rows = {row["id"]: row["verdict"] for row in judge(made, load())["verdicts"]}
    assert rows["together-similar"] == CONFIRMED


def test_the_sign_of_a_signed_dictionarys_cosines_is_not_judged_and_its_shape_is():
    made = results()
    made["arms"][0]["signed"] = True
    said = verdicts(made)
    assert {said[name][0] for name in said if name not in ("L6", "L7")} == {UNDECIDED}
    assert said["exclusive-similar"][1].endswith(
        "fire in both senses, so that the sign of a cosine means nothing"
    )
    assert "both senses" not in said["L6"][1] + said["L7"][1]


def test_controls_are_not_judged():
    judged = judge(results(), load())
    assert {row["arm"] for row in judged["verdicts"]} == {"language model"}
    assert {cell["verdict"] for cell in judged["arms"][1]["cells"]} == {None}


@pytest.mark.parametrize(
    ("mean", "se", "said"),
    [(0.0, 0.0005, CONFIRMED), (0.0, 0.01, UNDECIDED), (0.004, 0.001, UNDECIDED), (0.1, 0.01, REFUTED)],
)
def test_equal_to_zero_is_a_matter_of_the_margin(mean, se, said):
    made = results(real=(*AS_CLAIMED[:5], mean), se=se)
    assert 0.004 < 0.1 / made["arms"][0]["d_eff"] ** 0.5 < 0.006
    assert verdicts(made)["together-different"][0] == said


def test_a_sign_within_the_margin_is_refuted_however_sure_it_is():
    said = verdicts(results(real=(-0.001, -0.1, -0.1, -0.1, 0.001, 0.0), se=1e-5))
    assert said["exclusive-similar"][0] == said["together-similar"][0] == REFUTED
    assert said["exclusive-similar"][1].endswith("too small to count as below zero")


def test_a_mean_of_zero_from_opposite_and_parallel_pairs_is_confirmed_with_a_warning():
    made = results()
    made["arms"][0]["cells"][5]["sd"] = 0.5
    assert "spread wider than random directions" in verdicts(made)["together-different"][1]


GATES = {
    "too few pairs": (lambda arm, models: arm["cells"][0].update(n_pairs=3), "only 3 pairs"),
    "too few features": (
        lambda arm, models: arm["cells"][0].update(n_features=5),
        "only 5 features take part",
    ),
    "too few alive": (lambda arm, models: arm.update(n_alive=9), "only 9 features are alive"),
    "similarity without spread": (
        lambda arm, models: arm["spread"].update(similarity_sd=1e-4),
        "hardly varies",
    ),
    "a weak model": (
        lambda arm, models: models[0]["quality"].update(bits_per_byte=1.9),
        "the trigram's 1.83",
    ),
    "seeds that disagree": (
        lambda arm, models: models[1]["quality"].update(agreement=0.36, agreement_null=0.29),
        "10% of the way to identity",
    ),
    "a link that must be there and is not seen": (
        lambda arm, models: arm["regression"][0].update(low=-0.1),
        "the slope preactivation_correlation js none co is not above zero",
    ),
    "a problem": (lambda arm, models: arm["cells"][0].update(problem="all share one"), "all share one"),
    "no error": (lambda arm, models: arm["cells"][0].update(se=float("nan")), "there is no interval"),
}


@pytest.mark.parametrize("name", GATES)
def test_a_shut_gate_leaves_the_claim_undecided_with_its_reason(name):
    shut, reason = GATES[name]
    made = results()
    shut(made["arms"][0], made["models"])
    said = verdicts(made)
    assert said["exclusive-similar"][0] == said["table-exclusive"][0] == UNDECIDED
    assert reason in said["exclusive-similar"][1]


def test_a_model_that_is_no_part_of_an_arm_does_not_shut_its_gate():
    made = results()
    made["models"].append({"name": "other", "quality": {"bits_per_byte": 9.0, "trigram": 2.0}})
    assert verdicts(made)["together-similar"][0] == CONFIRMED


UNKNOWN = {
    "no model": (lambda models: models.clear(), ("language model behind language model is", "two seeds of")),
    "no bits per byte": (
        lambda models: models[0]["quality"].pop("bits_per_byte"),
        ("language model behind",),
    ),
    "no baseline": (lambda models: models[0]["quality"].update(trigram=None), ("language model behind",)),
    "undefined bits per byte": (
        lambda models: models[0]["quality"].update(bits_per_byte=float("nan")),
        ("needs nan bits per byte",),
    ),
    "no agreement": (lambda models: models[1]["quality"].pop("agreement"), ("two seeds of the SAE behind",)),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_real_arm_of_unknown_quality_is_undecided_and_its_reason_says_how_to_mend_it(name):
    spoil, reasons = UNKNOWN[name]
    made = results()
    spoil(made["models"])
    said = verdicts(made)
    assert {verdict for verdict, _ in said.values()} == {UNDECIDED}
    for reason in reasons:
        assert reason in said["together-similar"][1]
    mends = ("beats = " in said["together-similar"][1], "min_agreement = 0" in said["together-similar"][1])
    assert mends == (
        len(reasons) == 2 or name in ("no bits per byte", "no baseline"),
        "two seeds" in reasons[-1],
    )


def test_a_file_that_asks_nothing_of_models_is_taken_at_its_word():
    made = results()
    made["models"] = []
    rules = load()
    free = replace(rules, gates=replace(rules.gates, beats="", min_agreement=0.0))
    assert verdicts(made, free)["together-similar"][0] == CONFIRMED
    made["arms"][0]["regression"] = []
    assert "positive control was not measured" in verdicts(made, free)["together-similar"][1]
    blind = replace(free, gates=replace(free.gates, positive_control=()))
    assert verdicts(made, blind)["together-similar"][0] == CONFIRMED
    assert verdicts(made, replace(rules, gates=replace(rules.gates, beats="")))["L7"][0] == UNDECIDED


def test_one_recorded_pair_of_seeds_speaks_for_the_arm():
    made = results()
    made["models"].append({"name": "SAE 1", "kind": "sae", "note": "", "quality": {"l0": 30.0}})
    made["arms"][0]["models"].append("SAE 1")
    assert verdicts(made)["together-similar"][0] == CONFIRMED


def test_an_overall_p_value_is_the_largest_of_its_parts():
    rows = {row["id"]: row for row in judge(results(), load())["verdicts"] if row["group"] == "real"}
    parts = ("exclusive-similar", "exclusive-different", "together-similar", "together-different")
    assert rows["table-exclusive"]["p"] == max(rows[part]["p"] for part in parts)


@pytest.mark.parametrize("claim", ["< 0", "> 0", "= 0", "!= 0"])
def test_a_claim_is_refuted_where_its_p_value_against_is_below_a_fortieth(claim):
    rng = np.random.default_rng(0)
    refuted = 0
    for mean, se in zip(rng.normal(scale=0.15, size=300), rng.uniform(0.005, 0.1, 300), strict=True):
        number = estimate(mean, se, 5, 0.1)
        refuted += (said := by_interval(number, claim)[0] == REFUTED)
        assert said == (p_against(number, claim) < 0.025)
    assert 20 < refuted < 280


@pytest.mark.parametrize(("p", "said"), [(0.0124, REFUTED), (0.0126, UNDECIDED), (0.024, UNDECIDED)])
def test_one_part_of_four_refutes_the_table_at_a_quarter_of_five_percent(p, said):
    unsure = results()
    cell = unsure["arms"][0]["cells"][0]
    cell["mean"] = stats.t.isf(p, cell["df"]) * cell["se"]
    cell["mean"], cell["se"] = 10 * cell["mean"], 10 * cell["se"]  # well beyond the margin of zero
    rows = {row["id"]: row for row in judge(unsure, load())["verdicts"] if row["group"] == "real"}
    assert rows["exclusive-similar"]["verdict"] == REFUTED
    assert rows["exclusive-similar"]["p_against"] == pytest.approx(p)
    assert rows["table-exclusive"]["verdict"] == said
    assert rows["table-exclusive"]["p_against"] == pytest.approx(4 * p)
    assert rows["table-independent"]["verdict"] == CONFIRMED


def test_slopes_and_differences_are_judged_by_their_own_numbers():
    made = results()
    for arm, value in zip(made["arms"], (0.5, 0.0), strict=True):
        for row in arm["difference_in_differences"]:
            row |= {"mean": value, "se": 0.01, "low": value - 0.02, "high": value + 0.02}
        for row in arm["regression"]:
            row |= {"estimate": -value, "se": 0.01}
    said = verdicts(made)
    assert said["interaction"][0] == CONFIRMED
    assert said["interaction-slope"][0] == REFUTED
    made["arms"][0]["regression"] = []
    assert verdicts(made)["interaction-slope"][1].startswith("no slope log_odds js_split product co:sim")


def test_judging_leaves_its_input_alone_and_names_the_file():
    made = results()
    judged = judge(made, load())
    assert made["verdicts"] == []
    assert "claim" not in made["arms"][0]["cells"][0]
    assert judged["hypotheses"]["file"] == "presets.toml"
    assert len(judged["hypotheses"]["sha256"]) == 64
    assert [cell["claim"] for cell in judged["arms"][0]["cells"]] == list(CLAIMS.values())


def test_the_margin_of_the_file_decides():
    rules = replace(load(), margin=10.0)
    judged = judge(results(real=(*AS_CLAIMED[:5], 0.1)), rules)
    assert judged["arms"][0]["cells"][5]["verdict"] == CONFIRMED
    assert judged["arms"][0]["cells"][5]["margin"] == pytest.approx(10 / judged["arms"][0]["d_eff"] ** 0.5)


MINIMAL = """format = 1
[[hypothesis]]
id = "mine"
statement = "Features that fire together point the same way where outputs are similar"
measure = "cell mean"
cooccurrence = "co-occurring"
similarity = "similar"
claim = "> 0"
"""


def test_a_users_own_file_is_read_and_its_bytes_are_hashed(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL)
    first = load(path)
    assert [one.id for one in first.hypotheses] == ["mine"]
    assert first.gates.beats == "trigram"
    path.write_text(MINIMAL + "\n")
    assert load(path).sha256 != first.sha256


BAD = {
    'expected a key of hypotheses .* found \'hypotesis\': did you mean \'hypothesis\'': MINIMAL.replace(
        "[[hypothesis]]", "[[hypotesis]]"
    ),
    "found 'clam': did you mean 'claim'": MINIMAL.replace("claim =", "clam ="),
    "expected claim in .* to be one of .*'> 0', .*, found '>= 0': did you mean '> 0'": MINIMAL.replace(
        '"> 0"', '">= 0"'
    ),
    "expected format = 1": MINIMAL.replace("format = 1", "format = 2"),
    "with different ids": MINIMAL + MINIMAL.removeprefix("format = 1\n"),
    "found 'min_pears': did you mean 'min_pairs'": MINIMAL + "[gates]\nmin_pears = 3\n",
    "expected cooccurrence and similarity for the cell mean": MINIMAL.replace('similarity = "similar"\n', ""),
    "without a margin it has no zero to be at": MINIMAL.replace("cell mean", "slope").replace("> 0", "= 0"),
    "expected claim in each Hypothesis of .*, found only id, statement": MINIMAL.replace('claim = "> 0"', ""),
    "as a table of names and values, found 'id': write": MINIMAL.replace("[[hypothesis]]", "[hypothesis]"),
    "expected margin > 0 in .*, found -1": MINIMAL.replace("format = 1", "format = 1\nmargin = -1"),
    r"expected margin > 0 in .*, found \[1\]": MINIMAL.replace("format = 1", "format = 1\nmargin = [1]"),
    "expected margin > 0 in .*, found inf": MINIMAL.replace("format = 1", "format = 1\nmargin = inf"),
    "expected margin > 0 in 'mine', found -0.1": MINIMAL + "margin = -0.1\n",
    "expected min_pairs of 0 or more in .*, found -1": MINIMAL + "[gates]\nmin_pairs = -1\n",
    r"expected groups\[0\] in .* to be one of .*, found 'reel': did you mean 'real'": MINIMAL
    + 'groups = ["reel"]\n',
    "expected parts of 'all' in .*, found none": MINIMAL
    + '[[overall]]\nid = "all"\nstatement = "all"\nparts = []\n',
    "expected 4 words for the slope": MINIMAL + 'slope = ["phi", "js"]\n',
    "expected a measure of co-occurrence in .* found 'fi': .*phi": MINIMAL
    + 'slope = ["fi", "js", "none", "co"]\n',
    "expected a measure of output similarity in .* found 'js_slit': did you mean 'js_split'": MINIMAL
    + 'slope = ["phi", "js_slit", "none", "co"]\n',
    "expected feature effects in .* found 'products': did you mean 'product'": MINIMAL
    + 'slope = ["phi", "js", "products", "co"]\n',
    "expected a term in the slope of 'mine', found 'cos': did you mean 'co'": MINIMAL
    + 'slope = ["phi", "js", "none", "cos"]\n',
    "expected ids of hypotheses as parts .* found 'mime': did you mean 'mine'": MINIMAL
    + '[[overall]]\nid = "all"\nstatement = "all"\nparts = ["mime"]\n',
}  # fmt: skip


@pytest.mark.parametrize("message", BAD)
def test_a_file_with_a_fault_is_refused_with_the_way_to_mend_it(message, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(BAD[message])
    with pytest.raises(ValueError, match=message):
        load(path)
