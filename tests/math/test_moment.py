import e3nn.math
import pytest
import torch

from irrepnet.math import moment


@pytest.mark.parametrize("n", range(5))
@pytest.mark.parametrize("dtype", [None, torch.float64, torch.float32])
def test_equals_e3nn(n, dtype):
    ours, theirs = moment(torch.tanh, n, dtype=dtype), e3nn.math.moment(torch.tanh, n, dtype=dtype)
    assert ours.dtype == theirs.dtype
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_device():
    assert moment(torch.tanh, 2, device="meta").device.type == "meta"
