"""A request's prompt as the models of a tier get it."""

from dataclasses import replace

from serve_app.core.running.budget import left_s
from serve_app.core.running.calls import Key
from serve_app.core.running.run import Run
from serve_app.core.types.prompt import Prompt


def prompts(run: Run, number: int) -> list[tuple[Key, Prompt]]:
    """Return the request's prompt as each model of a tier gets it.

    It asks for log-probabilities if this tier or a later one scores the model by them.
    """
    tier = run.tiers[number]
    scored = {name for later in run.tiers[number:] if later.confidence for name in later.models}
    limits = [limit for limit in (tier.timeout_s, left_s(run)) if limit is not None]
    plain = replace(run.prompt, timeout_s=min(limits, default=None), patience_s=tier.tier_timeout_s)
    with_logprobs = replace(plain, sampling=replace(plain.sampling, logprobs=True)) if scored else plain
    return [((name, 0), with_logprobs if name in scored else plain) for name in tier.models]
