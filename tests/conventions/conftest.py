"""What the tests of the conventions share."""

import pytest
import torch

from irrepnet import models


@pytest.fixture(autouse=True)
def float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def model():
    config = models.ForceFieldConfig(
        species=("H", "O"),
        cutoff=3.0,
        irreps_hidden="4x0e+4x1o",
        num_layers=2,
        species_shifts=(-10.0, -400.0),
        dtype="float64",
    )
    return models.ForceField(config).eval()
