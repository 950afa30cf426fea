"""What is reported of a chosen cascade, or of a model alone: figures of examples that it was not chosen on."""

from collections.abc import Sequence
from typing import TypeAlias

from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.analysis.dataset import writable
from serve_app.evaluation.analysis.json_values import Body
from serve_app.evaluation.choose.results import ChosenCascade, ChosenTier, Gain, WhenChosen
from serve_app.evaluation.choose.tiers import Chows, Specs
from serve_app.evaluation.statistics.bootstrap import bootstrap, mean_of
from serve_app.evaluation.statistics.search import Alone, Choice, Spec, best_alone_within

Key: TypeAlias = Specs | Alone


class Reports:
    """What is reported of choices: all with the same resamples of the held-out examples."""

    def __init__(
        self, view: CascadeView, chows: Chows, alone: Sequence[Choice[Key]], choices_: Sequence[Choice[Key]]
    ) -> None:
        self._view, self._chows, self._alone = view, chows, {choice.cascade: choice for choice in alone}
        self._target = self._alone[Alone(view.target)]
        options = view.dataset.options
        self._resampled = bootstrap(
            {_subject(choice): mean_of(choice.outcome.quality) for choice in (*alone, *choices_)},
            len(view.test),
            resamples=options.resamples,
            seed=options.seed,
        )

    def instead(self, choices: Sequence[Choice[Key]], most: Choice[Key] | None) -> ChosenCascade | None:
        """Return the model alone to use in place of a cascade: the best, of those that cost no more than `most`.

        None if one of the choices pays: a cascade that is shown to be better than that model, or that cost less when
        chosen and is not shown to be worse.
        """
        model = best_alone_within(tuple(self._alone.values()), most)
        if model is None or any(self._pays(choice, model) for choice in choices):
            return None
        return self.cascade(model)

    def _pays(self, choice: Choice[Key], model: Choice[Key]) -> bool:
        if isinstance(choice.cascade, Alone):
            return False
        difference = self._resampled.difference(_subject(choice), _subject(model))
        return difference.low > 0 or (choice.chosen.cost < model.chosen.cost and difference.high >= 0)

    def cascade(self, choice: Choice[Key]) -> ChosenCascade:
        """Return the report of a cascade, or of a model alone."""
        samples = self._view.dataset.config.samples()
        key, thresholds = choice.cascade, map(writable, choice.held_out.thresholds)
        specs_, last = ((), key.model) if isinstance(key, Alone) else (key, self._view.target)
        when_chosen = WhenChosen(choice.chosen.cost / self._target.chosen.cost, choice.chosen.quality)
        return ChosenCascade(
            tiers=tuple(
                ChosenTier(spec.members, spec.signal, threshold, _compare(self._view, spec), samples)
                for spec, threshold in zip(specs_, thresholds, strict=True)
            ),
            target=last,
            several=max(len(self._view.tiers) - 1, len(specs_)) > 1,
            signals=_settings(self._chows, specs_),
            cost=choice.held_out.cost / self._target.held_out.cost,
            quality=self._resampled.interval(_subject(choice)),
            rate=choice.held_out.deferred if specs_ else None,
            gain=self._gain(choice) if specs_ else None,
            when_chosen=when_chosen,
            signature=_signature(self._view, specs_, last),
        )

    def _gain(self, choice: Choice[Key]) -> Gain | None:
        """Return what a cascade gains over the best of the models alone that cost no more, None if all cost more."""
        model = best_alone_within(tuple(self._alone.values()), choice)
        if model is None:
            return None
        assert isinstance(model.cascade, Alone)
        return Gain(model.cascade.model, self._resampled.difference(_subject(choice), _subject(model)))


def _subject(choice: Choice[Key]) -> tuple[Key, tuple[float, ...]]:
    return choice.cascade, choice.chosen.thresholds


def _compare(view: CascadeView, spec: Spec) -> Body | None:
    """Return the view of the tier that the members are of, as a config has it, if the signal compares texts."""
    [cascade] = view.dataset.config.cascades.values()
    compare = next(tier.compare for tier in cascade.tiers if spec.members[0] in tier.models)
    if compare is None or view.dataset.config.all_signals()[spec.signal].token_level:
        return None
    return compare.model_dump(mode="json", exclude_defaults=True)


def _settings(chows: Chows, specs: Specs) -> Body:
    """Return the config's `signals` under which the thresholds mean the same: with the members' z-scores."""
    signals: Body = {}
    for spec in specs:
        for model in spec.members:
            if (chow := chows.get(spec.signal)) is not None:
                entry = signals.setdefault(spec.signal, {"kind": spec.signal, "zscores": {}})
                entry["zscores"][model] = chow.zscores[model].model_dump()
    return signals


def _signature(view: CascadeView, specs: Specs, last: str) -> str:
    source = view.dataset.source
    models = ">".join(["+".join(spec.members) for spec in specs] + [last])
    return (
        f"data:{source.data_sha256[:12]}|group:{view.group.name}|n:{len(view.test)}|chosen on:{len(view.fit)}|"
        f"metric:{view.metric}|models:{models}|weights:{source.models_sha256[:12]}|"
        f"config:{source.config_sha256[:12]}|"
        f"signal:{'>'.join(spec.signal for spec in specs) or 'none'}|seed:{source.seed}|version:{source.version}"
    )
