"""Random arguments, the same in both processes; and modules that get the same weights in both."""

from __future__ import annotations

import math
import zlib

import torch

__all__ = ["Draw"]

IRREPS = [(0, 1), (0, -1), (1, -1), (1, 1), (2, 1), (2, -1), (3, -1)]


class Draw:
    """Draws from a seed made of a text.

    Args:
        case: Its name.
        trial: Which of its trials this is.
        trials: How many there are.
        saved: State dicts of the modules of this case, made by e3nn; None where they are made.

    Attributes:
        leaves: Tensors that were drawn; they require gradients while ``tracking``.
        modules: Modules that were given weights.
    """

    def __init__(self, case, trial=0, trials=1, saved=None):
        self.case, self.trial, self.trials = case, trial, trials
        self.seed = zlib.crc32(f"{case}/{trial}".encode())
        self.generator = torch.Generator()
        self.weights = torch.Generator().manual_seed(self.seed + 1)  # on its own: one process only draws from it
        self.saved = saved
        self.states, self.leaves, self.modules = [], [], []
        self.tracking = False
        self.restart("")

    def restart(self, part):
        """Begin a part of the case: what it draws does not depend on the parts before."""
        self.part, self.options = part, 0
        self.generator.manual_seed(self.seed)

    def track(self, tracking):
        """Let all tensors drawn, before and after, require gradients, or none."""
        self.tracking = tracking
        for leaf in self.leaves:
            leaf.requires_grad_(tracking)

    def integer(self, low, high):
        """Draw an integer, both ends included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def pick(self, *options):
        return options[self.integer(0, len(options) - 1)]

    def option(self, *values):
        """Return one of the values, in an order of its own over the trials: each comes as often as the others."""
        self.options += 1
        order = torch.Generator().manual_seed(zlib.crc32(f"{self.case}/{self.part}/{self.options}".encode()))
        return values[int(torch.randperm(self.trials, generator=order)[self.trial]) % len(values)]

    def normal(self, *shape, scale=1.0, dtype=torch.float64):
        x = scale * torch.randn(shape, generator=self.generator, dtype=torch.float64)
        return self._leaf(x.to(dtype))

    def _leaf(self, x):
        self.leaves.append(x.requires_grad_(self.tracking))
        return x

    def uniform(self, *shape):
        return torch.rand(shape, generator=self.generator, dtype=torch.float64)

    def number(self, low=0.5, high=2.0):
        return low + (high - low) * float(self.uniform())

    def unit(self, *shape):
        return torch.nn.functional.normalize(self.normal(*shape, 3), dim=-1)

    def angles(self, *shape):
        return tuple(self._leaf(scale * self.uniform(*shape)) for scale in (2 * math.pi, math.pi, 2 * math.pi))

    def quaternion(self, *shape):
        """Draw a rotation by less than half a turn: its quaternion has one sign."""
        q = torch.nn.functional.normalize(self.normal(*shape, 4), dim=-1)
        return q * q[..., :1].sign()

    def matrix(self, *shape):
        Q, R = torch.linalg.qr(self.normal(*shape, 3, 3))
        Q = Q * R.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
        return Q * torch.det(Q)[..., None, None]

    def irrep(self, lmax=2):
        return self.pick(*(ir for ir in IRREPS if ir[0] <= lmax))

    def entries(self, most=3, lmax=2, max_mul=3, min_mul=1):
        """Draw a list of (mul, (l, p)); irreps may come again."""
        return [(self.integer(min_mul, max_mul), self.irrep(lmax)) for _ in range(self.integer(1, most))]

    def irreps(self, **options):
        return text(self.entries(**options))

    def rows(self, irreps, *shape):
        """Draw features of irreps given as text or entries."""
        entries = irreps if isinstance(irreps, list) else read(irreps)
        return self.normal(*(shape or (4,)), sum(mul * (2 * l + 1) for mul, (l, _) in entries))

    def module(self, module):
        """Give a module random weights, saved by the first process and loaded by the second."""
        self.modules.append(module)
        if self.saved is None:
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.normal_(generator=self.weights)
                for name, buffer in module.named_buffers():
                    if name.rpartition(".")[2] in {"running_mean", "running_var"}:
                        buffer.uniform_(0.5, 2.0, generator=self.weights)
            self.states.append({name: value.clone() for name, value in module.state_dict().items()})
            return module
        state = self.saved[len(self.states)]
        self.states.append(state)
        module.load_state_dict({name: value for name, value in state.items() if name in module.state_dict()})
        module.load_state_dict(state, strict=True)
        return module


def text(entries):
    """Write entries as irreps are written."""
    return "+".join(f"{mul}x{l}{'e' if p == 1 else 'o'}" for mul, (l, p) in entries)


def read(irreps):
    """Read what ``text`` wrote (and spaces, and entries without mul)."""
    entries = []
    for term in irreps.replace(" ", "").split("+") if irreps else []:
        mul, _, ir = term.rpartition("x")
        entries.append((int(mul or 1), (int(ir[:-1]), 1 if ir[-1] == "e" else -1)))
    return entries
