"""What one key of params.yaml asks of another, and of a changed copy."""

from dataclasses import replace

import pytest
import yaml
from pydantic import ValidationError

from study.params import ROOT, load
from study.schema import is_name


def test_replace_checks_too():
    optimiser = load().optimiser
    assert replace(optimiser, momentum=0.5).momentum == 0.5
    with pytest.raises(ValidationError, match="momentum"):
        replace(optimiser, momentum=2.0)


def test_any_students_with_a_headline_among_them(tmp_path):
    shipped = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
    shipped["students"] = {"mine": shipped["students"]["plain"]}
    shipped["baseline"]["levels"] = []
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(shipped))
    with pytest.raises(ValueError, match="headline: 'full' is not one of the students"):
        load(path)
    path.write_text(yaml.safe_dump(shipped | {"headline": "mine"}))
    loaded = load(path)
    assert list(loaded.students) == ["mine"] and loaded.baseline.levels == ()


@pytest.mark.parametrize(
    ("name", "good"), [("a", 1), ("A_1", 1), ("1a", 0), ("a-b", 0), ("NA", 0), ("a" * 65, 0)]
)
def test_a_name_stands_in_paths_tables_and_commands(name, good):
    assert bool(is_name(name)) == bool(good)
