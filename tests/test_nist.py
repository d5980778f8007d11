"""NIST's linear regression sets, laid out as pairs, through the solver that pairs of features go through."""

import json
from math import comb
from pathlib import Path

import numpy as np
import pytest

from compare.regress import dyadic_ols

SETS = json.loads((Path(__file__).parent / "nist" / "linear.json").read_text())

DIGITS = {
    "Norris": (12, 12),
    "Pontius": (12, 12),
    "NoInt1": (13, 13),
    "NoInt2": (13, 13),
    "Longley": (11, 8),
    "Wampler1": (9, None),
    "Wampler2": (12, None),
    "Wampler3": (9, 9),
    "Wampler4": (9, 9),
    "Wampler5": (8, 9),
}
"""Correct digits asked for: of the estimates, and of their naive errors where these are not 0."""


def columns_of(name):
    x = np.array(SETS[name]["x"], dtype=float).reshape(len(SETS[name]["y"]), -1)
    return x ** np.arange(1, SETS[name]["degree"] + 1) if SETS[name]["degree"] > 1 else x


def regression(columns, y, constant):
    """Rows as the first pairs of as few features as hold them."""
    n = next(n for n in range(3, 99) if comb(n, 2) >= len(y))
    i, j = (index[: len(y)] for index in np.triu_indices(n, 1))
    mask = np.zeros((n, n), dtype=bool)
    mask[i, j] = True

    def as_pairs(values):
        array = np.zeros((n, n))
        array[i, j] = array[j, i] = values
        return array

    named = {f"x{k}": as_pairs(column) for k, column in enumerate(columns.T, 1)}
    return dyadic_ols(as_pairs(y), named, mask=mask, constant=constant)


def correct_digits(found, certified):
    error = np.abs(np.asarray(found) / np.asarray(certified) - 1)
    return -np.log10(np.maximum(error, 1e-16)).min()


@pytest.mark.parametrize("name", DIGITS)
def test_certified_digits(name):
    known, (of_estimates, of_errors) = SETS[name], DIGITS[name]
    found = regression(columns_of(name), known["y"], known["constant"])
    assert correct_digits(found.params, known["estimates"]) >= of_estimates
    if of_errors is not None:
        assert correct_digits(found.se("naive"), known["deviations"]) >= of_errors


def test_filip_is_refused_as_it_stands_since_its_sums_of_squares_lose_all_digits():
    with pytest.raises(ValueError, match="expected regressors that are not collinear"):
        regression(columns_of("Filip"), SETS["Filip"]["y"], constant=True)


def test_filip_in_legendre_polynomials_of_x_has_the_certified_coefficients():
    """The same polynomial in a basis that double precision can tell apart, and back to powers of x."""
    x, y = np.array(SETS["Filip"]["x"]), SETS["Filip"]["y"]
    middle, half = (x.max() + x.min()) / 2, (x.max() - x.min()) / 2
    basis = np.polynomial.legendre.legvander((x - middle) / half, 10)[:, 1:]
    found = regression(basis, y, constant=True)
    series = np.polynomial.Legendre(found.params.to_numpy(), domain=[middle - half, middle + half])
    powers = series.convert(kind=np.polynomial.Polynomial).coef
    assert correct_digits(powers, SETS["Filip"]["estimates"]) >= 6
