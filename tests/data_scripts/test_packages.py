"""Files of a package index: kept once, refused if they are others, and nothing in them runs before that is known."""

import io
import os
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from data_scripts import packages
from data_scripts.packages import Package, kept_package
from modeling_cde.whole_files import file_sha256

SETUP = "import setuptools\nsetuptools.setup(name='tiny-models', version='1.0', py_modules=[])\n"
ABOUT = "Metadata-Version: 2.1\nName: tiny-models\nVersion: 1.0\n"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index in a folder, which is all that pip knows."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(tmp_path / "index"), "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "index").mkdir()
    return tmp_path / "index"


@pytest.fixture
def wheel(index):
    """A wheel on the index."""
    path, about = index / "tiny_models-1.0-py3-none-any.whl", "tiny_models-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_models/assets/box.xml", "<mujoco/>")
        archive.writestr(f"{about}/METADATA", ABOUT)
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return Package("tiny-models", "1.0", file_sha256(path))


@pytest.fixture
def source(index, tmp_path):
    """A source on the index whose setup.py leaves a mark."""
    path = index / "tiny-models-1.0.tar.gz"
    files = {"setup.py": f"open({str(tmp_path / 'ran')!r}, 'w').close()\n{SETUP}", "PKG-INFO": ABOUT}
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"tiny-models-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return Package("tiny-models", "1.0", file_sha256(path), source=True)


def test_a_package_is_downloaded_once(wheel, index, tmp_path):
    path = kept_package(wheel, "models")
    assert path == tmp_path / "cache" / "modeling-cde" / "packages" / "tiny-models-1.0.whl"
    assert file_sha256(path) == wheel.sha256
    next(index.iterdir()).unlink()
    assert kept_package(wheel, "models") == path
    assert [file for file in path.parent.iterdir() if file.is_dir()] == []


def test_several_at_a_time_download_once(wheel, tmp_path, monkeypatch):
    calls, download = [], packages.download_package

    def counted(package, folder):
        calls.append(folder)
        return download(package, folder)

    monkeypatch.setattr(packages, "download_package", counted)
    with ThreadPoolExecutor(3) as pool:
        found = set(pool.map(lambda _: kept_package(wheel, "models", tmp_path / "kept"), range(3)))
    assert len(calls) == len(found) == 1


def test_a_kept_file_that_is_damaged_is_downloaded_again(wheel):
    path = kept_package(wheel, "models")
    path.write_bytes(path.read_bytes()[:-1])
    assert file_sha256(kept_package(wheel, "models")) == wheel.sha256


def test_another_wheel_is_refused_and_not_kept(wheel, tmp_path):
    with pytest.raises(ValueError, match=rf"has the SHA-256 {wheel.sha256} instead of 00, so its models were not read"):
        kept_package(replace(wheel, sha256="00"), "models", tmp_path / "kept")
    assert not list((tmp_path / "kept").glob("*.whl"))


def test_nothing_in_another_source_runs(source, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # this is how to say it: use the setuptools that are here
    with pytest.raises(ConnectionError, match="pip could not download tiny-models 1.0"):
        kept_package(replace(source, sha256="0" * 64), "models", tmp_path / "kept")
    assert not (tmp_path / "ran").exists() and not list((tmp_path / "kept").glob("*.gz"))
    assert kept_package(source, "models", tmp_path / "kept").name == "tiny-models-1.0.tar.gz"
    assert (tmp_path / "ran").exists()  # so the mark would have been seen


def test_an_index_without_the_package_is_told_with_what_pip_said(wheel, tmp_path):
    with pytest.raises(ConnectionError, match=r"tiny-models 2\.0 \(No matching distribution found for tiny-models==2"):
        kept_package(replace(wheel, version="2.0"), "models", tmp_path / "kept")
