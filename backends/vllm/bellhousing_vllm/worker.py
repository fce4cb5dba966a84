"""What vLLM's workers can do beyond their own methods: take an adapter off the device and keep it in host memory.

vLLM mixes the class into its workers (`worker_extension_cls`). It has no method of its own for this: it lets go of the
adapter whose last use is longest ago, which need not be the one that the server chose.
"""

from typing import Any


class HostTier:
    """Mixed into a worker, whose `model_runner` has the manager of its adapters."""

    model_runner: Any

    def leave_device(self, number: int) -> bool:
        """Free the place of an adapter on the device; return whether it is in host memory now."""
        try:
            manager = self.model_runner.lora_manager._adapter_manager  # noqa: SLF001 - vLLM shows it in no other way
            manager.deactivate_adapter(number)
            return manager.get_adapter(number) is not None
        except AttributeError:  # another release of vLLM: whoever asked removes the adapter instead
            return False
