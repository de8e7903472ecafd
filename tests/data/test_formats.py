import pytest

from irrepnet.data import Units, read_frames
from irrepnet.errors import DataError


def test_no_such_file(tmp_path):
    with pytest.raises(DataError, match=r"nowhere.npz: needed a file; found nothing there"):
        read_frames(tmp_path / "nowhere.npz")
    with pytest.raises(DataError, match="needed a file; found a folder"):
        read_frames(tmp_path)


def test_unknown_format(tmp_path):
    path = tmp_path / "frames.csv"
    path.write_text("1\n")
    with pytest.raises(
        DataError, match=r"frames.csv: needed format npz or extxyz or ase or deepmd or hdf5; found '.csv'"
    ):
        read_frames(path)
    with pytest.raises(DataError, match=r"found 'extxzy'\. Did you mean 'extxyz'\?"):
        read_frames(path, format="extxzy")


def test_the_format_may_be_said(tmp_path):
    pytest.importorskip("ase", reason="ase is not installed")
    path = tmp_path / "frames.txt"
    path.write_text("1\n\nH 0 0 0\n")
    assert len(read_frames(path, format="extxyz", units=Units())) == 1


def test_shipped_files():
    assert len(read_frames("package:water_xtb/train.npz")) >= 80
    with pytest.raises(
        DataError, match=r"needed a shipped file, .*; found no such\. Did you mean 'package:water_xtb/train"
    ):
        read_frames("package:water_xtb/trian.npz")
    with pytest.raises(DataError, match="needed a shipped file"):
        read_frames("package:../../pyproject.toml")


def test_registered_sets_and_lazy_formats_are_found_by_name(tmp_path):
    with pytest.raises(DataError, match=r"rmd17/ethanl.*Did you mean"):
        read_frames("set:rmd17/ethanl", data_dir=tmp_path)
    for name in ("frames.h5", "frames.db", "frames.json"):
        (tmp_path / name).write_bytes(b"not this")
        with pytest.raises(DataError, match=name):
            read_frames(tmp_path / name)
