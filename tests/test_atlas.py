"""The atlas says where the table holds: planted points are found, null ones not; a stopped run goes on."""

import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
from example_results import example_results

from compare.anchors import (
    IN,
    OUT,
    RANK,
    SHOWN,
    UNSURE,
    YES_OR_NO,
    anchor_sentences,
    anchor_table,
    markdown,
    pooled,
)
from compare.atlas import atlas_results, region, where_it_holds, write_atlas
from compare.atlas_points import CELLS, cell_table, point_table, sign_of
from compare.cli import app
from compare.toy_arms import explored
from toy import atlas as toy_atlas
from toy.atlas import kept_at, measure_point
from toy.grid import (
    BASE,
    DECAYS,
    KINDS,
    N_WORLDS,
    N_WORLDS_BY_SLICE,
    NEAR,
    PARTIAL,
    RATES,
    SHARES,
    TWO,
    WIDTHS,
    slices,
)
from toy.known import few_features

AS_CLAIMED = {"exclusive": (-0.5, -0.5), "independent": (-0.2, -0.2), "co-occurring": (0.0, 0.5)}


def planted(means: dict[str, tuple[float, float]], seed: int = 0, **changes: object) -> dict:
    """A point whose cells (different, same) have these means over ten starts."""
    rng = np.random.default_rng(seed)
    cells = [
        {
            "cooccurrence": cooccurrence,
            "overlap": overlap,
            "n_pairs": 4,
            "by_seed": (means[cooccurrence][int(overlap)] + 0.02 * rng.normal(size=10)).tolist(),
            "antipodal": [0.5] * 10,
            "parallel": [0.0] * 10,
            "unwritten": [0.0] * 10,
        }
        for cooccurrence, overlap in CELLS.values()
    ]
    config = asdict(replace(BASE, **changes))
    losses = np.linspace(0.1, 0.2, 10).tolist()
    return {"config": config, "n_worlds": 10, "losses": losses, "best": 3, "cells": cells}


def anchor(values: list[float], low: float | None, high: float | None, **changes: object) -> dict:
    """A row of an anchor with these values by start."""
    about = {"name": "known", "quantity": "share", "source": "somebody", "setting": "here", "best": False}
    return about | {"values": values, "low": low, "high": high, "config": {}, "n_worlds": 1} | changes


def test_an_anchor_comes_out_where_its_whole_interval_lies_in_the_range():
    rows = [
        anchor([0.5, 0.52, 0.48], 0.35, 1.0),  # 1 is a share's own end, no bound
        anchor([0.9, 1.0, 0.98], 0.35, 1.0),
        anchor([0.1, 0.12, 0.11], 0.35, 1.0),
        anchor([0.2, 0.5, 0.3], 0.35, 1.0),
        anchor([1.0] * 80, 0.95, 1.0, quantity=YES_OR_NO),  # Clopper and Pearson: .025 ** (1 / 80) = .955
        anchor([1.0] * 40, 0.95, 1.0, quantity=YES_OR_NO),  # .025 ** (1 / 40) = .912
        anchor([0.1, 0.2], None, None),
        anchor([0.0, 0.0, 0.0], 0.0, 0.02),  # shares of pairs, not of starts
    ]
    table = anchor_table(rows)
    assert table["verdict"].tolist() == [IN, IN, OUT, UNSURE, IN, UNSURE, SHOWN, IN]
    assert table["low"][4] == pytest.approx(0.025 ** (1 / 80))
    assert anchor_sentences(table)[0].startswith("4 of 7 anchors")


def test_worlds_are_pooled_anchor_by_anchor():
    first, second = anchor([0.5, 0.6], 0.0, 1.0), anchor([0.7], 0.0, 1.0)
    (row,) = pooled([[first], [second]])
    assert (row["values"], row["n_worlds"]) == ([0.5, 0.6, 0.7], 2)
    assert first["values"] == [0.5, 0.6]
    (line,) = markdown(anchor_table([row | {"setting": "P(j | i)"}]))[2:]
    assert "P(j \\| i)" in line  # a bar would end the cell


def test_weight_decay_favours_low_rank_only_where_the_rank_falls():
    def rank(values, width, decay):
        return anchor(values, None, None, name=RANK, config={"width": width, "weight_decay": decay})

    noise = 0.01 * np.random.default_rng(0).normal(size=10)
    rows = [rank((4 + noise).tolist(), 4, 0.0), rank((3.5 - noise).tolist(), 4, 1.0)]
    rows += [rank((6 + noise).tolist(), 6, 0.0), rank((6.5 - noise).tolist(), 6, 1.0)]
    assert anchor_table(rows)["verdict"].tolist() == [IN, OUT]


def test_a_planted_table_holds_and_a_table_with_one_cell_wrong_does_not():
    wrong = {name: AS_CLAIMED | {name: (0.3, 0.3)} for name in ("exclusive", "co-occurring")}
    null = {name: (0.0, 0.0) for name in AS_CLAIMED}
    worlds = (AS_CLAIMED, *wrong.values(), null)
    points = point_table([("phase", planted(means)) for means in worlds])
    assert points["holds_exclusive"].tolist() == [True, False, False, False]
    assert points["difference_low_exclusive"][0] > 0
    assert points["loss_best"][0] == pytest.approx(0.1)
    found = region(points, "exclusive")
    assert (found["n_inside"], found["n_points"]) == (1, 4)
    assert where_it_holds(points[:1], "exclusive", "points").endswith("at 1 of the 1 points: features per "
        "dimension 2 of 2 tried; firing rate 0.03 of 0.03 tried; reconstruction share 1 of 1 tried; weight "
        "decay 0 of 0 tried.")  # fmt: skip
    assert where_it_holds(points[3:], "exclusive", "points").endswith("at 0 of the 1 points.")


def test_two_cells_that_are_alike_and_small_hold_no_oftener_than_the_test_is_wrong():
    alike = AS_CLAIMED | {"co-occurring": (0.06, 0.06)}  # above 0 and within the margin, both
    points = point_table([("phase", planted(alike, seed)) for seed in range(200)])
    assert points["holds_exclusive"].mean() < 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5


def test_signs_are_certain_small_or_unknown():
    rng = np.random.default_rng(1)
    assert sign_of((-0.5 + 0.1 * rng.normal(size=10)).tolist()) == "-"
    assert sign_of((0.5 + 0.1 * rng.normal(size=10)).tolist()) == "+"
    assert sign_of((0.02 * rng.normal(size=10)).tolist()) == "0"
    assert sign_of((1.0 * rng.normal(size=10)).tolist()) == "?"


def test_worlds_are_the_replicates_and_starts_within_them_are_not():
    point = planted(AS_CLAIMED) | {"n_worlds": 2}
    point["cells"][0]["by_seed"] = [0.0] * 5 + [1.0] * 5
    row = cell_table([("phase", point)]).iloc[0]
    assert row["mean"] == pytest.approx(0.5)
    assert row["high"] - row["mean"] == pytest.approx(12.7062 * 0.5)  # t of one degree of freedom
    assert row["n_networks"] == 10


def test_a_point_draws_its_worlds_anew():
    tiny = replace(BASE, n_features=24, width=12, vocabulary=24, n_seeds=2, steps=2)
    point = measure_point(tiny, n_worlds=3)
    assert len(set(point["losses"])) == 6
    assert {len(cell["by_seed"]) for cell in point["cells"]} == {6}
    assert point["losses"][:2] == measure_point(tiny)["losses"]  # the first world is the config's own


def test_the_grid_crosses_its_axes_with_ten_networks_a_point():
    parts = slices()
    assert len(parts["phase"]) == len({json.dumps(asdict(point)) for point in parts["phase"]})
    assert len(parts["phase"]) == len(DECAYS) * len(RATES) * len(WIDTHS) * len(SHARES)
    for name, points in parts.items():
        n_worlds = N_WORLDS_BY_SLICE.get(name, N_WORLDS)
        assert {point.n_seeds * n_worlds for point in points} == {20 if name == NEAR else 10}


def test_near_the_table_worlds_are_others_than_the_grids():
    parts = slices(seed=3)
    near, grid = ({point.seed for point in parts[name]} for name in (NEAR, "phase"))
    worlds = [
        {seed * n_worlds + number for seed in seeds for number in range(n_worlds)}
        for seeds, n_worlds in ((near, N_WORLDS_BY_SLICE[NEAR]), (grid, N_WORLDS))
    ]
    assert not worlds[0] & worlds[1]


def silent(done: int, total: int | None) -> None:
    pass


def test_a_stopped_atlas_goes_on_with_what_it_has(tmp_path, monkeypatch):
    tiny = replace(BASE, n_features=24, width=12, vocabulary=24, n_seeds=1, steps=2)
    points = [replace(tiny, seed=seed) for seed in range(3)]
    monkeypatch.setattr(toy_atlas, "slices", lambda seed: {"phase": points, "size": points[:1]})
    found = explored(0, tmp_path, silent)
    assert [name for name, _ in found] == ["phase"] * 3 + ["size"]
    assert [point["config"]["seed"] for _, point in found] == [0, 1, 2, 0]
    made = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(made) == 3  # the point of two parts once

    goes = kept_at(tmp_path, [asdict(points[1]), N_WORLDS])
    goes.unlink()
    seen: list[tuple[int, int]] = []
    assert explored(0, tmp_path, lambda *at: seen.append(at)) == found
    assert seen == [(1, 1)]
    assert {path for path in tmp_path.iterdir() if made[path] != path.stat().st_mtime_ns} == {goes}


def test_what_another_torch_made_is_not_taken_up(tmp_path, monkeypatch):
    before = kept_at(tmp_path, ["a point"])
    assert kept_at(tmp_path, ["a point"]) == before != kept_at(tmp_path, ["another"])
    monkeypatch.setattr("torch.__version__", "1.0")
    assert kept_at(tmp_path, ["a point"]) != before


def test_a_point_is_the_same_from_another_process(tmp_path, monkeypatch):
    tiny = replace(BASE, n_features=24, width=12, vocabulary=24, n_seeds=2, steps=5)
    monkeypatch.setattr(toy_atlas, "slices", lambda seed: {"phase": [tiny, replace(tiny, seed=1)]})
    (_, found), _ = explored(0, tmp_path, silent)
    assert found == json.loads(json.dumps(measure_point(tiny, N_WORLDS)))


def test_an_atlas_is_written_with_every_number_and_figure(tmp_path):
    shares = (0.1, 0.9)
    found = [("phase", planted(AS_CLAIMED, reconstruction_share=share)) for share in shares]
    for changes in KINDS.values():
        for part in ("deciding cell", "two in one"):
            found += [(part, planted(AS_CLAIMED, reconstruction_share=share, **changes)) for share in shares]
    theory = [
        {"kind": kind, "tied": changes.get("tied", True), "readout": changes.get("readout", "softmax")}
        | {"flip": 0.5, "flip_free": None}
        for kind, changes in KINDS.items()
    ]
    found += [("weight decay", planted(AS_CLAIMED, reconstruction_share=0.9, weight_decay=1.0))]
    found += [(NEAR, planted(AS_CLAIMED, reconstruction_share=0.95))]
    moved = AS_CLAIMED | {"exclusive": (-0.2, -0.5)}
    found += [("size", planted(means, steps=steps)) for means, steps in ((AS_CLAIMED, 10), (moved, 40))]
    known = [anchor([0.5, 0.52, 0.48], 0.35, 1.0)]
    results = atlas_results(found, known, theory, {"command": "cofire atlas"})
    folder = write_atlas(results, tmp_path / "atlas")
    assert {path.suffix for path in folder.iterdir()} == {".json", ".csv", ".png", ".md"}
    said = (folder / "README.md").read_text()
    assert "hold at 2 of the 2 points of the grid" in said
    assert "hold at 1 of the 1 points laid more closely round where it was found to hold, in 10 new" in said
    assert "with different ones, a difference of 0.5" in said
    assert "it holds as far as +-0.1 counts as zero" in said
    assert "At these points, exclusive, same outputs (claim < 0): - at 1, 0 at 0, + at 0, ? at 0 of 1" in said
    assert "Trained for 40 steps in place of 10, 2 features a dimension, cells move by at most 0.30" in said
    steep = (
        r"reconstruction 90% of the loss: co-occurring less exclusive pairs \+0.7\d .* at 0, \+0.7\d .* at 1"
    )
    assert re.search(steep, said)
    again = json.loads((folder / "results.json").read_text())
    assert len(cell_table((row.pop("slice"), row) for row in again["points"])) == len(
        results["atlas"]["cells"]
    )
    write_atlas(results, folder)  # a report may be replaced
    with pytest.raises(ValueError, match="expected a new folder or a report"):
        write_atlas(results, tmp_path)


def test_the_command_writes_the_atlas(tmp_path, monkeypatch, capsys):
    tiny = replace(BASE, n_features=24, width=12, vocabulary=24, n_seeds=2, steps=5)
    two = replace(TWO, n_seeds=2, steps=5)
    deciding = replace(tiny, n_features=64, overlaps=PARTIAL.overlaps, grouped_share=PARTIAL.grouped_share)
    parts = {"phase": [tiny], "deciding cell": [deciding], "two in one": [two], "size": [tiny]}
    monkeypatch.setattr(toy_atlas, "slices", lambda seed: parts)
    monkeypatch.setattr(toy_atlas, "anchor_runs", lambda seed: few_features()[:1])
    monkeypatch.setattr("toy.energy.flip_share", lambda two: 0.6)
    scores = example_results()["measures"]
    monkeypatch.setattr("compare.toy_arms.measures_on_toys", lambda config: scores)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        app(["atlas", "-o", "atlas", "--quiet"])
    assert stopped.value.code == 0
    assert "Two exclusive features" in capsys.readouterr().out
    results = json.loads((tmp_path / "atlas" / "results.json").read_text())
    assert len(results["run"]["toy_sha256"]) == 64
    assert results["measures"] == scores
