"""What vLLM's workers can do beyond their own methods.

vLLM mixes the class into its workers (`worker_extension_cls`). The names used here are inner ones of vLLM: where a
release has others, each method says that it did nothing, and vLLM's own way is taken.
"""

from typing import Any

from bellhousing_vllm.discarded_draws import DiscardedDraws
from bellhousing_vllm.prompt_adapters import PromptAdapters
from bellhousing_vllm.whole_files import WholeFiles


class WorkerExtension:
    """Mixed into a worker: with its `model_runner`, which has the manager of its adapters."""

    model_runner: Any

    def leave_device(self, number: int) -> bool:
        """Free the place of an adapter on the device; return whether it is in host memory now.

        vLLM itself only lets go of the adapter whose last use is longest ago, which need not be the one that the server
        chose.
        """
        try:
            manager = self.model_runner.lora_manager._adapter_manager  # noqa: SLF001 - vLLM shows it in no other way
            manager.deactivate_adapter(number)
            return manager.get_adapter(number) is not None
        except AttributeError:  # whoever asked removes the adapter instead
            return False

    def read_whole_files(self) -> bool:
        """Read adapters in one piece from now on; return whether this vLLM can."""
        try:
            manager = self.model_runner.lora_manager
            manager._lora_model_cls = WholeFiles(manager._lora_model_cls)  # noqa: SLF001 - vLLM shows it in no other way
        except AttributeError:
            return False
        return True

    def mend_for_cpu(self, *, has_adapters: bool) -> list[str]:
        """Keep requests from ending an engine on a CPU; return the names of what this vLLM has other names for."""
        unknown = []
        for mend in (DiscardedDraws.put_back, *([PromptAdapters.tell] if has_adapters else [])):
            try:
                mend(self.model_runner)
            except (AttributeError, ValueError):
                unknown.append(mend.__qualname__)
        return unknown
