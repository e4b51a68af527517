"""Kernels compiled by Triton; imported only where Triton is installed."""
