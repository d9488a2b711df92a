"""PyTorch's milliseconds for the gradient of CLEL's energy (`cpu` preset: 28x28, stages of 32, 32, 64, 64
channels), best of ten, as JSON. Arguments: batch, threads."""

import json
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

batch, threads = int(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(threads)
torch.manual_seed(1)


class Block(nn.Module):
    def __init__(self, inputs, outputs, pooled):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()
        self.pooled = pooled

    def forward(self, x):
        x = F.avg_pool2d(x, 2) if self.pooled else x
        return self.shortcut(x) + self.second(F.leaky_relu(self.first(F.leaky_relu(x, 0.2)), 0.2))


class Energy(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 32, 3, padding=1)
        self.blocks = nn.Sequential(Block(32, 32, False), Block(32, 32, True), Block(32, 64, True), Block(64, 64, True))
        self.head = nn.Sequential(nn.Linear(64, 2048), nn.LeakyReLU(0.2), nn.Linear(2048, 128))

    def forward(self, x):
        h = F.leaky_relu(self.blocks(self.stem(x)), 0.2).mean((2, 3))
        return 0.5 * self.head(h).square().sum(1)


def milliseconds(layout):
    net = Energy().to(memory_format=layout).requires_grad_(False)
    x = torch.rand(batch, 1, 28, 28).to(memory_format=layout).requires_grad_(True)
    best = float("inf")
    for _ in range(11):
        began = time.perf_counter()
        torch.autograd.grad(net(x).sum(), x)
        best = min(best, time.perf_counter() - began)
    return 1e3 * best


eager, last = milliseconds(torch.contiguous_format), milliseconds(torch.channels_last)
print(json.dumps({"version": torch.__version__, "clel_gradient": {"eager": eager, "channels_last": last}}))
