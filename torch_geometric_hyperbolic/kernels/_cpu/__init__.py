"""Loops compiled by numba; imported only where numba is installed."""
