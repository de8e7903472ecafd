"""Frames of all kinds, and a check that they came back bit for bit."""

import numpy as np

from irrepnet.data import Frame

FIELDS = ("species", "pos", "cell", "pbc", "energy", "forces", "stress", "id", "group")


def frame(rng, num_atoms, **changes):
    """A frame with everything."""
    parts = {
        "species": rng.integers(1, 100, num_atoms),
        "pos": rng.normal(size=(num_atoms, 3)),
        "cell": 5 * np.eye(3) + rng.normal(size=(3, 3)),
        "pbc": rng.integers(2, size=3),
        "energy": float(rng.normal()),
        "forces": rng.normal(size=(num_atoms, 3)),
        "stress": rng.normal(size=(3, 3)),
        "id": f"Größe {rng.integers(1000)}",
        "group": "",
        "properties": {"dipole": rng.normal(size=3), "gap, eV": rng.normal()},
        "atom_properties": {"charge": rng.normal(size=num_atoms), "shielding": rng.normal(size=(num_atoms, 3, 3))},
    }
    return Frame(**{**parts, **changes})


def frames(count=40, seed=0, most_atoms=6):
    """Frames of several sizes, each without some labels."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        whole = frame(rng, int(rng.integers(1, most_atoms)))
        missing = {name: None for name in FIELDS[4:] if rng.random() < 0.3}
        if rng.random() < 0.3:
            missing |= {"cell": None, "pbc": False}
        labels = {
            name: {key: value for key, value in getattr(whole, name).items() if rng.random() < 0.7}
            for name in ("properties", "atom_properties")
        }
        made.append(Frame(**{**{name: getattr(whole, name) for name in FIELDS}, **missing, **labels}))
    return made


def same(one, other):
    """Tell whether two frames hold the same bits."""
    pairs = [(getattr(one, name), getattr(other, name)) for name in FIELDS]
    for name in ("properties", "atom_properties"):
        mine, theirs = getattr(one, name), getattr(other, name)
        if mine.keys() != theirs.keys():
            return False
        pairs += [(mine[key], theirs[key]) for key in mine]
    return all(_bits(a) == _bits(b) for a, b in pairs)


def _bits(value):
    return value if value is None or isinstance(value, str) else (np.shape(value), np.asarray(value).tobytes())
