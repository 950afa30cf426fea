"""A real HTTP server of the API for load: half of the prompts are agreed on, and it says how many replicas it has."""

from serve_app.api.service import Readiness
from serve_app.core.types.answer import Answer
from serve_app.core.types.prompt import Prompt
from tests.api.serving import FakeService, Scripted

PAUSE_S = 0.01
"""Between two words of a stream."""


class Moody(Scripted):
    """Dissents from prompts of an odd number of characters."""

    def _answer(self, prompt: Prompt) -> Answer:
        odd = len(prompt.messages[-1].content) % 2
        return Scripted("Rome" if odd else "Paris")._answer(prompt)


class LoadedService(FakeService):
    """The cascade `default`, whose target streams three words, and models under their own names."""

    def __init__(self) -> None:
        super().__init__()
        self.models["b"] = Moody("Paris")
        self.models["t"].delay_s = 0.02
        self.models["t"].pause_s = PAUSE_S

    async def readiness(self) -> Readiness:
        ready = await super().readiness()
        return Readiness(ready.ready, ready.details | {"replicas": {"a": 1, "b": 1, "t": 2}})
