"""Every kind of number and rule: a world where the claim is true and is confirmed, one where it is not."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from example_results import CELLS, example_results
from scipy import stats
from synthetic import planted_system

from compare import cli
from compare.claims import Agreement, Hypotheses, Hypothesis
from compare.evidence import measure
from compare.hypotheses import CONFIRMED, REFUTED, UNDECIDED, judge, load
from compare.verdicts import Scene, number_of

LM = "language model"
ROOM, BOTH = "tied autoencoder, room", "outputs + reconstruction"
CO = ("log_odds", "js_split", "product", "co")
PUBLISHED = ("preactivation_correlation", "js", "none", "co")
TOGETHER = {"measure": "cell mean", "cooccurrence": "co-occurring", "similarity": "similar"}


def world(cells=None, slopes=None) -> dict:
    """The example's results with {(arm, place of cell): mean} and {(arm, slope): estimate}, errors .001."""
    made = example_results()
    arms = {arm["name"]: arm for arm in made["arms"]}
    for (name, place), mean in (cells or {}).items():
        arms[name]["cells"][place] |= {"mean": mean, "se": 0.001}
    for (name, which), value in (slopes or {}).items():
        for row in arms[name]["regression"]:
            if (row["cooccurrence"], row["similarity"], row["effects"], row["term"]) == which:
                row |= {"estimate": value, "se": 0.001, "sd": 0.5, "sd_true": 0.5}
    return made


def said(made: dict, judged: str = LM, **about) -> tuple[str, str]:
    """Verdict and reason of one hypothesis in one arm."""
    one = Hypothesis(**{"id": "it", "statement": "", "beyond_controls": False} | about)
    rows = judge(made, Hypotheses(hypotheses=(one,)))["verdicts"]
    return next((row["verdict"], row["reason"]) for row in rows if row["arm"] == judged)


@pytest.mark.parametrize(
    ("similar", "different", "verdict"), [(0.2, 0.1, CONFIRMED), (0.1, 0.2, REFUTED), (0.1, 0.1, REFUTED)]
)
def test_the_difference_of_two_cells_of_an_arm(similar, different, verdict):
    made = world({(LM, 4): similar, (LM, 5): different})
    assert said(made, **TOGETHER, less=({"similarity": "different"},), claim="> 0")[0] == verdict


@pytest.mark.parametrize(
    ("mean", "verdict"), [(0.1, CONFIRMED), (-0.1, REFUTED), (0.002, REFUTED), (0.004, CONFIRMED)]
)
def test_a_cell_with_the_mean_direction_taken_out_is_a_number_of_its_own(mean, verdict):
    """Its margin is that of its own effective dimension: .1 / sqrt(411) = .0049, errors .001."""
    made = world({(LM, 4): -0.5})
    arm = next(arm for arm in made["arms"] if arm["name"] == LM)
    arm["centred"]["cells"][4] |= {"mean": mean, "se": 0.001}
    arm["d_eff"] = 1.0
    about = TOGETHER | {"measure": "centred cell mean", "claim": "> 0"}
    assert said(made, **about)[0] == verdict
    one = Hypothesis(id="it", statement="", beyond_controls=False, **about)
    judged = judge(made, Hypotheses(hypotheses=(one,)))
    cells = next(arm for arm in judged["arms"] if arm["name"] == LM)
    assert (cells["centred"]["cells"][4]["verdict"], cells["cells"][4]["verdict"]) == (verdict, None)


@pytest.mark.parametrize(("first", "second", "verdict"), [(0.3, 0.1, CONFIRMED), (0.1, 0.3, REFUTED)])
def test_the_same_cell_in_two_arms(first, second, verdict):
    made = world({(ROOM, 4): first, (BOTH, 4): second})
    about = TOGETHER | {"arm": ROOM, "less": ({"arm": BOTH},), "claim": "> 0"}
    assert said(made, ROOM, **about)[0] == verdict


@pytest.mark.parametrize(("null", "verdict"), [(0.1, CONFIRMED), (0.2, REFUTED)])
def test_the_excess_of_a_slope_over_a_control(null, verdict):
    made = world(slopes={(LM, CO): 0.16, ("Gaussian surrogate", CO): null})
    about = {"measure": "slope", "slope": CO, "less": ({"arm": "Gaussian surrogate"},), "claim": "> 0"}
    assert said(made, **about)[0] == verdict


@pytest.mark.parametrize(("null", "verdict"), [(0.2, CONFIRMED), (0.1, REFUTED)])
def test_a_slope_per_sd_is_zero_beyond_a_control_within_the_margin(null, verdict):
    made = world(slopes={(LM, CO): 0.2, ("Gaussian surrogate", CO): null})
    about = {"measure": "slope", "slope": CO, "per_sd": True, "less": ({"arm": "Gaussian surrogate"},)}
    assert said(made, **about, claim="= 0")[0] == verdict
    assert said(made, **about, claim="!= 0")[0] == {CONFIRMED: REFUTED, REFUTED: CONFIRMED}[verdict]


@pytest.mark.parametrize(("left", "verdict"), [(0.1, CONFIRMED), (0.3, REFUTED), (0.2, UNDECIDED)])
def test_a_ratio_of_slopes_is_asked_as_one_less_a_share_of_the_other(left, verdict):
    made = world(slopes={(LM, CO): left, (LM, PUBLISHED): 0.4})
    about = {"measure": "slope", "slope": CO, "less": ({"slope": PUBLISHED, "times": 0.5},), "claim": "< 0"}
    assert said(made, **about)[0] == verdict


@pytest.mark.parametrize(("share", "verdict"), [(0.05, CONFIRMED), (0.004, REFUTED), (0.0105, UNDECIDED)])
def test_the_share_beyond_the_nulls_quantile_is_held_against_the_nulls_own(share, verdict):
    made = world()
    cell = made["arms"][3]["cells"][0]
    assert cell["null_share"] == 0.01
    cell |= {"share_below": share, "share_below_se": 0.001}
    about = {"measure": "share below", "cooccurrence": "exclusive", "similarity": "similar", "claim": "> 0"}
    assert said(made, **about)[0] == verdict


@pytest.mark.parametrize(("mean", "verdict"), [(0.1, CONFIRMED), (-0.1, CONFIRMED), (0.0, REFUTED)])
def test_other_than_zero_is_beyond_it_on_either_side(mean, verdict):
    assert said(world({(LM, 4): mean}), **TOGETHER, claim="!= 0")[0] == verdict
    assert said(world({(LM, 4): 0.004}), **TOGETHER, claim="!= 0", margin=0.08)[0] == CONFIRMED


def test_errors_of_one_arm_add_and_variances_of_two_do():
    made = world({(LM, 4): 0.2, (LM, 5): 0.1, (BOTH, 4): 0.1})
    scene = Scene(made["arms"], made["models"], load().gates, 0.1)
    arm = next(arm for arm in made["arms"] if arm["name"] == LM)

    def error(entry):
        one = Hypothesis(id="it", statement="", **TOGETHER, less=(entry,), claim="> 0")
        return number_of(one, arm, scene)["se"]

    assert error({"similarity": "different", "times": 2}) == pytest.approx(0.003)
    assert error({"arm": BOTH, "times": 2}) == pytest.approx(0.005**0.5 / 10**1.5 * 1.0, rel=1e-6)


def test_what_is_about_an_arm_that_was_not_run_is_not_judged_and_is_named():
    one = Hypothesis(id="absent", statement="", **TOGETHER, arm="toy: elsewhere", claim="> 0")
    judged = judge(world(), Hypotheses(hypotheses=(one,)))
    assert judged["verdicts"] == []
    assert judged["hypotheses"]["not_run"] == ["absent"]


def test_what_needs_another_arm_that_was_not_run_is_undecided_and_says_so():
    about = TOGETHER | {"less": ({"arm": "elsewhere"},), "claim": "> 0"}
    assert said(world(), **about) == (UNDECIDED, "elsewhere: this arm was not run")


def test_a_gate_of_the_other_arm_shuts_the_claim():
    made = world({(ROOM, 4): 0.3, (BOTH, 4): 0.1})
    made["arms"][2]["cells"][4]["n_pairs"] = 3
    about = TOGETHER | {"arm": ROOM, "less": ({"arm": BOTH},), "claim": "> 0"}
    assert said(made, ROOM, **about) == (
        UNDECIDED,
        f"{BOTH}: only 3 pairs are in this cell, 10 are asked for",
    )


SIGNS = {
    CONFIRMED: ((0.1, -0.1, 0.0), (0.3, -0.2, 0.0001)),
    REFUTED: ((0.1, -0.1, 0.0), (0.3, 0.2, 0.0)),
    UNDECIDED: ((0.1, -0.1, 0.0), (0.3, -0.001, 0.0)),
}


@pytest.mark.parametrize("verdict", SIGNS)
def test_two_arms_agree_where_all_signs_are_known_and_the_same(verdict):
    toy, real = SIGNS[verdict]
    cells = {(ROOM, k): mean for k, mean in enumerate(toy)} | {(LM, k): mean for k, mean in enumerate(real)}
    names = zip("abc", CELLS, strict=False)
    parts = [
        Hypothesis(id=one, statement="", measure="cell mean", cooccurrence=co, similarity=sim, claim="> 0")
        for one, (co, sim) in names
    ]
    both = Agreement(id="both", statement="", parts=("a", "b", "c"), arms=(ROOM, LM))
    made = world(cells)
    made["arms"][3]["cells"][1]["se"] = 0.01 if verdict == UNDECIDED else 0.001
    row = judge(made, Hypotheses(hypotheses=tuple(parts), agreement=(both,)))["verdicts"][-1]
    assert (row["id"], row["verdict"], row["group"]) == ("both", verdict, "across")
    assert row["reason"].startswith("a: above zero, above zero; b: below zero")


@pytest.mark.parametrize(("halves", "verdict"), [(1.1, UNDECIDED), (2.0, REFUTED)])
def test_an_agreement_falls_only_by_intervals_that_hold_for_all_its_numbers_together(halves, verdict):
    parts = [
        Hypothesis(
            id=f"{co} {sim}", statement="", measure="cell mean", cooccurrence=co, similarity=sim, claim="> 0"
        )
        for co, sim in CELLS[:4]
    ]
    made = world({(name, place): 0.0 for name in (ROOM, LM) for place in range(4)})
    for arm in made["arms"]:
        for cell in arm["cells"][:4]:
            cell["se"] = 1e-6
    real = next(arm for arm in made["arms"] if arm["name"] == LM)
    cell = real["cells"][1] | {"se": 0.01}
    # 95 % of this number alone lie `halves` - 1 half-widths beyond the margin of zero, where the toy is
    cell["mean"] = 0.1 / real["d_eff"] ** 0.5 + halves * stats.t.isf(0.025, cell["df"]) * cell["se"]
    real["cells"][1] = cell
    both = Agreement(id="both", statement="", parts=tuple(one.id for one in parts), arms=(ROOM, LM))
    judged = judge(made, Hypotheses(hypotheses=tuple(parts), agreement=(both,)))
    assert judged["verdicts"][-1]["verdict"] == verdict
    assert "zero, above zero" in judged["verdicts"][-1]["reason"]


def test_an_agreement_with_an_arm_that_was_not_run_is_not_judged():
    one = Hypothesis(id="a", statement="", **TOGETHER, claim="> 0")
    both = Agreement(id="both", statement="", parts=("a",), arms=(ROOM, "elsewhere"))
    judged = judge(world(), Hypotheses(hypotheses=(one,), agreement=(both,)))
    assert judged["hypotheses"]["not_run"] == ["both"]


def test_every_preset_is_judged_or_named_as_not_run():
    rules, made = load(), world()
    for arm in made["arms"]:
        arm["name"] = arm["name"] if arm["group"] != "toy" else f"toy: {arm['name']}"
    judged = judge(made, rules)
    claims = {one.id for one in (*rules.hypotheses, *rules.overall, *rules.agreement)}
    known = {row["id"] for row in judged["verdicts"]} | set(judged["hypotheses"]["not_run"])
    assert claims == known
    found = {row["id"]: row["reason"] for row in judged["verdicts"]}
    assert not [one for one, reason in found.items() if reason.startswith("no slope")]
    assert found["trained-co"] == "frozen decoder, matched: this arm was not run"


MINE_UNHEARD = """
[[hypothesis]]
id = "unheard"
statement = "A claim about an arm that nobody ran"
measure = "cell mean"
cooccurrence = "independent"
similarity = "similar"
arm = {}
claim = "> 0"
"""


def test_a_users_own_file_gates_by_what_is_planted_and_not_by_chance(tmp_path, monkeypatch, capsys):
    mine, unheard = Path(__file__).with_name("mine.toml"), tmp_path / "unheard.toml"
    about_another = MINE_UNHEARD.format(json.dumps("an arm that was not run"))
    unheard.write_text(mine.read_text() + about_another)
    effect = (0.1, 0.1, 0.05)
    for name, planted, file, status in (
        ("planted", effect, mine, 0),
        ("null", None, mine, 1),
        ("other", effect, unheard, 1),
    ):
        folder = measure(planted_system(n=40, effect=planted, n_tokens=4096)).save(tmp_path / name)
        words = ["cofire", "test", folder, "--hypotheses", file, "--gate", "--quiet"]
        monkeypatch.setattr(sys, "argv", [*map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == status
    capsys.readouterr()


@pytest.mark.parametrize(("gain", "verdict"), [(0.05, CONFIRMED), (-0.05, REFUTED), (0.001, REFUTED)])
def test_a_rule_that_predicts_unseen_features_better_than_another(gain, verdict):
    made = world()
    rows = next(arm for arm in made["arms"] if arm["name"] == LM)["rules"]["scores"]
    rows[2]["over_first"] |= {"mean": gain, "se": 0.002, "df": 50}
    about = {"measure": "rule", "rule": "flexible learner", "score": "over_first", "margin": 0.01}
    assert said(made, **about, claim="> 0")[0] == verdict
    about["rule"] = "nobody's"
    assert said(made, **about, claim="> 0") == (UNDECIDED, 'no rule "nobody\'s" was scored in this arm')


@pytest.mark.parametrize(
    ("real", "share", "verdict"), [(0.4, 0.5, CONFIRMED), (0.8, 0.5, REFUTED), (0.4, 0.4, UNDECIDED)]
)
def test_slopes_are_compared_after_correction_for_reliability_or_not_at_all(real, share, verdict):
    """.64 / .8 in the toy; .4 / .5 is the same, .8 / .5 is not, and .4 is too unreliable to say."""
    made = world(slopes={(ROOM, CO): 0.64, (LM, CO): real})
    arms = {arm["name"]: arm for arm in made["arms"]}
    for name, known in ((ROOM, 0.8), (LM, share)):
        for row in arms[name]["regression"]:
            row["reliability"] = known
    about = {"measure": "corrected slope", "slope": CO, "arm": ROOM, "less": ({"arm": LM},), "margin": 0.01}
    verdict_, reason = said(made, ROOM, **about, claim="= 0")
    assert verdict_ == verdict
    assert ("reliability 0.40 in language model" in reason) == (verdict == UNDECIDED)


def test_numbers_of_saes_on_toys_are_judged_where_they_were_measured():
    made = world()
    found = {row["id"]: row for row in judge(made, load())["verdicts"]}
    assert (found["S1a"]["verdict"], found["S1a"]["arm"]) == (CONFIRMED, "SAEs on toys")
    assert found["S1b"]["reason"].startswith("no shape 'given directions, trained decoder, L0 above")
    made["sae_bias"]["shape"] = [made["sae_bias"]["shape"][0] | {"problem": "only 10% were recovered"}]
    found = {row["id"]: row for row in judge(made, load())["verdicts"]}
    assert (found["S1a"]["verdict"], found["S1a"]["reason"]) == (UNDECIDED, "only 10% were recovered")
    del made["sae_bias"]
    assert {"S1a", "S2b", "S1"} <= set(judge(made, load())["hypotheses"]["not_run"])


def test_toys_that_presets_ask_for_are_there():
    from compare.config import make_config, read_toml
    from toy.config import ToyConfig

    folder = Path(__file__).parent.parent / "docs/examples/toys"
    page = (folder.parents[1] / "bring-your-own.md").read_text()
    asked = {one.arm for one in load().hypotheses if one.id.startswith(("T3", "T7"))} | {
        "toy: weight decay 0"
    }
    for path in sorted(folder.glob("*.toml")):
        make_config(ToyConfig, read_toml(path))
        assert path.name in page
    assert all(f'--name "{name}"' in page for name in asked)
    assert len(asked) == len(list(folder.glob("*.toml")))


def noisy(made: dict, name: str, **about) -> dict:
    """The results with these values in the row of CO of an arm."""
    arm = next(arm for arm in made["arms"] if arm["name"] == name)
    for row in arm["regression"]:
        if (row["cooccurrence"], row["similarity"], row["effects"], row["term"]) == CO:
            row |= about
    return made


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.4, UNDECIDED), (0.5, CONFIRMED), (float("nan"), UNDECIDED)]
)
def test_a_small_slope_on_a_measure_of_noise_is_no_zero(share, verdict):
    made = noisy(world({}, {(LM, CO): 0.001}), LM, reliability=share)
    assert said(made, measure="slope", slope=CO, claim="= 0", per_sd=True)[0] == verdict
    small = said(made, measure="slope", slope=CO, claim="> 0", per_sd=True)
    assert small[0] == (REFUTED if verdict == CONFIRMED else UNDECIDED)


def test_a_slope_per_sd_is_corrected_by_what_effects_leave_and_by_the_noise_of_its_sd():
    made = noisy(world({}, {(LM, CO): 0.1}), LM, reliability=0.5, sd=2.0, sd_true=1.5)
    one = Hypothesis(id="it", statement="", measure="slope", slope=CO, claim="> 0", per_sd=True)
    scene = Scene(made["arms"], made["models"], load().gates, 0.1)
    arm = next(arm for arm in made["arms"] if arm["name"] == LM)
    number = number_of(one, arm, scene)
    assert number["mean"] == pytest.approx(0.1 * 1.5 / 0.5)
    assert number["se"] == pytest.approx(0.001 * 1.5 / 0.5)
    raw = number_of(replace(one, per_sd=False), arm, scene)
    assert raw["mean"] == pytest.approx(0.1)  # a sign needs no correction


def test_similarity_less_cooccurrence_is_taken_of_corrected_slopes():
    """Truth .045 less .050 for a true sd each; co is seen at .57 of it, which would turn the sign."""
    sim, both = (*CO[:3], "sim"), (*CO[:3], "sim - co")
    made = world({}, {(LM, CO): 0.057, (LM, sim): 0.09, (LM, both): 0.0066})
    noisy(made, LM, reliability=0.57, sd_true=0.5)
    arm = next(arm for arm in made["arms"] if arm["name"] == LM)
    for row in arm["regression"]:
        if row["term"] == "sim - co":
            row["reliability"] = 0.57
    one = Hypothesis(id="it", statement="", measure="slope", slope=both, claim="> 0", per_sd=True)
    number = number_of(one, arm, Scene(made["arms"], made["models"], load().gates, 0.1))
    assert number["mean"] == pytest.approx(0.5 * 0.09 - 0.5 * 0.057 / 0.57)
    assert number["se"] == pytest.approx(0.5 * 0.001 + 0.5 * 0.001 / 0.57)


@pytest.mark.parametrize("share", [0.4, None, float("nan")])
def test_similarity_that_is_or_may_be_noise_shuts_the_gate_of_a_language_model(share):
    made = world({(LM, 4): 0.2})
    arm = next(arm for arm in made["arms"] if arm["name"] == LM)
    assert said(made, **TOGETHER, claim="> 0")[0] == CONFIRMED
    arm["reliability"]["sim"] = share
    verdict, reason = said(made, **TOGETHER, claim="> 0")
    assert verdict == UNDECIDED
    assert reason.startswith("output similarity is not known to be more than sampling noise")


def test_a_difference_in_differences_needs_pairs_in_each_of_its_cells():
    made = world()
    about = {"measure": "difference in differences", "against": "exclusive", "claim": "> 0"}
    assert "pairs are in" not in said(made, **about)[1]
    arm = next(arm for arm in made["arms"] if arm["name"] == LM)
    arm["cells"][0]["n_pairs"] = 5
    assert said(made, **about) == (UNDECIDED, "only 5 pairs are in exclusive, similar, 10 are asked for")


def test_a_sign_stands_beyond_a_control_by_the_interval_of_the_excess_and_not_by_its_mean():
    for error, verdict in ((0.01, CONFIRMED), (0.2, UNDECIDED)):
        made = world({(LM, 4): 0.3})
        for control in (one for one in made["arms"] if one["control_of"] == LM):
            control["cells"][4] |= {"mean": 0.1, "se": error}
        assert said(made, **TOGETHER, claim="> 0", beyond_controls=True)[0] == verdict


def test_a_slope_of_noise_is_not_held_against_controls():
    made = noisy(world({}, {(LM, CO): 0.1}), LM, reliability=0.2)
    verdict, reason = said(made, measure="slope", slope=CO, claim="> 0", beyond_controls=True)
    assert verdict == UNDECIDED
    assert "cannot be held against controls" in reason
