"""Fetching: only the published bytes get their name; a changed file, a missing one and a broken line are clear."""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from copilot.commands.tasks import COMMAND
from copilot.envs.fetch import fetch_file, git_blob_of
from copilot.envs.sources.base import Download, get_source, source_names
from copilot.errors import DataError

DATA = b"a,b\n1,2\n"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def place(tmp_path: Path) -> Iterator[str]:
    root = tmp_path / "official"
    root.mkdir()
    (root / "t.csv.gz").write_bytes(DATA)
    (root / "SHA256SUMS.txt").write_text(f"{'0' * 64} other.csv\n{hashlib.sha256(DATA).hexdigest()} *./t.csv.gz\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def download(place: str, **check: str) -> Download:
    return Download(url=f"{place}/t.csv.gz", path="x/t.csv.gz", licence="none", **check)


@pytest.mark.parametrize("kind", ["sha256", "git_blob", "sums"])
def test_the_published_bytes_are_kept_and_not_fetched_again(place: str, tmp_path: Path, kind: str) -> None:
    blob = hashlib.sha1(b"blob %d\0" % len(DATA) + DATA, usedforsecurity=False).hexdigest()
    check = {"sha256": hashlib.sha256(DATA).hexdigest(), "git_blob": blob, "sums": f"{place}/SHA256SUMS.txt"}[kind]
    file, target = download(place, **{kind: check}), tmp_path / "x" / "t.csv.gz"
    assert fetch_file(file, target)
    assert target.read_bytes() == DATA
    assert git_blob_of(target) == blob
    assert not fetch_file(file, target)
    target.write_bytes(b"damaged")
    assert fetch_file(file, target)


def test_other_bytes_leave_nothing_behind(place: str, tmp_path: Path) -> None:
    target = tmp_path / "x" / "t.csv.gz"
    with pytest.raises(DataError, match="not the published ones"):
        fetch_file(download(place, sha256="0" * 64), target)
    with pytest.raises(DataError, match="could not be fetched"):
        fetch_file(Download(url=f"{place}/none", path="n", sha256="0" * 64, licence="none"), target)
    missing = Download(url=f"{place}/none", path="n", sums=f"{place}/SHA256SUMS.txt", licence="none")
    with pytest.raises(DataError, match="no sum of none"):
        fetch_file(missing, target)
    assert list((tmp_path / "x").iterdir()) == []


@pytest.mark.parametrize("name", source_names())
def test_every_download_can_be_checked_and_stays_in_the_data_folder(name: str) -> None:
    for file in get_source(name).downloads:
        assert file.url.startswith("https://")
        assert file.sha256 or file.git_blob or file.sums
        assert len(file.sha256) in (0, 64)
        assert not Path(file.path).is_absolute()
        assert ".." not in Path(file.path).parts


def test_credentialed_data_is_not_fetched_but_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MED_COPILOT_DATA", str(tmp_path))
    shown = CliRunner().invoke(COMMAND, ["fetch", "ehrcon"])
    assert shown.exit_code == 0, shown.output
    assert "physionet.org" in shown.output
    assert "clinical_notes.csv" in shown.output
    dry = CliRunner().invoke(COMMAND, ["fetch", "mimic_iii", "--dry-run"])
    assert "raw.githubusercontent.com/glee4810/EHRSQL" in dry.output
    assert list(tmp_path.iterdir()) == []
    assert "needs no data" in CliRunner().invoke(COMMAND, ["fetch", "ehr_sql"]).output
