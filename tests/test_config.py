from dataclasses import dataclass
from pathlib import Path

import pytest

from compare.config import make_config, read_toml


@dataclass(frozen=True, kw_only=True)
class Example:
    width: int = 4
    rate: float = 0.5
    folder: Path | None = None
    levels: tuple[float, ...] = (0.0,)
    quick: bool = False


def test_values_take_the_type_of_their_field():
    config = make_config(Example, {"rate": 1, "folder": "runs", "levels": [0.5, 1.0]})
    assert config == Example(rate=1.0, folder=Path("runs"), levels=(0.5, 1.0))
    assert type(config.rate) is float


def test_none_leaves_the_default():
    assert make_config(Example, {"width": None}) == Example()


def test_a_mistyped_key_is_refused_with_the_nearest_right_one():
    with pytest.raises(ValueError, match=r"found 'widht': did you mean 'width'\?"):
        make_config(Example, {"widht": 3})


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
