"""Which systems are compared: the language model and controls in which the effect cannot exist.

It knows both toy and real; the toys themselves are in toy_arms, SAEs on toys in toy_saes.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from compare import on_device
from compare.config import make_config, read_toml
from compare.processes import Task, in_processes, kept
from compare.progress import Step
from compare.run import Arm, Measured, ReportConfig, entry_tasks, load_seeds, run, surrogate_arm, which_seed
from compare.system import System
from compare.toy_arms import measures_on_toys, toy_arm, worn_arm
from compare.toy_saes import sae_on_toys, sae_tasks, toys_folder
from real.config import CHOICES, RealConfig, SAEConfig, sae_folder
from toy.config import ToyConfig

if TYPE_CHECKING:
    from real.system import RealSystem

LANGUAGE_MODEL = "language model"
OWN_FEATURES = 4096
OWN_ACTIVATIONS = 800_000
OWN_TOKENS = 100_000
"""Of the SAEs that are trained within a run, those of controls: features at most, activations, and tokens
that these are of at most, read over and over. On the bundled model drawn anew rows then have a cosine of .13
with their start, as the SAEs of the trained one have; after 100,000 activations they had .87. A smaller SAE
sees as many activations as the arm's own, where it is known how many that were, if they take no longer than
these do with 4,096 features of width 512.
"""

CONTROLS = {
    "frozen": (
        "frozen decoder, matched",
        "the same model, the decoder held at random directions of the trained one's mean and covariance",
    ),
    "blocks": (
        "re-randomised model, embeddings kept",
        "each tensor but token embeddings and unembedding resampled with its own mean and variance, outputs "
        "as uncertain as before",
    ),
    "all": (
        "re-randomised model, embeddings drawn anew as well",
        "each tensor resampled with its own mean and variance, outputs as uncertain as before",
    ),
}
"""Controls with SAEs of their own, by what `measure --control` calls them: name and note of the arm."""

TRAINED = ("topk-4096-seed0", "topk-4096-seed1", "topk-4096-seed2")
"""Bundled SAEs, seeds of one another."""


def real_arms(config: ReportConfig) -> list[Arm]:
    """The bundled language model with its SAE, and what method and geometry give by themselves."""

    chosen = RealConfig(sae=TRAINED[0], n_tokens=config.n_tokens, seed=config.seed, device=config.device)
    if config.quick:
        chosen = replace(chosen, effect_positions=2, effect_sequences=20, effect_firings=2)

    base = loaded_once(chosen)
    saes = TRAINED[:1] if config.quick else TRAINED
    trained = real_arm(LANGUAGE_MODEL, chosen, saes, "the bundled model through its TopK SAE", base)
    trained = replace(trained, effects=config.choices)
    most = config.max_features if config.quick else OWN_FEATURES

    kinds = ("frozen", "blocks") if config.quick else ("frozen", "blocks", "all")
    controls = [
        control_arm(trained, base, kind, saes[:1] if kind == "all" else saes, chosen, most) for kind in kinds
    ]
    return [trained, surrogate_arm(trained, config.seed), *controls, worn_arm(LANGUAGE_MODEL, config)]


def run_with_toys(arms: Sequence[Arm], config: ReportConfig, runs: Path, step: Step) -> dict:
    """The results of a run, and what only a known truth can tell: the keys `sae_bias` and `measures`.

    Toys, SAEs on toys and known worlds need nothing of one another: they come first, side by side.
    """
    known = Task(toys_folder(config, runs) / "measures.json", partial(measures_on_toys, config))
    with step("toys, SAEs on toys, known worlds, each in a process") as progress:
        in_processes([*entry_tasks(arms, config, runs), *sae_tasks(config, runs), known], progress)
    results = run(arms, config, runs, step)
    return results | {"sae_bias": sae_on_toys(config, runs), "measures": kept(known.path)}


def loaded_once(config: RealConfig) -> "Callable[[], RealSystem]":
    """The system of a config, loaded when it is first asked for."""

    @cache
    def load() -> "RealSystem":
        from real.system import RealSystem

        return RealSystem.load(config)

    return load


def control_arm(
    arm: Arm,
    base: "Callable[[], RealSystem]",
    kind: str,
    saes: Sequence[str],
    config: RealConfig,
    n_features: int = OWN_FEATURES,
) -> Arm:
    """One of CONTROLS of a language model's arm: for each SAE named a system with draws of its own and an SAE
    of its own, of n_features at most, trained within the run.
    """
    name, note = CONTROLS[kind]
    recipe, said = recipe_like(saes[0], n_features, min(OWN_TOKENS, config.n_tokens))

    of = "" if config.model == "bundled" else f" of {Path(config.model).name}"

    def systems(before: Measured, step: Step) -> Iterator[System]:
        from real.control_systems import frozen_system, untrained_system

        untrained = partial(untrained_system, keep_embeddings=kind == "blocks")
        make = frozen_system if kind == "frozen" else untrained
        # all are looked at before one is trained
        trained = [base() if sae == base().config.sae else base().with_sae(sae) for sae in saes]
        for number, system in enumerate(trained):
            which = which_seed(number, len(saes))
            own = replace(recipe, seed=config.seed + number)
            with step(f"{name}: training its SAE{which}") as progress:
                made = make(system, own, progress=progress)
            about = {key: made.sae.metadata[key] for key in ("note", "quality")}
            about |= {"name": f"SAE {name}{of}{which}", "kind": "sae", "in_sample": True}
            made.provenance["models"] = [about]
            yield made

    return replace(
        arm,
        name=name,
        group="control",
        note=f"{note}; {said}",
        systems=systems,
        n_systems=len(saes),
        control_of=arm.name,
        models=(),
        effects=arm.effects if kind == "frozen" else None,
    )


def recipe_like(sae: str, n_features: int, n_tokens: int) -> tuple[SAEConfig, str]:
    """How the SAE of a control is trained, on so many tokens; and in words.

    As the SAE of that name was, but with a trained decoder and n_features at most, where its metadata says
    how, as those of train-sae do. Of another its kind and k are known, and what cannot be trained is TopK.
    """
    from real.sae_files import load_sae

    there, alike = load_sae(sae_folder(sae)), ", trained alike"
    n_activations = OWN_ACTIVATIONS
    try:
        own = make_config(SAEConfig, there.metadata.get("training"), source=sae)
        affordable = n_activations * 4096 * 512 // (there.n_features * there.width)
        n_activations = min(own.n_activations, max(n_activations, affordable))
    except ValueError:  # another program's, or another version's: it does not say how in our words
        kind = there.architecture if there.architecture in CHOICES["architecture"] else "topk"
        k = there.k or SAEConfig.k
        own, alike = SAEConfig(architecture=kind, k=k, n_features=max(k, there.n_features)), ""
    batch, n_features = 512, min(there.n_features, n_features)
    recipe = replace(
        own,
        n_features=n_features,
        k=min(own.k, n_features),
        decoder="trained",
        matched_to="",
        dtype="float32",
        n_activations=n_activations,
        batch=batch,
        part=max(batch, n_tokens // batch * batch),
    )
    size = f"{n_features:,} features, {recipe.kind}"
    seen = f"{n_activations:,} activations, in batches of {batch}, of up to {n_tokens:,} of the tokens"
    return recipe, f"an SAE of its own{alike}: {size}, {seen} measured"


def real_arm(
    name: str,
    config: RealConfig,
    saes: Sequence[str],
    note: str,
    base: "Callable[[], RealSystem] | None" = None,
    *,
    scored: bool = True,
) -> Arm:
    """A language model with SAEs at one of its sites, seeds of one another; `base` has its model and text.

    With `scored`, how good these models are is asked now.
    """
    configs = [replace(config, sae=sae) for sae in saes]

    def systems(before: Measured, step: Step) -> Iterator[System]:
        from real.system import RealSystem

        first = base() if base else RealSystem.load(configs[0])
        for one in configs[1:]:  # a wrong one is refused before the first is measured, not after
            first.with_sae(one.sae)
        for one in configs:
            yield first if one == first.config else first.with_sae(one.sae)

    folders = [Path(config.model_source), *(one.sae_folder for one in configs)]
    weights = [
        path
        for folder in folders
        if folder.is_dir()
        for path in sorted(folder.iterdir())
        if path.suffix in {".json", ".safetensors"}
    ]
    inputs = (*weights, *([config.text_file] if config.text_file.is_file() else []))
    return Arm(
        name=name,
        group="real",
        note=note,
        systems=systems,
        n_systems=len(saes),
        n_tokens=config.n_tokens,
        models=models_behind(config, saes) if scored else (),
        inputs=inputs,
    )


def models_behind(config: RealConfig, saes: Sequence[str]) -> tuple[dict, ...]:
    """The language model of a config and SAEs on it, with the quality that gates look at.

    The bundled ones were scored when they were trained. Any other is scored now, on the text that it is
    measured on. An SAE says in its metadata how good it is; one from elsewhere may say nothing.
    """
    from real.language_model import LanguageModel
    from real.lm_scoring import score
    from real.sae_files import read_metadata
    from real.text import read_text

    dictionaries = []
    for sae, name in zip(saes, short_names(saes), strict=True):
        metadata = read_metadata(sae_folder(sae))
        about = {"note": metadata.get("note", ""), "quality": metadata.get("quality", {})}
        dictionaries.append({"name": f"SAE {name}", "kind": "sae"} | about)
    if config.bundled:
        quality = json.loads((config.bundled / "quality.json").read_text())
        model = {"name": f"{config.model} language model", "kind": "language model"} | quality
    else:
        text = read_text(config.text_file, split=config.split)
        loaded = LanguageModel.load(config.model_source, device=config.device, name=config.model)
        model = score(loaded, text, context=config.context)
    return model, *dictionaries


def short_names(paths: Sequence[str]) -> list[str]:
    """The last parts of each path, as many as tell them apart."""
    parts = [Path(path).parts for path in paths]
    tails = [["/".join(one[-k:]) for one in parts] for k in range(1, max(map(len, parts)) + 1)]
    return next(names for names in tails if len(set(names)) == len(set(parts)))


def system_of(
    system: str,
    values: dict,
    source: str,
    surrogate: Path | None = None,
    *,
    saes: Sequence[str] = (),
    effects: bool = False,
    control: str | None = None,
) -> tuple[Arm, Measured]:
    """What a user asks to measure: a toy's .toml, or a language model with an SAE; and what is there already.

    Several SAEs are seeds of one another: replicates, each measured into an Evidence of its own. With
    `surrogate`, Evidence of the same system, it is the Gaussian surrogate with that Evidence's moments. With
    `effects`, causal effects are measured of the features that `test` looks at by default. With
    `control`, one of CONTROLS, it is that control of the language model, as often as there are SAEs.
    """
    is_toy = system.endswith(".toml")
    if control is not None and (is_toy or surrogate):
        found = "a toy" if is_toy else "a surrogate of it as well"
        raise ValueError(
            f"expected a language model to make a control of, found {found}: ask for one of them."
        )
    if control is not None and control not in CONTROLS:
        known = ", ".join(map(repr, CONTROLS))
        raise ValueError(f"expected a control among {known}, found {control!r}: choose one.")
    if is_toy:
        toy = make_config(ToyConfig, read_toml(Path(system)) | values, source=system)
        arm = toy_arm(Path(system).stem, toy)
    else:
        real = make_config(RealConfig, values | {"model": system}, source=source)
        on_device.check(real.device)
        chosen = saes or [real.sae]
        shown = ", ".join(short_names(chosen))
        name = f"{Path(system).name} {real.site} {shown}"
        arm = real_arm(name, real, chosen, "", scored=control is None)
        if control is not None:
            first = replace(real, sae=chosen[0])
            arm = control_arm(arm, loaded_once(first), control, chosen, first)
    if effects:
        arm = replace(arm, effects=ReportConfig(seed=values.get("seed", 0)).choices)
    if surrogate is None:
        return arm, {}
    seed = values.get("seed", 0)
    return surrogate_arm(arm, seed), {arm.name: load_seeds(surrogate)}


def train_language_model(values: dict, source: str, corpus: Path, out: Path) -> Path:
    """Train a language model of the bundled kind on a corpus (a folder, fetched and built if it is not there,
    or a file of documents).
    """
    from real.corpus import build_corpus
    from real.lm_training import LMConfig, train_lm

    config = make_config(LMConfig, values, source=source)
    if not corpus.is_file() and not (corpus / "manifest.json").is_file():
        build_corpus(corpus, corpus / "packages")
    return train_lm(config, corpus, out)


def train_dictionary(values: dict, source: str, out: Path, keep: Path | None, step: Step) -> Path:
    """Train an SAE; the table [reads] of its config names model, site and text, all else is the SAE's own."""
    from real.sae_on_text import train_on_text

    reads = make_config(RealConfig, values.pop("reads", {}), source=source)
    on_device.check(reads.device)
    config = make_config(SAEConfig, values, source=source)
    with step(f"training an SAE of {config.n_features:,} features") as progress:
        train_on_text(config, reads, out, keep=keep, progress=progress)
    return out


def configs() -> dict[str, dict[str, type]]:
    """The tables of every config file, "" the unnamed one, by the command; `toy` is a toy's own .toml."""
    from real.lm_config import LMConfig

    kinds = {"report": ReportConfig, "measure": RealConfig, "toy": ToyConfig, "train-lm": LMConfig}
    return {name: {"": kind} for name, kind in kinds.items()} | {
        "train-sae": {"": SAEConfig, "reads": RealConfig}
    }


def compare_dictionaries(values: dict, source: str, first: Path, second: Path) -> str:
    """Agreement of two SAEs over the features that fire on the text of [reads], kept with the first one."""
    from real.sae_on_text import record_agreement

    reads = make_config(RealConfig, values.get("reads", {}), source=source)
    found = record_agreement(first, second, reads)
    share = (found.mean - found.null_mean) / (1 - found.null_mean)
    return (
        f"mean largest cosine {found.mean:.3f}, with random directions of the same mean and covariance "
        f"{found.null_mean:.3f}: {round(share, 2) + 0.0:.0%} of the way from these to identity"
    )


def fetch_model(folder: Path) -> Path:
    """SmolLM2-135M into a folder that `measure` and `train-sae` take as a model."""
    from real.smollm import fetch_smollm

    return fetch_smollm(folder)
