"""Entry modules that run inside a trainer environment; the only modules that import torch."""
