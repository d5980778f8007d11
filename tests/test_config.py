from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from compare.config import make_config, read_toml


@dataclass(frozen=True, kw_only=True)
class Example:
    width: int = 4
    rate: float = 0.5
    folder: Path | None = None
    levels: tuple[float, ...] = (0.0,)
    table: tuple[tuple[float, ...], ...] = ()
    shares: tuple[float | Literal["even"], ...] = ()
    quick: bool = False


@dataclass(frozen=True, kw_only=True)
class Chosen:
    speed: Literal["fast", "slow"] = "fast"


@pytest.mark.parametrize(
    ("word", "hint"), [("zzzz", r"it knows fast, slow\."), ("slaw", r"did you mean 'slow'\?")]
)
def test_a_word_that_is_none_of_those_known_is_told_the_nearest_or_all(word, hint):
    with pytest.raises(ValueError, match=rf"speed in .* to be one of 'fast', 'slow', found '{word}': {hint}"):
        make_config(Chosen, {"speed": word})


def test_values_take_the_type_of_their_field():
    config = make_config(Example, {"rate": 1, "folder": "runs", "levels": [0.5, 1.0]})
    assert config == Example(rate=1.0, folder=Path("runs"), levels=(0.5, 1.0))
    assert type(config.rate) is float


def test_none_leaves_the_default():
    assert make_config(Example, {"width": None}) == Example()


def test_a_mistyped_key_is_refused_with_the_nearest_right_one():
    with pytest.raises(ValueError, match=r"found 'widht': did you mean 'width'\?"):
        make_config(Example, {"widht": 3})


def test_lists_of_lists_become_tuples_and_whole_numbers_in_them_floats():
    values = {"levels": [0, 1], "table": [[1, 0.5], [0.5, 1]], "shares": [0, "even", 1]}
    config = make_config(Example, values)
    assert config == Example(levels=(0.0, 1.0), table=((1.0, 0.5), (0.5, 1.0)), shares=(0.0, "even", 1.0))
    assert [type(one) for one in (*config.levels, *config.table[0])] == [float] * 4
    assert [type(one) for one in config.shares] == [float, str, float]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"levels": [0.0] * 50 + ["a"]}, r"expected levels\[50\] to be of type float in .*, found 'a'"),
        ({"levels": [True]}, r"expected levels\[0\] to be of type float in .*, found True"),
        ({"table": [[1.0, "a"]]}, r"expected table\[0\]\[1\] to be of type float in .*, found 'a'"),
        ({"table": [1.0]}, r"expected table\[0\] to be of type tuple\[float, \.\.\.\] in .*, found 1.0"),
        ({"table": 1}, r"expected table to be of type tuple\[tuple\[float, \.\.\.\], \.\.\.\] in"),
        ({"shares": ["odd"]}, r"expected shares\[0\] to be of type Union\[float, Literal\['even'\]\] in"),
    ],
)
def test_the_item_that_does_not_fit_is_named_with_the_whole_type_that_is_asked_for(values, message):
    with pytest.raises(ValueError, match=message):
        make_config(Example, values)


@pytest.mark.parametrize("values", [{"width": "wide"}, {"width": True}, {"quick": 1}, {"levels": ["a"]}])
def test_a_value_of_the_wrong_type_is_refused(values):
    with pytest.raises(ValueError, match="to be of type"):
        make_config(Example, values)


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="found nothing at"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("width = = 3")
    with pytest.raises(ValueError, match="line 1"):
        read_toml(tmp_path / "broken.toml")
