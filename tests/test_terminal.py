"""What the terminal shows can be read at 80 columns, without colour, and says what results say."""

import io

import pytest
from example_results import example_results
from rich.console import Console

from compare.conclusion import conclude
from compare.hypotheses import judge, load
from compare.terminal import SIGNS, show
from compare.wording import compact


@pytest.fixture(scope="module")
def judged():
    return judge(example_results(), load())


def shown(results, *, width=80, tty=False, verbose=False) -> str:
    """What is printed."""
    console = Console(file=io.StringIO(), width=width, force_terminal=tty)
    show(results, console, verbose=verbose)
    return console.file.getvalue()


def test_the_summary_fits_80_columns_and_has_every_mean_with_its_verdicts_sign(judged):
    text = shown(judged)
    assert max(map(len, text.splitlines())) <= 80
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    for arm in judged["arms"]:
        for cell in arm["cells"]:
            assert f"{compact(cell['mean'])} {SIGNS[cell['verdict']]}".strip() in text
    headlines = [row for row in judged["verdicts"] if row["headline"]]
    judged_arms = {row["arm"] for row in headlines}
    *wholes, caption = [line for line in text.splitlines() if "whole table" in line]
    assert len(wholes) == len(judged_arms) > 0
    assert caption.strip() == "whole table: table-exclusive, then table-independent"
    assert "".join(wholes).count(SIGNS["REFUTED"]) == sum(row["verdict"] == "REFUTED" for row in headlines)


def test_a_quick_run_says_that_no_number_of_it_is_to_be_quoted(judged):
    assert "quote no number" in shown(judged | {"quick": True})
    assert "quote no number" not in shown(judged)


def test_verbose_gives_each_verdict_its_reason(judged):
    plain, verbose = shown(judged, width=300), shown(judged, width=300, verbose=True)
    assert verbose.startswith(plain)
    for cell in judged["arms"][0]["cells"]:
        assert cell["reason"] in verbose


def test_a_name_with_brackets_is_printed_as_it_is(capsys):
    made = example_results()
    made["arms"][0]["name"] = "x [/b]"
    conclude(made, load(), None, quiet=False, verbose=True)
    assert "x [/b]" in capsys.readouterr().out


def test_colours_are_for_terminals_and_no_color_is_obeyed(judged, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[3" not in shown(judged)
    assert "\x1b[32m" in shown(judged, tty=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in shown(judged, tty=True)


def test_own_claims_have_a_line_each_and_presets_have_none(tmp_path):
    claim = (
        '[[hypothesis]]\nid = "mine"\nstatement = "s"\nmeasure = "cell mean"\ncooccurrence = "exclusive"\n'
    )
    (tmp_path / "mine.toml").write_text(f'format = 1\n{claim}similarity = "similar"\nclaim = "> 0"\n')
    own = judge(example_results(), load(tmp_path / "mine.toml"))
    text = shown(own, width=300)
    for row in own["verdicts"]:
        line = next(line for line in text.splitlines() if "mine > 0" in line and row["arm"] in line)
        assert row["verdict"] in line
        assert row["reason"] in line
    assert "mine.toml" in text
    assert "presets.toml" not in shown(judge(example_results(), load()), width=300)
