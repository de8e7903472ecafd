"""The identity: e3nn's irreps and state, and what is refused."""

import e3nn.nn
import pytest
import torch

from irrepnet.errors import IrrepsError, ShapeError
from irrepnet.nn import Identity


def test_equals_e3nn():
    ours, theirs = Identity("1o+0e+0e", "1o+2x0e"), e3nn.nn.Identity("1o+0e+0e", "1o+2x0e")
    assert (str(ours.irreps_in), str(ours.irreps_out)) == (str(theirs.irreps_in), str(theirs.irreps_out))
    assert repr(ours) == repr(theirs)
    torch.testing.assert_close(ours.output_mask, theirs.output_mask)
    x = torch.randn(2, 5)
    assert ours(x) is x and ours.state_dict() == {}
    ours.load_state_dict(theirs.state_dict(), strict=True)
    torch.nn.Sequential(ours).load_state_dict(torch.nn.Sequential(theirs).state_dict(), strict=True)


def test_mask_is_made_anew():
    identity = Identity("0e", "0e").to("meta").to_empty(device="cpu")
    assert identity.output_mask.tolist() == [1]
    assert identity.double().output_mask.dtype == torch.float64


def test_empty_irreps():
    assert Identity("", "")(torch.zeros(3, 0)).shape == (3, 0)  # e3nn concatenates nothing, an error


def test_errors():
    with pytest.raises(IrrepsError, match="same irreps on both sides; got irreps_in = 1x1o and irreps_out = 1x1e"):
        Identity("1o", "1e")
    with pytest.raises(ShapeError, match=r"needs features \[..., 3\] for irreps = 1x1o; got \[2, 4\]"):
        Identity("1o", "1o")(torch.zeros(2, 4))


def test_numbers_of_any_dtype():
    for dtype in (torch.int64, torch.complex64):
        assert Identity("2x0e+1o", "2x0e+1o")(torch.arange(5).to(dtype)).dtype == dtype
