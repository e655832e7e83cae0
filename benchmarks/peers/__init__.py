"""Servers to compare with: small programs, each started as a process of its own by ``python -m``."""
