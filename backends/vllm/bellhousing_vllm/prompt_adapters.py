"""The adapter of each prompt token, where log probabilities of a prompt are computed on a processor.

With adapters, vLLM's CPU kernels take the adapter of each row of logits from the list of the step's draws. The rows of
a prompt's log probabilities are others: beside a second request the engine of vLLM 0.32 ends over them, and with as
many rows as draws it would take another request's adapter. Here the list is that of the step's tokens meanwhile.
"""

from typing import Any


class PromptAdapters:
    """Stands before what collects a prompt's log probabilities in a model runner, and before its model's logits."""

    def __init__(self, runner: Any) -> None:
        (self._kernels,) = runner.lora_manager._adapter_manager.punica_wrapper_mapping.values()  # noqa: SLF001 - see `tell`
        self._collect, self._compute = runner._get_prompt_logprobs_dict, runner.model.compute_logits  # noqa: SLF001
        self._step: Any = None

    @classmethod
    def tell(cls, runner: Any) -> None:
        """Tell the kernels from now on. Raises `AttributeError` where vLLM, which shows them no other way, differs."""
        teller = cls(runner)
        runner._get_prompt_logprobs_dict, runner.model.compute_logits = teller.collect, teller.compute  # noqa: SLF001

    def collect(self, hidden_states: Any, *arguments: Any, **named: Any) -> Any:
        """Collect prompts' log probabilities; `hidden_states` are those of the step's tokens, a row for each."""
        self._step = hidden_states
        try:
            return self._collect(hidden_states, *arguments, **named)
        finally:
            self._step = None

    def compute(self, hidden_states: Any, *arguments: Any, **named: Any) -> Any:
        """Return logits; while prompts are collected, `hidden_states` are neighbouring rows of the step's."""
        if self._step is None:
            return self._compute(hidden_states, *arguments, **named)
        kernels, rows = self._kernels, hidden_states.shape[0]
        first = (hidden_states.storage_offset() - self._step.storage_offset()) // self._step.stride(0)
        draws, count = kernels._sampler_indices, kernels.indices_len[1]  # noqa: SLF001 - as above
        kernels._sampler_indices = kernels.token_lora_indices[first : first + rows]  # noqa: SLF001
        kernels.indices_len[1] = rows
        try:
            return self._compute(hidden_states, *arguments, **named)
        finally:
            kernels._sampler_indices, kernels.indices_len[1] = draws, count  # noqa: SLF001
