"""C05: token ids are taken as they are, and text as its ids."""

from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe


@check(
    "C05",
    title="A prompt of token ids is the text prompt of the same ids: nothing is added in front",
    clause="bellhousing.v1.GenerateRequest.token_ids",
    profile="core",
    tier="standard",
    needs=("text", "token_ids", "tokenize", "sampling.max_tokens", "sampling.temperature", "determinism"),
    finds="one special token added to, or missing from, either form of the prompt",
)
async def ids_prompt_is_text_prompt(probe: Probe) -> None:
    """Count the prompt of both forms, and compare greedy outputs after a first one has filled a prefix cache."""
    for _ in range(probe.size(smoke=1, standard=6)):
        text = probe.prompt()
        ids = await probe.tokenize(text)
        runs = {}
        await probe.generate(text, max_tokens=8, temperature=0.0)
        for form, prompt in (("text", text), ("ids", ids)):
            run = await probe.generate(prompt, max_tokens=8, temperature=0.0)
            counted = run.finished.usage.prompt_tokens
            probe.equal(f"prompt tokens of the {form} prompt", found=counted, expected=len(ids))
            runs[form] = run.ids()
        probe.equal("output of the ids prompt", found=runs["ids"], expected=runs["text"])
