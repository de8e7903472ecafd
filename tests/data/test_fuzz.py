"""Nine hundred damaged files: each is refused by name or read whole, as an independent parse says."""

import re
import shutil

import numpy as np
import pytest

from irrepnet.data import Keys, Units, read_frames, validate_frames
from irrepnet.errors import DataError, ShapeError

NUM_FILES = 150  # of each format
KEYS = Keys(properties={"dipole": "mu"}, atom_properties={"charge": "q"})
COLUMNS = "species:S:1:pos:R:3:forces:R:3:q:R:1"
SYMBOLS = {"O": 8, "H": 1}


def labels(num_frames=5, sizes=(3, 6, 3, 6, 3)):
    """Water, one or two molecules in each frame."""
    rng = np.random.default_rng(7)
    water = np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    frames = []
    for size in sizes[:num_frames]:
        pos = np.concatenate([water + 3.0 * copy * np.eye(3)[0] for copy in range(size // 3)])
        parts = {"pos": pos, "forces": rng.normal(size=(size, 3)), "q": rng.normal(size=size), "mu": rng.normal(size=3)}
        parts["pos"] = (pos + rng.normal(0, 0.02, pos.shape)).round(6)
        frames.append({"species": np.tile([8, 1, 1], size // 3), "energy": -14.0 * size + rng.normal(), **parts})
    return frames


def mutated(data, rng):
    """Return bytes with one thing wrong."""
    data, place = bytearray(data), int(rng.integers(len(data)))
    kind = rng.integers(6)
    if kind == 0:
        data[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del data[place]
    elif kind == 2:
        data.insert(place, data[place])
    elif kind == 3:
        data[place] = ord('abXYZ019-. "=:\n'[rng.integers(15)])
    elif kind == 4:
        del data[place:]
    else:
        del data[place : place + int(rng.integers(2, 40))]
    return bytes(data)


def outcome(path, keys=KEYS, units=None):
    """Return the frames, sound; None if the file was refused by name."""
    try:
        frames = read_frames(path, keys=keys, units=units)
        validate_frames(frames, require=["energy", "forces", "dipole", "charge"])
    except (DataError, ShapeError) as error:
        assert path.name in str(error)
        return None
    return frames


def assert_same(frames, wanted, what):
    assert len(frames) == len(wanted), what
    for frame, want in zip(frames, wanted, strict=True):
        assert frame.species.tolist() == np.asarray(want["species"]).tolist(), what
        for value, key in (
            (frame.pos, "pos"),
            (frame.forces, "forces"),
            (frame.energy, "energy"),
            (frame.properties["dipole"], "mu"),
            (frame.atom_properties["charge"], "q"),
        ):
            np.testing.assert_allclose(value, want[key], rtol=1e-9, atol=1e-9, err_msg=what)
            assert np.isfinite(value).all(), what


def fuzz(path, whole, read, expected):
    """Damage a file many times; return how often it was refused."""
    rng, refused = np.random.default_rng(20), 0
    for number in range(NUM_FILES):
        data = mutated(whole, rng)
        path.write_bytes(data)
        frames = read()
        refused += frames is None
        if frames is not None:
            assert_same(frames, expected(data), f"{path.name}, damage {number}: {data[:2000]!r}")
    return refused


@pytest.mark.parametrize("layout", ["stacked", "ragged"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, layout, save):
    frames = labels(sizes=(3,) * 5 if layout == "stacked" else (3, 6, 3, 6, 3))
    join = np.stack if layout == "stacked" else np.concatenate
    arrays = {name: join([frame[name] for frame in frames]) for name in ("species", "pos", "forces", "q")}
    arrays |= {name: np.stack([frame[name] for frame in frames]) for name in ("energy", "mu")}
    if layout == "ragged":
        arrays["ptr"] = np.cumsum([0, *(len(frame["pos"]) for frame in frames)])
    path = tmp_path / "water.npz"
    save(path, energy_unit="eV", length_unit="angstrom", **arrays)
    refused = fuzz(path, path.read_bytes(), lambda: outcome(path), lambda _: frames)  # a checksum guards every number
    assert refused > NUM_FILES // 2


def test_extxyz(tmp_path):
    pytest.importorskip("ase", reason="ase is not installed")
    text = ""
    for frame in labels():
        text += f"{len(frame['pos'])}\nProperties={COLUMNS} energy={frame['energy']:.6f} "
        text += 'mu="{:.6f} {:.6f} {:.6f}" pbc="F F F"\n'.format(*frame["mu"])
        for number, pos, force, charge in zip(*(frame[key] for key in ("species", "pos", "forces", "q")), strict=True):
            row = " ".join(f"{value:.6f}" for value in (*pos, *force, charge))
            text += f"{'O' if number == 8 else 'H'} {row}\n"
    path = tmp_path / "water.xyz"
    refused = fuzz(path, text.encode(), lambda: outcome(path, units=Units()), parse_extxyz)
    assert NUM_FILES // 3 < refused < NUM_FILES - 20


def parse_extxyz(data):
    """Read what the test wrote, by nothing but regular expressions; every frame has to be whole."""
    lines = data.decode().rstrip().splitlines()
    frames = []
    while lines:
        size = int(lines[0])
        found = dict(re.findall(r'(\S+?)="?([^"=]*?)"?(?=\s+\S+=|\s*$)', lines[1]))
        rows = [line.split() for line in lines[2 : 2 + size]]
        numbers = np.array([[float(value) for value in row[1:]] for row in rows])
        frame = {"species": [SYMBOLS[row[0]] for row in rows], "energy": float(found["energy"])}
        frame |= {"mu": [float(value) for value in found["mu"].split()]}
        frames.append({**frame, "pos": numbers[:, :3], "forces": numbers[:, 3:6], "q": numbers[:, 6]})
        lines = lines[2 + size :]
    return frames


def test_deepmd(tmp_path):
    frames = labels(sizes=(3,) * 5)
    whole, system = tmp_path / "whole", tmp_path / "water"
    (whole / "set.000").mkdir(parents=True)
    for name, key in {"coord": "pos", "force": "forces", "energy": "energy", "mu": "mu", "q": "q"}.items():
        np.save(whole / "set.000" / f"{name}.npy", np.stack([frame[key] for frame in frames]).reshape(5, -1))
    (whole / "type.raw").write_text("0\n1\n1\n")
    (whole / "type_map.raw").write_text("O\nH\n")
    (whole / "nopbc").touch()
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file() and path.stat().st_size)
    rng, refused = np.random.default_rng(30), 0
    for number in range(NUM_FILES):
        shutil.rmtree(system, ignore_errors=True)
        shutil.copytree(whole, system)
        file = files[number % len(files)]
        (system / file).write_bytes(mutated((whole / file).read_bytes(), rng))
        read = outcome(system)
        refused += read is None
        if read is not None:
            assert_same(read, parse_deepmd(system), f"damage {number} of {file}")
    assert NUM_FILES // 4 < refused < NUM_FILES - 20


def parse_deepmd(system):
    arrays = {file.stem: np.load(file) for file in (system / "set.000").glob("*.npy")}
    elements = (system / "type_map.raw").read_text().split()
    symbols = [elements[int(kind)] for kind in (system / "type.raw").read_text().split()]
    numbers = [{**SYMBOLS, "Os": 76, "Ho": 67, "Hs": 108, "Y": 39}[symbol] for symbol in symbols]
    return [
        {
            "species": numbers,
            "pos": arrays["coord"][index].reshape(-1, 3),
            "forces": arrays["force"][index].reshape(-1, 3),
            "energy": arrays["energy"][index].item(),
            "mu": arrays["mu"][index],
            "q": arrays["q"][index],
        }
        for index in range(5)
    ]
