"""The run of a request: what it asks, by the policies in force."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serve_app.api.intake.ask import Ask
from serve_app.api.service import unknown_model
from serve_app.config import AppConfig
from serve_app.core.cost import ModelCost, Speed
from serve_app.core.protocols import Scorer
from serve_app.core.running.run import Run
from serve_app.core.sampling import base_name
from serve_app.core.types.policy import Tier
from serve_app.deployments.access.key_limits import check_priced
from serve_app.deployments.opening.budget import budget_of
from serve_app.deployments.opening.capabilities import check_honoured
from serve_app.deployments.opening.overrides import overridden
from serve_app.deployments.policies import Policies
from serve_app.deployments.speculation import Speculations
from serve_app.errors import RequestError, choices, quoted
from serve_app.skipping.prechecker import Prechecks


@dataclass(frozen=True, slots=True)
class RunBuilder:
    """Makes the runs of requests; `costs` and `speeds` are by the names that tiers have for models."""

    config: AppConfig
    policies: Policies
    scorer: Scorer
    lexical: Scorer
    speculations: Speculations
    prechecks: Prechecks
    costs: Mapping[str, ModelCost]
    speeds: Mapping[str, Speed]

    def build(self, ask: Ask) -> Run:
        """Return the run of a request, still without models.

        Raises `UnknownModelError`, or `RequestError` if the request does not fit the cascade or its models.
        """
        model, options = ask.model, ask.options
        if model not in self.policies.tiers:
            message = f"There is no model {quoted(model)}. {choices(model, self.policies.tiers)}"
            raise unknown_model(message, ask.caller)
        tiers = overridden(self.config, self.policies, model, options)
        self._check_honoured(ask, tiers)
        costs = [self.costs[name] for tier in tiers for name in tier.models]
        check_priced(ask.caller, costs)
        cascade = self.config.cascades.get(model)
        run = Run(
            prompt=ask.prompt,
            tiers=tiers,
            models={},
            scorer=self.scorer,
            lexical=self.lexical,
            force=options.force,
            budget=budget_of(ask, costs),
            costs=self.costs,
            fallback=cascade is not None and cascade.on_target_failure == "best_member",
            escalated=ask.escalated,
            speculation=self.speculations.of(model, tiers),
            stream=ask.stream,
            choices=ask.choices,
            caller=ask.caller.name,
            speeds=self.speeds,
        )
        run.started = ask.arrived  # its conversation was looked up since
        if options.skip and not options.include_answers and self.policies.in_force_for(model, run):
            run.prechecker = self.prechecks.of(model, tiers)
        return run

    def _check_honoured(self, ask: Ask, tiers: Sequence[Tier]) -> None:
        """Raise `RequestError` if one of the models that may be asked cannot honour the request."""
        names = [name for tier in tiers for name in tier.models]
        silent = self.config.without_logprobs(names)
        if ask.prompt.sampling.logprobs and silent:
            raise RequestError(f"logprobs: {', '.join(map(repr, silent))} cannot give log-probabilities.", "logprobs")
        base_names = dict.fromkeys(map(base_name, names))
        check_honoured(ask.prompt, {name: self.config.models[self.config.served_by(name)] for name in base_names})
