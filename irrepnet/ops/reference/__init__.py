"""Plain PyTorch for every op that may have a fused kernel: the definition that kernels are compared with."""
