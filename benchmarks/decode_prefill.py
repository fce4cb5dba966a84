"""How far a token's log probability in decode is from that in prefill, in transformers: what the precision costs alone.

`python -m benchmarks.decode_prefill MODEL`, with `bellhousing[reference]`. The suite's LP5 asks engines the same.
"""

import sys
from typing import Any

PROMPTS, TOKENS = 16, 24
SUBJECTS = ("winter", "the sea", "a long road", "a lighthouse")
PRECISIONS = ("bfloat16", "float16", "float32")


def differences(model: Any, ids: Any) -> list[float]:
    """Return the differences in nats of tokens that are drawn after `ids`, of shape (1, tokens)."""
    import torch

    told, whole = [], ids
    with torch.no_grad():
        found = model(ids, use_cache=True)
        for _ in range(TOKENS):
            logprobs = torch.log_softmax(found.logits[0, -1].double(), -1)
            token = torch.multinomial(logprobs.exp(), 1)
            told.append(logprobs[token].item())
            whole = torch.cat([whole, token[None]], 1)
            found = model(token[None], past_key_values=found.past_key_values, use_cache=True)
        prefilled = torch.log_softmax(model(whole).logits[0].double(), -1)
    begin = ids.shape[1]
    return [abs(logprob - prefilled[begin + i - 1, whole[0, begin + i]].item()) for i, logprob in enumerate(told)]


def main(path: str) -> None:
    """Print the median, the 99th percentile and the largest difference for each precision."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    for precision in PRECISIONS:
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, precision)).eval()
        deltas = list[float]()
        for number in range(PROMPTS):
            text = f"Note {number}. Write a long story about {SUBJECTS[number % len(SUBJECTS)]}. Once"
            deltas += differences(model, tokenizer(text, return_tensors="pt").input_ids)
        deltas.sort()
        middle, high = deltas[len(deltas) // 2], deltas[int(0.99 * len(deltas))]
        print(f"{precision}: n {len(deltas)}, median {middle:.2g}, p99 {high:.2g}, most {deltas[-1]:.2g} nats")


if __name__ == "__main__":
    main(sys.argv[1])
