"""Sentences of the page, made from the numbers and from nothing else."""

from compare import reliability
from compare.cells import difference, find_cell
from compare.hypotheses import are_own
from compare.names import cell_name
from compare.reliability import is_reliable
from compare.sae_bias import ENOUGH

VERDICTS = ("CONFIRMED", "REFUTED", "UNDECIDED")
DECIDING = ("exclusive", "similar")
"""The cell in which the post's claim and the merging of same-output features part ways."""

POSITIVE = ("co-occurring", "similar")

OWN_TOLD = 4
"""Claims of one's own that are told on the first screen."""


def number(value: float | None, digits: int = 3) -> str:
    """A signed number with a true minus sign; a dash where there is none."""
    if value is None or value != value:
        return "\N{EN DASH}"
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}") if value else f"{value:.{digits}f}"


def compact(value: float | None) -> str:
    """The same in fewer characters: +.141."""
    return number(value).replace("0.", ".", 1)


def interval(row: dict, digits: int = 3) -> str:
    """Mean and interval: +0.141 [+0.137, +0.145]; the mean alone where there is no interval."""
    if row["low"] is None or row["low"] != row["low"]:
        return number(row["mean"], digits)
    return f"{number(row['mean'], digits)} [{number(row['low'], digits)}, {number(row['high'], digits)}]"


def arms_of(results: dict, group: str) -> list[dict]:
    """Arms of a group, in order."""
    return [arm for arm in results["arms"] if arm["group"] == group]


def controls_of(results: dict, arm: dict) -> list[dict]:
    """The controls of an arm, in order."""
    return [other for other in results["arms"] if other["control_of"] == arm["name"]]


def of_unknown_quality(results: dict) -> list[str]:
    """Real arms of whose language model the bits per byte are not known."""
    known = {model["name"] for model in results["models"] if "bits_per_byte" in model["quality"]}
    return [f"“{arm['name']}”" for arm in arms_of(results, "real") if not known & set(arm["models"])]


def unknown_quality(results: dict) -> str | None:
    """What follows for the verdicts where the quality of models is not known; None where it is."""
    unknown = of_unknown_quality(results)
    if not unknown:
        return None
    follows = (
        "every claim about it stays undecided"
        if results["hypotheses"]["gates"]["beats"]
        else "the hypotheses ask for nothing, and features of a model that learned little may show anything"
    )
    return f"How good the language model behind {and_list(unknown)} is is not known: {follows}."


def and_list(words: list[str]) -> str:
    """a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def sentences(results: dict) -> list[str]:
    """Plain sentences to quote: claims of one's own, each arm of the real group, then the toys, then what the
    controls show.
    """
    found = [own_sentence(results)] if are_own(results) else []
    found += [real_sentence(results, arm) for arm in arms_of(results, "real")]
    if arms_of(results, "toy"):
        found.append(toy_sentence(results))
    found += [control_sentence(results, arm) for arm in arms_of(results, "real") if controls_of(results, arm)]
    return found


def own_sentence(results: dict) -> str:
    """The first verdicts of a file that is not the presets, and how many there are."""
    rows = results["verdicts"]
    told = [f"{row['id']} {row['verdict']} in “{row['arm']}” ({row['reason']})" for row in rows[:OWN_TOLD]]
    more = f"; and {len(rows) - OWN_TOLD} more below" if len(rows) > OWN_TOLD else ""
    return f"Claims of {results['hypotheses']['file']}: {'; '.join(told) or 'none was judged'}{more}."


def real_sentence(results: dict, arm: dict) -> str:
    """How many of the six cells came out as claimed, with their numbers, and what a direction that all
    features share has to do with it; why, where all stay open for one reason.
    """
    cells = arm["cells"]
    reasons = {cell["reason"] for cell in cells}
    if {cell["verdict"] for cell in cells} == {"UNDECIDED"} and len(reasons) == 1:
        return f"All six cells in “{arm['name']}” stay undecided: {reasons.pop()}."
    confirmed = [
        f"{cell_name(cell['cooccurrence'], cell['similarity'])}, {interval(cell)}"
        for cell in cells
        if cell["verdict"] == "CONFIRMED"
    ]
    share = 100 * sum(cell["n_pairs"] for cell in cells) / arm["n_pairs"]
    text = (
        f"Of six cells in “{arm['name']}”, which hold {'at least ' * (arm['seeds'] > 1)}"
        f"{share:.{int(share < 10)}f} % of its pairs (of the others co-occurrence stays open, or outputs lie "
        f"between similar and different), {counted(cells)}"
    )
    if confirmed:
        text += f". As claimed: {'; '.join(confirmed)}"
    matched = sum(cell["verdict"] == "REFUTED" and bool(as_much_in(results, arm, cell)) for cell in cells)
    if matched:
        text += f". Of those against it, {matched} go{'es' * (matched == 1)} no further than in a control"
    is_leaning = arm in leaning_arms(results)
    is_judged = all(cell["verdict"] for cell in arm["centred"]["cells"])
    return f"{text}." + f" {centred_sentence(arm)}" * (is_leaning and is_judged)


def centred_sentence(arm: dict) -> str:
    """What becomes of the cells when the direction that all features share is taken out."""
    shared = number(arm["centred"]["mean_cosine"])
    return (
        f"On average directions in “{arm['name']}” lean one way (mean cosine of all pairs {shared}); with "
        f"that taken out, {counted(arm['centred']['cells'])}."
    )


def counted(cells: list[dict]) -> str:
    """How many cells came out in each way."""
    said = [cell["verdict"] for cell in cells]
    ways = zip(VERDICTS, ("came out as the post claims", "against it", "stay undecided"), strict=True)
    counts = [f"{said.count(verdict) or 'none'} {words}" for verdict, words in ways]
    return and_list(counts).replace(" 1 stay ", " 1 stays ")


def leaning_arms(results: dict) -> list[dict]:
    """Arms whose directions lean one way on average, beyond the margin of zero, and the controls of such."""
    leaning = [arm for arm in results["arms"] if arm["centred"]["mean_cosine"] > arm["cells"][0]["margin"]]
    names = [arm["name"] for arm in leaning]
    return [arm for arm in results["arms"] if arm in leaning or arm["control_of"] in names]


def doubtful(arm: dict) -> str:
    """The reliability of an arm's outputs where it is low, so that chance has a part in what is similar, or
    not known; else nothing.
    """
    share = arm["reliability"]["sim"]
    return "" if is_reliable(share) else reliability.number(share)


def as_much_in(results: dict, arm: dict, cell: dict, *, centred: bool = False) -> list[str]:
    """Controls that show as much of a cell's sign, by name; `centred` without the shared direction."""
    name = (cell["cooccurrence"], cell["similarity"])
    shown = []
    for control in controls_of(results, arm):
        beyond = difference(cell, find_cell(control["centred"] if centred else control, name))
        if beyond["low"] <= 0 if cell["mean"] > 0 else beyond["high"] >= 0:
            shown.append(control["name"])
    return shown


def without_controls(results: dict, arm: dict, cell: dict) -> list[str]:
    """Controls in which no pair falls into a cell, by name: nothing to hold it against."""
    name = (cell["cooccurrence"], cell["similarity"])
    return [one["name"] for one in controls_of(results, arm) if not find_cell(one, name)["n_pairs"]]


def toy_sentence(results: dict) -> str:
    """The whole table in the toys that know of outputs by either reading, and the cell that decides it."""
    every = arms_of(results, "toy")
    toys = [arm for arm in every if arm["knows_outputs"]] or every
    names = [arm["name"] for arm in toys]
    rows = [row for row in results["verdicts"] if row["headline"] and row["arm"] in names]
    readings = []
    for reading in dict.fromkeys(row["id"] for row in rows):
        said = [row["verdict"] for row in rows if row["id"] == reading]
        others = [
            f"{words} in {said.count(verdict)}"
            for verdict, words in (("REFUTED", "refuted"), ("UNDECIDED", "left open"))
            if said.count(verdict)
        ]
        held = f"in {said.count('CONFIRMED') or 'none'}" + f" ({', '.join(others)})" * bool(others)
        read = "as" if readings else "with “do not co-occur” read as"
        readings.append(f"{held} {read} {reading.removeprefix('table-')}")
    cells = [(find_cell(arm, DECIDING), arm["name"]) for arm in toys]
    gates = results["hypotheses"]["gates"]
    means = sorted(
        (cell["mean"], name)
        for cell, name in cells
        if cell["n_pairs"] >= max(1, gates["min_pairs"]) and cell["n_features"] >= gates["min_features"]
    )
    text = f"Of {len(toys)} toy{'s' * (len(toys) > 1)} whose truth is known"
    if len(toys) < len(every):
        text += " and in which outputs are part of the loss"
    if readings:
        text += f", the post's whole table holds {and_list(readings)}"
    else:
        text += ", nothing was asked about the post's whole table"
    if means:
        low, high = (f"{number(mean, 2)} ({name})" for mean, name in (means[0], means[-1]))
        had = f"mean cosines from {low} to {high}" if len(means) > 1 else f"a mean cosine of {low}"
        text += f"; the deciding cell, exclusive features with similar outputs, had {had}"
    return text + "."


def control_sentence(results: dict, arm: dict) -> str:
    """What the controls show in the cell where the post claims a positive cosine, and how far to trust it."""
    cell = find_cell(arm, POSITIVE)
    if not cell["n_pairs"]:
        return (
            f"In “{arm['name']}” no pair is both co-occurring and similar, so the controls have nothing to "
            "answer."
        )
    others = [
        (control, find_cell(control, POSITIVE))
        for control in controls_of(results, arm)
        if find_cell(control, POSITIVE)["n_pairs"]
    ]
    start = (
        f"Co-occurring features with similar outputs have a mean cosine of {interval(cell)} in "
        f"“{arm['name']}”"
    )
    if not others:
        return f"{start}; no control has such pairs, so what the method alone would give is not known."
    control, strongest = max(others, key=lambda pair: pair[1]["mean"])
    many = f", the highest of {len(others)} controls" * (len(others) > 1)
    beyond = difference(cell, strongest)
    side = "which its interval does not tell from zero"
    if beyond["low"] > 0:
        side = "which that control does not account for"
    elif beyond["high"] < 0:
        side = "so the control shows more, not less"
    text = (
        f"{start} and {number(strongest['mean'])} in “{control['name']}”{many}: an excess of "
        f"{interval(beyond)}, {side}"
    )
    if beyond["low"] > 0:
        text += written_by_saes(results)
    if cell["verdict"] == "UNDECIDED":
        text += f". No verdict rests on it: {cell['reason'].split('; but ')[-1]}"
    return text + "."


def written_by_saes(results: dict) -> str:
    """What SAEs added to the positive cell of toys whose directions were given, as the end of a sentence."""
    rows = [
        row
        for row in results.get("sae_bias", {}).get("rows", [])
        if (row["directions"], row["cooccurrence"], row["outputs"]) == ("given", POSITIVE[0], "same")
        and row["recovered"] >= ENOUGH
    ]
    if not rows:
        return ""
    low, high = (number(pick(row["bias"] for row in rows), 2) for pick in (min, max))
    ends = min(row["low"] for row in rows), max(row["high"] for row in rows)
    return (
        f"; and where toys let it be seen, SAEs write {low} to {high} into this cell by themselves "
        f"(means; with their intervals {number(ends[0], 2)} to {number(ends[1], 2)})"
    )


def methods(results: dict) -> list[str]:
    """What was done, from what was run."""
    arms = results["arms"]
    several = [arm for arm in arms if arm["seeds"] > 1]
    rules = results["hypotheses"]
    alive = ", ".join(f"{arm['n_alive']:,} in “{arm['name']}”" for arm in arms)
    text = [
        "Cosine: between decoder directions at unit length, over all pairs i < j of features that fired "
        f"often enough ({alive}).",
        "Cells: co-occurrence by the level named “"
        + "”, “".join(dict.fromkeys(arm["cooccurrence"] for arm in arms))
        + "”, output similarity by “"
        + "”, “".join(dict.fromkeys(arm["similarity"] for arm in arms))
        + "”. Pairs whose level the data leave open are in no cell.",
        "Errors of one dictionary: pairs share features, so intervals delete one feature at a time "
        "(jackknife less HC1, floored at HC1), t on the features that take part less one, fewer where few "
        "have most pairs. The dyadic sandwich and the naive error stand beside them in the slopes.",
        "Verdicts: CONFIRMED where the whole 95 % interval lies on the claimed side, REFUTED where it "
        "lies on the other or, for a sign, within the margin of zero, else UNDECIDED. “= 0” means within "
        f"±{rules['margin']:g} / √(effective dimension). A claimed sign in a language model is confirmed "
        "only if the excess over each of its controls has it too. A whole table holds only if all its cells "
        "do; it is refuted only where one of its k cells is so at 5 % / k.",
        "Nulls: the band in histograms and the shares in cells are those of random directions in the "
        "arm's effective dimension; antipodal pairs and the blob are held against random directions of the "
        "same mean and covariance, features flagged at a false discovery rate of 5 %.",
    ]
    if several:
        text.append(
            "Seeds: "
            + ", ".join(f"{arm['seeds']} in “{arm['name']}”" for arm in several)
            + ". Where there are several, the spread between them is the error of every cell and slope: "
            "intervals then speak of other seeds on the same model and tokens, not of other tokens."
        )
    return text


def limits(results: dict) -> list[str]:
    """What these numbers cannot say, from what was run."""
    text = []
    if results["quick"]:
        text.append(
            "This was a quick run: fewer seeds, steps and tokens. It shows that everything works; quote no "
            "number."
        )
    unknown = unknown_quality(results)
    if unknown:
        text.append(unknown)
    single = [arm["name"] for arm in results["arms"] if arm["group"] == "real" and arm["seeds"] == 1]
    if single:
        text.append(
            f"One dictionary stands behind {and_list([f'“{name}”' for name in single])}: another seed of the "
            "SAE would give other features. Intervals speak of features like these, not of dictionaries."
        )
    empty = [
        f"{cell_name(cell['cooccurrence'], cell['similarity'])} in “{arm['name']}”"
        for arm in results["arms"]
        if arm["group"] != "control"
        for cell in arm["cells"]
        if cell["problem"]
    ]
    if empty:
        text.append(f"No error, and so no verdict, for {and_list(empty)}.")
    real = arms_of(results, "real")
    if real:
        text.append(
            "Output similarity in a language model is measured on the tokens where features fire, so it is "
            "itself downstream of co-occurrence; it says nothing yet about what a feature causes."
        )
        text.append(
            "Exclusive pairs can be told only where many joint firings were to be expected; rare features "
            "stay undetermined, and the exclusive cells speak of frequent ones."
        )
    text.append(
        "Cell boundaries and measures are choices, fixed before the run; other choices can change the size "
        "of a cell's mean, and have changed signs elsewhere."
    )
    return text
