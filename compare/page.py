"""Results in, a folder out: one self-contained page, results.json, and a CSV behind every table and figure.

The schema of `results` (format 1). A number that is undefined is NaN, and null in results.json.

    format: 1
    quick: bool
    run: {command, seed, config: {name: value}, versions: {package: version}, inputs: {file: sha256}
          [, code: sha256]}
    hypotheses: {file, sha256, margin, gates: {name: value}, not_run: [ids]}   added by hypotheses.judge
    models: [{name, kind: "language model" | "sae" | "toy", note, quality: {name: number}
              [, versions: {package: version}] [, in_sample: whether it is judged on what it learned from]}]
        a language model has bits_per_byte, unigram, bigram and trigram (bits per byte as well), an SAE
        explained_variance, l0, dead_share, loss_recovered [, agreement, agreement_null]
    arms: [{name, group: "toy" | "real" | "control", control_of: name of an arm | null, note,
            knows_outputs: bool, whether outputs had a part in what its directions are,
            models: [names of models behind it], seeds, n_features, n_alive, n_pairs, width, d_eff, n_tokens,
            signed: bool,
            cooccurrence, similarity: what the levels of the cells rest on,
            spread: {similarity_sd, cooccurrence_sd},
            cells: [see below], centred: {mean_cosine, d_eff, cells: with the mean direction taken
                                                             out, less the mean cosine that is left},
            difference_in_differences: [see below],
            regression: [{cooccurrence, similarity, effects, term, sd, sd_true, reliability, estimate, se,
                          se_default, se_dyadic, se_naive, low, high, p, p_below, p_above, df}],
                          of slopes that hypotheses asked for n_pairs and n_features as well;
                          sd of the term's measures over pairs, sd_true without their noise; se is what low,
                          high and p rest on: se_default of one seed, the spread of several
            unfitted: {"measure measure effects": why}, of those asked for; may be left out,
            by_seed: [{seed, quantity, mean, se, low, high}]               only where there are several,
            reliability: {co, sim, noise}: of log_odds and js_split over pairs,
            antipodal: {threshold, share, expected_share, expected_share_beta, expected_share_effective,
                        features_flagged, features_flagged_by, features_flagged_parallel, asymmetry_excess,
                        asymmetry_p,
                        variants: [{variant, n_features, share, expected_share, features_flagged,
                                    features_flagged_by, asymmetry_p}],   none in controls
                        pairs: [{seed, i, j, cosine, fired_i, fired_j, cofired, expected, phi, similarity,
                                 promotes_i: [tokens], contexts_i: [{before, token, after}], promotes_j,
                                 contexts_j}]},
            causal: {n_features, effect_size, n_ablated, undone, with_cosine, with_outputs, with_cooccurrence,
                     with_logits, logits_with_cosine}    correlations over pairs; may be left out,
            blob: {n_features, width, d_eff, mean, mean_floor, mean_square, mean_square_se, welch_bound,
                   random_mean_square, matched_mean_square, kurtosis, kurtosis_se, random_kurtosis,
                   matched_kurtosis, shape_p, null_mean, null_sd, null_share,
                   within: [{t, share, se, expected, expected_effective, expected_matched, matched_sd}]},
                                                                           may be left out
            shape: [{name, mean, se, low, high, df, p_below, p_above}]     numbers that claims can be about,
            hidden: {power: [{share, size, alignment, power}], smallest: [{share, size, alignment, sd}],
                     hidden: [{alignment, share}]}                         not in controls,
            histogram: {edges: [b + 1], counts: [b], null_density: [b] [, matched_density: [b]]},
            nulls: [{cooccurrence, similarity, effects, null, term, mean, sd}],
            specification_curve: {problem: str | null, n_features, n_specifications, permutations,
                joint: [{term, specifications, median, null_low, null_high, p_median, sign, share, p_share,
                         stouffer, p_stouffer, clear_above, clear_below}],
                by_choice: [{term, choice, value, specifications, median, share_above, clear_above,
                             clear_below, explains}],
                steps: [{term, step, effect, null_low, null_high, shares: {"choice: value": share}}]}
            rules: {problem: str | null, n_features, n_pairs, ceiling, best: rule | null,
                    scores: [{rule, r2, rank, over_post, over_first: {mean, se, low, high, df} each}]},
            map: {x_label, y_label, x_edges: [c + 1], y_edges: [r + 1], count: [r][c], mean: [r][c], null if
                  empty},
            examples: [{cooccurrence, similarity, i, j, cosine, x, y: as in the map, fired_i, fired_j,
                        cofired, expected, promotes_i: [tokens], promotes_j: [tokens]}]   may be left out}]
    sae_bias: {sentences: [str], rows: [{directions: "learned" | "given", decoder, k, l0, cooccurrence,
               outputs, seeds, n_pairs, n_recovered, true, sae, true_recovered, sae_recovered, recovered,
               match, bias, low, high}],
               shape: [{name, and the rest as in an arm's, or problem}]
               [, beside: [{arm, cooccurrence, similarity, claim, verdict, written_low, written_high, mean,
                            low, high, verdict_without, survives: bool, sentence}]]}    may be left out
    atlas: {command, sha256, summary: [str], theory, anchors, points, cells}  what `cofire atlas` found; see
                                                                           compare/beside.py
    calibration: {files: {name: sha256}, rows: [{table, world, effects, test, term, rejected, error,
                  replicates}]}                                           may be left out
    measures: {sentences: [str], rows: [{kind: "co-occurrence" | "outputs", measure, n_tokens, worlds,
               recovery, low, high, gap, gap_low, gap_high, bias, noise, frequency, drift, undefined}]}
                                                                           may be left out
    comparison: [{toy, real, term, problem: str | null, toy_mean, toy_reliability, real_mean,
                  real_reliability, mean, se, low, high, df, p_below, p_above}]
                                                            may be left out; numbers if no problem
    verdicts: [{arm, group, id, statement, claim, overall: bool, headline: bool, verdict, reason, p,
               p_against}]                                                 added by judge

    a cell: {cooccurrence: "exclusive" | "independent" | "co-occurring", similarity: "similar" | "different",
             n_pairs, n_features, mean, se, low, high, df, p_below, p_above, margin, p_equivalence,
             smallest_bound, detectable, sd, null_sd, quantiles: {"0.01": ...}, share_below, share_above,
             null_share, share_below_se, share_above_se, feasible_from, problem: str | null [, seed_sd],
             claim, verdict, reason}                       these three from judge, null in controls
    a difference in differences: {against: "exclusive" | "independent", mean, se, low, high, df, p_below,
                                  p_above [, seed_sd]}

tests/example_results.py builds a complete example.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from compare import figures, names, wording
from compare.beside import by_test, by_world
from compare.explorer import explorer_data
from compare.folders import whole_folder
from compare.results_file import RESULTS, check_folder, from_json, to_json
from compare.sae_bias import by_sae
from compare.sections import Tables, drawings, shown, tables
from compare.tables_geometry import hidden_sentences

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure

TEMPLATE, STYLE, PAGE = "report.html.j2", "report.css", "index.html"
SCRIPTS = ("vendor/plotly-basic.min.js", "templates/report.js")
"""Written into the page, which asks nothing of any network."""

PICTURES = ("cells",)
"""Figures that lie beside the page as PNG as well."""


def write_report(results: dict, folder: Path) -> Path:
    """Write the report of judged results; an older report there is replaced once the new one is whole.

    The page is made of the text of results.json, so that it comes out the same from a file: give
    from_json(text).
    """
    folder = Path(folder)
    check_folder(folder)
    with whole_folder(folder) as new:
        text = to_json(results)
        results = from_json(text)
        made = tables(results)
        for name, table in made.items():
            table.to_csv(new / f"{name}.csv", index=False, lineterminator="\n")
        (new / RESULTS).write_text(text, encoding="utf-8")
        (new / PAGE).write_text(render(results, made), encoding="utf-8")
        for name, draw in drawings(results, made):
            if name in PICTURES:
                (new / f"{name}.png").write_bytes(figures.to_png(draw))
    return folder / PAGE


def render(results: dict, made: Tables) -> str:
    """The page: the same text for the same results."""
    jinja = environment()
    return jinja.get_template(TEMPLATE).render(
        results=results,
        sections=shown(results),
        tables=made,
        figures={name: inline(draw) for name, draw in drawings(results, made)},
        sentences=wording.sentences(results),
        methods=wording.methods(results),
        limits=wording.limits(results),
        leaning=wording.leaning_arms(results),
        doubtful=wording.doubtful,
        as_much_in=partial(wording.as_much_in, results),
        without_controls=partial(wording.without_controls, results),
        unknown=wording.unknown_quality(results),
        explorer=explorer_data(results, made),
        scripts=[(Path(__file__).parent / name).read_text(encoding="utf-8") for name in SCRIPTS],
        style=jinja.get_template(STYLE).render(),
        claims=names.CLAIMS,
    )


def environment() -> "Environment":
    """Where templates and filters of a page come from; everything in them is escaped unless marked safe."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("compare"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        number=wording.number,
        compact=wording.compact,
        interval=wording.interval,
        quantity=quantity,
        bits="{:.3f}".format,
        percent=percent,
        typographic=typographic,
        hidden_sentences=hidden_sentences,
        by_sae=by_sae,
        measure_name=names.measure_name,
        effects_name=names.effects_name,
        term_name=names.term_name,
        test_name=names.test_name,
        by_test=by_test,
        by_world=by_world,
    )
    return made


def inline(draw: "Callable[[], Figure]") -> str:
    """A figure's SVG in the ink of the page, without ids that several figures share, 104 pixels an inch."""
    svg = re.sub(r'<g id="[^"]*">', "<g>", figures.to_svg(draw)).replace(figures.INK, "currentColor")

    def size(found: re.Match) -> str:
        return f'style="--native: {float(found[1]) / 72 * 104:.0f}px"'

    return re.sub(r'width="([0-9.]+)pt" height="[0-9.]+pt"', size, svg, count=1)


def typographic(text: str) -> str:
    """Quotes, apostrophes and times signs as print has them."""
    text = re.sub(r"(?<!\w)'([^']+)'(?!\w)", r"“\1”", text)
    return text.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}").replace(" x ", " \N{MULTIPLICATION SIGN} ")


def percent(share: float | None, digits: int = 0) -> str:
    """A share in percent; a dash where it is not known."""
    return "\N{EN DASH}" if share is None or share != share else f"{100 * share:.{digits}f} %"


def quantity(value: object) -> str:
    """A number without sign, as a person writes it: 1,980; 0.83; 1.5e-05."""
    if value is None or value != value:
        return "\N{EN DASH}"
    if isinstance(value, int) or (isinstance(value, float) and value == round(value) and abs(value) < 1e15):
        return f"{round(value):,}"
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"
