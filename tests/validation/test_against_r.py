"""The regression and the permutations beside R's own (`sandwich`, `sna`).

`python tests/validation/test_against_r.py` runs R anew and stores what it found in r_results.json, with
versions and the hash of what R read; every run of the tests holds our numbers against the stored ones.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from compare.permutation import permute
from compare.regress import fit

sys.path.insert(0, str(Path(__file__).parents[1]))

from worlds import World

HERE = Path(__file__).parent
STORED = HERE / "r_results.json"
SLOPES = ["co", "sim", "co:sim"]
CASES = {"complete": (1.0, 1000), "a tenth of the pairs missing": (0.9, 0)}
"""Share of pairs used, and permutations (which sna has for complete pairs only)."""


def arrays_of(case):
    """Cosine, co, sim, mask of a world with skewed co-occurrence and a planted interaction."""
    rng = np.random.default_rng(45)
    drawn = World(n_features=45, skew=0.5, effect=(0.0, 0.1, 0.2)).draw(rng)
    mask = np.triu(rng.random((45, 45)) < CASES[case][0], 1)
    return drawn.cosine, drawn.cooccurrence, drawn.similarity, mask


def run_r(case, folder):
    """What R finds, with the hash of what it was given."""
    cosine, co, sim, mask = arrays_of(case)
    i, j = np.nonzero(mask)
    columns = {"i": i, "j": j, "cosine": cosine[i, j], "co": co[i, j], "sim": sim[i, j]}
    pairs = pd.DataFrame(columns)
    pairs[["co", "sim"]] -= pairs[["co", "sim"]].mean()
    given, found = Path(folder) / "pairs.csv", Path(folder) / "results.json"
    pairs.to_csv(given, index=False, float_format="%.17g")
    command = ["Rscript", str(HERE / "validate.R"), str(given), str(CASES[case][1]), str(found)]
    subprocess.run(command, check=True, capture_output=True)
    results = json.loads(found.read_text())
    results["provenance"]["sha256 of pairs.csv"] = hashlib.sha256(given.read_bytes()).hexdigest()
    return results


def why_not() -> str:
    """Why R cannot be asked, or nothing."""
    if shutil.which("Rscript") is None:
        return "Rscript is not installed"
    asked = 'stopifnot(all(c("sna", "sandwich", "jsonlite") %in% rownames(installed.packages())))'
    if subprocess.run(["Rscript", "-e", asked], capture_output=True).returncode:
        return "R lacks sna, sandwich or jsonlite"
    return ""


def check(case, r):
    cosine, co, sim, mask = arrays_of(case)
    found = fit(cosine, co, sim, mask=mask)
    np.testing.assert_allclose(found.params, r["coef"], rtol=1e-9)
    for kind in ("naive", "hc0", "hc1", "hc2", "hc3"):
        np.testing.assert_allclose(found.se(kind), r[f"se_{kind}"], rtol=1e-9)
    np.testing.assert_allclose(found.cov("dyadic"), r["dyadic"], rtol=1e-8)
    np.testing.assert_allclose(found.cov("jackknife"), r["jackknife"], rtol=1e-7)
    effects = fit(cosine, co, sim, mask=mask, effects="additive")
    np.testing.assert_allclose(effects.params[SLOPES], r["effects_coef"], rtol=1e-9)
    np.testing.assert_allclose(effects.se("naive")[SLOPES], r["effects_se_naive"], rtol=1e-9)
    np.testing.assert_allclose(effects.se("hc1")[SLOPES], r["effects_se_hc1"], rtol=1e-9)
    if "netlm_p_two" in r:
        permuted = permute(cosine, co, sim, permutations=3000)
        p = np.array(r["netlm_p_two"])
        bound = 4 * np.sqrt(p * (1 - p) * (1 / 3000 + 1 / r["permutations"])) + 0.004
        assert (np.abs(permuted.pvalues - p) <= bound).all()
        np.testing.assert_allclose(permuted.null_sd, r["netlm_null_sd"], rtol=0.1)


@pytest.mark.parametrize("case", CASES)
def test_what_R_found_is_found_here(case):
    check(case, json.loads(STORED.read_text())[case])


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_R_finds_now_what_is_found_here(case, tmp_path):
    if why_not():
        pytest.skip(why_not())
    check(case, run_r(case, tmp_path))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        STORED.write_text(json.dumps({case: run_r(case, folder) for case in CASES}, indent=1) + "\n")
