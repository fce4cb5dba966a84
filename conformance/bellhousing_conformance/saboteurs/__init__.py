"""Proxies that each break one promise: what proves that the checks can fail."""
