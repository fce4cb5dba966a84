"""Profile LOGPROBS."""
