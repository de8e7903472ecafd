"""A toy system that trains in a second: four atoms of two species under a Morse potential."""

import json

import numpy as np
import torch

from irrepnet.models import load_tensors
from irrepnet.train import RunConfig

SPECIES = np.array([8, 1, 1, 1])
CUTOFF = 3.0


def morse(pos, depth=1.0, width=1.2, rest=1.3):
    """Energy (eV) and forces (eV/Å) of all pairs."""
    vec = pos[:, None] - pos[None]
    r = np.linalg.norm(vec, axis=-1) + np.eye(len(pos))
    decay = np.exp(-width * (r - rest)) * (1 - np.eye(len(pos)))
    energy = 0.5 * depth * (decay**2 - 2 * decay).sum() - 100.0 * len(pos)
    slope = depth * (-2 * width * decay**2 + 2 * width * decay)
    return energy, -(slope[..., None] * vec / r[..., None]).sum(axis=1)


def arrays(num_frames, seed=0):
    rng = np.random.default_rng(seed)
    corners = np.array([[0.0, 0, 0], [1.3, 0, 0], [0, 1.3, 0], [0, 0, 1.3]])
    pos = corners + rng.normal(scale=0.12, size=(num_frames, 4, 3))
    labels = [morse(frame) for frame in pos]
    return {
        "pos": pos,
        "species": SPECIES,
        "energy": np.array([energy for energy, _ in labels]),
        "forces": np.array([forces for _, forces in labels]),
        "group": np.array([f"run {i // 4}" for i in range(num_frames)]),
        "energy_unit": "eV",
        "length_unit": "angstrom",
    }


def write_frames(path, num_frames=20, seed=0, without=(), **changes):
    columns = {**arrays(num_frames, seed), **changes}
    np.savez(path, **{name: column for name, column in columns.items() if name not in without})
    return str(path)


MODEL = {
    "cutoff": CUTOFF,
    "irreps_hidden": "4x0e+2x1o",
    "num_layers": 2,
    "num_basis": 4,
    "radial_hidden": [8],
    "readout_hidden": [4],
}


def tree(folder, **training):
    """A configuration as YAML would give it; the frames are written when they are not there."""
    data = folder / "frames.npz"
    if not data.exists():
        write_frames(data)
    settings = {"steps": 12, "batch_size": 3, "lr": 0.02, "validate_every_steps": 4, "ema_decay": 0.9, **training}
    return {"model": MODEL, "data": {"train": str(data), "valid_groups": ["run 4"]}, "training": settings}


def config(folder, **training):
    return RunConfig.model_validate(tree(folder, **training))


STATE = ("last.state", "best.model")


def rows(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def assert_same_run(one, other):
    """Every tensor and number of two runs is equal to the last bit, but for the time they took."""
    for name in STATE:
        tensors, metadata = load_tensors(one / name)
        others, other_metadata = load_tensors(other / name)
        assert tensors.keys() == others.keys()
        for key, tensor in tensors.items():
            assert torch.equal(tensor, others[key]), f"{name}: {key}"
        for facts in (metadata, other_metadata):
            facts.get("progress", {}).pop("seconds", None)
        assert metadata == other_metadata
    logs = [
        [{key: value for key, value in row.items() if key != "seconds"} for row in rows(run)] for run in (one, other)
    ]
    assert logs[0] == logs[1]
