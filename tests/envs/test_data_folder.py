"""Files of a data folder: plain, gzipped, zipped."""

import zipfile
from pathlib import Path

import pytest

from copilot.envs.data_folder import open_text
from copilot.errors import DataError


def test_a_zip_gives_the_member_with_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__MACOSX/other", "x")
        archive.writestr("deep/rows.csv", "a\n1\n")
    with open_text(path) as file:
        assert file.read() == "a\n1\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.csv", "x")
    with pytest.raises(DataError, match=r"rows\.csv is not in it"):
        open_text(path)
    path.write_text("none")
    with pytest.raises(DataError, match="not readable as zip"):
        open_text(path)
