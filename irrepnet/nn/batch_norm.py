"""Batch normalisation: every channel at unit scale over a batch, and instances or graphs each on their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from irrepnet.errors import ConfigError, ShapeError, did_you_mean
from irrepnet.nn.channels import Channels, Scalars, checked_features
from irrepnet.o3.irreps import Irreps
from irrepnet.ops.scatter import scatter_sum

__all__ = ["BatchNorm"]


class BatchNorm(nn.Module):
    r"""Divide each channel by its root mean square over the batch; ``0e`` are shifted to mean zero before.

    .. math:: x_{ncm} \mapsto w_c \frac{x_{ncm} - \mu_c}{\sqrt{\sigma_c^2 + \epsilon}} + b_c, \qquad
              \sigma_c^2 = \Big\langle \frac{1}{2l_c + 1} \sum_m (x_{ncm} - \mu_c)^2 \Big\rangle_n

    with the mean :math:`\mu` and the bias b on ``0e`` only, where alone a constant is equivariant. In training the
    averages run over all axes but the last one; they also move the running averages, which are used in evaluation. A
    training batch without rows leaves these as they are.

    Args:
        irreps: Irreps of the features.
        eps: Added to mean squares.
        momentum: Share of the new batch in the running averages.
        affine: Whether there are a weight for each channel and a bias for each ``0e``.
        reduce: ``"mean"``, or ``"max"``: of the mean squares over the axes between first and last the greatest is
            taken, and then the mean over the first axis.
        instance: Give each item of the first axis, or each graph, its own statistics, in evaluation too; nothing runs.
        include_bias: False leaves the bias out.
        normalization: ``"component"``: as above; ``"norm"``: without the factor :math:`1 / (2l + 1)`.

    Attributes:
        weight: Parameter, shape ``[C]``, one for each irrep; None without ``affine``.
        bias: Parameter, shape ``[S]``, one for each ``0e``; None without ``affine`` or ``include_bias``.
        running_mean: Buffer, shape ``[S]``; None for instances.
        running_var: Buffer, shape ``[C]``; None for instances.

    Raises:
        IrrepsError: If irreps cannot be read.
        ConfigError: If an option is unknown, or eps or momentum are out of range.

    Example:
        >>> norm = BatchNorm("8x0e + 4x1o")
        >>> norm
        BatchNorm(8x0e+4x1o | 12 weights | 8 biases)
        >>> norm(torch.randn(16, 20)).shape
        torch.Size([16, 20])
        >>> norm = BatchNorm("8x0e + 4x1o", instance=True)
        >>> norm(torch.randn(5, 20), batch=torch.tensor([0, 0, 0, 1, 1]), num_graphs=2).shape
        torch.Size([5, 20])
    """

    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor | None
    running_var: Tensor | None

    def __init__(
        self,
        irreps: Any,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        reduce: str = "mean",
        instance: bool = False,
        include_bias: bool = True,
        normalization: str = "component",
    ) -> None:
        super().__init__()
        _check_option("reduce", reduce, ("mean", "max"))
        _check_option("normalization", normalization, ("component", "norm"))
        if not eps >= 0 or not 0 <= momentum <= 1:
            raise ConfigError(f"BatchNorm needs eps >= 0 and 0 <= momentum <= 1; got {eps!r} and {momentum!r}.")
        self.irreps = Irreps(irreps)
        self.eps, self.momentum, self.affine, self.reduce = eps, momentum, affine, reduce
        self.instance, self.include_bias, self.normalization = instance, include_bias, normalization
        self._channels, self._scalars = Channels(self.irreps), Scalars(self.irreps)
        num, num_scalars = self.irreps.num_irreps, self._scalars.num
        self.register_parameter("weight", nn.Parameter(torch.ones(num)) if affine else None)
        self.register_parameter("bias", nn.Parameter(torch.zeros(num_scalars)) if affine and include_bias else None)
        self.register_buffer("running_mean", None if instance else torch.zeros(num_scalars))
        self.register_buffer("running_var", None if instance else torch.ones(num))

    def forward(self, input: Tensor, *, batch: Tensor | None = None, num_graphs: int | None = None) -> Tensor:
        """Normalise.

        Args:
            input: Features, shape ``[batch, ..., irreps.dim]``.
            batch: With ``instance=True``, for graphs of different sizes in an input ``[N, irreps.dim]``: graph of each
                row, int64, shape ``[N]``, from 0 to num_graphs - 1, in any order.
            num_graphs: Number of graphs.

        Returns:
            The same shape.

        Raises:
            ShapeError: If a shape does not fit, or one of batch and num_graphs is missing.
            DtypeError: If features differ from parameters in dtype or device, or ``batch`` is not int64.
            ConfigError: If ``batch`` is given without ``instance=True``, or with ``reduce="max"``, or ``num_graphs`` is
                not an integer >= 0.
        """
        own = self.weight if self.running_var is None else self.running_var
        x = checked_features("BatchNorm", input, self.irreps, own)
        if x.ndim < 2:
            raise ShapeError(f"BatchNorm needs features [batch, ..., {self.irreps.dim}]; got {list(x.shape)}.")
        if batch is not None or num_graphs is not None:
            return self._over_graphs(x, batch, num_graphs)
        if self.instance:
            return self._over_instances(x)
        if not self.training or x.numel() == 0:
            assert self.running_mean is not None and self.running_var is not None
            return self._normalised(self._centred(x, self.running_mean), self.running_var)
        return self._over_batch(x)

    def _over_batch(self, x: Tensor) -> Tensor:
        axes = tuple(range(x.ndim - 1))
        mean = self._scalars.take(x).mean(axes)  # [S]
        centred = self._centred(x, mean)
        if self.reduce == "mean":
            square = self._reduced(centred.square().mean(axes))  # [C]
        else:
            square = self._greatest(centred).mean(0)  # [C]
        assert self.running_mean is not None and self.running_var is not None
        self.running_mean.lerp_(mean.detach(), self.momentum)
        self.running_var.lerp_(square.detach(), self.momentum)
        return self._normalised(centred, square)

    def _over_instances(self, x: Tensor) -> Tensor:
        samples = x.unsqueeze(1) if x.ndim == 2 else x.flatten(1, -2)  # [batch, samples, D]
        mean = _mean(self._scalars.take(samples))
        centred = self._centred(samples, mean)
        if self.reduce == "mean":
            square = self._reduced(_mean(centred.square()))  # [batch, 1, C]
        else:
            square = self._greatest(centred).unsqueeze(1)
        return self._normalised(centred, square).reshape(x.shape)

    def _over_graphs(self, x: Tensor, batch: Tensor | None, num_graphs: int | None) -> Tensor:
        if not self.instance or self.reduce != "mean":
            raise ConfigError(
                "BatchNorm(batch=...) takes the mean over each graph, which needs instance=True and reduce='mean'; "
                f"got instance={self.instance} and reduce={self.reduce!r}. Leave batch away for one of the whole batch."
            )
        if batch is None or num_graphs is None or x.ndim != 2 or batch.shape != x.shape[:1]:
            raise ShapeError(
                f"BatchNorm needs features [N, {self.irreps.dim}], batch [N] and num_graphs together; got features "
                f"{list(x.shape)}, batch {'None' if batch is None else list(batch.shape)}, num_graphs {num_graphs}."
            )
        if isinstance(num_graphs, bool) or not isinstance(num_graphs, (int, torch.SymInt)) or num_graphs < 0:
            raise ConfigError(f"BatchNorm needs an integer num_graphs >= 0; got {num_graphs!r}.")
        size = scatter_sum(x.new_ones(x.shape[0], 1), batch, num_graphs).clamp(min=1)  # [B, 1]
        mean = scatter_sum(self._scalars.take(x), batch, num_graphs) / size
        centred = self._centred(x, mean[batch])
        square = self._reduced(scatter_sum(centred.square(), batch, num_graphs) / size)  # [B, C]
        return self._normalised(centred, square[batch])

    def _centred(self, x: Tensor, mean: Tensor) -> Tensor:
        """Take the means ``[..., S]`` off the ``0e`` of x."""
        return x - self._scalars.put(mean) if self._scalars.num else x

    def _reduced(self, squares: Tensor) -> Tensor:
        """Put the squares of components together, ``[..., D]`` to ``[..., C]``."""
        return self._channels.mean(squares) if self.normalization == "component" else self._channels.sum(squares)

    def _greatest(self, centred: Tensor) -> Tensor:
        """Return the greatest squares of each item of the first axis, ``[batch, C]``."""
        squares = self._reduced(centred.square())
        return squares.flatten(1, -2).amax(1) if squares.ndim > 2 else squares

    def _normalised(self, centred: Tensor, square: Tensor) -> Tensor:
        """Divide by the roots of the mean squares ``[..., C]``; weights and biases."""
        scale = (square + self.eps).rsqrt()
        scale = self._channels.spread(scale if self.weight is None else scale * self.weight)
        if self.bias is None or not self._scalars.num:
            return centred * scale
        return torch.addcmul(self._scalars.put(self.bias), centred, scale)

    def __repr__(self) -> str:
        counts = [(self.weight, "weights"), (self.bias, "biases")]
        numbers = "".join(f" | {p.numel()} {name}" for p, name in counts if p is not None)
        return f"BatchNorm({self.irreps}{' | per instance' if self.instance else ''}{numbers})"


def _mean(samples: Tensor) -> Tensor:
    """Return the mean of ``[batch, samples, ...]`` over samples; where there is one each, that is a copy saved."""
    return samples if samples.shape[1] == 1 else samples.mean(1, keepdim=True)


def _check_option(name: str, value: str, options: tuple[str, ...]) -> None:
    if value not in options:
        hint = did_you_mean(str(value), options)
        raise ConfigError(f"BatchNorm needs {name} {' or '.join(map(repr, options))}; got {value!r}.{hint}")
