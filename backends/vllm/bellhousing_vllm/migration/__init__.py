"""Launches of `vllm serve`, read into the settings of this backend."""

from bellhousing_vllm.migration.reader import ORIGIN

__all__ = ["ORIGIN"]
