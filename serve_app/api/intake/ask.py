"""What a request asks, whichever API it came by."""

from dataclasses import dataclass, field

from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.api.intake.caller import Caller
from serve_app.core.types.prompt import Prompt


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for so many answers (`choices`); `watched`: its stream tells how the cascade goes on, too.

    `model` is the id of a cascade or of a single model. Without a caller it is anyone's. `escalated`: its conversation
    was deferred before, so the target alone is asked.
    """

    model: str
    prompt: Prompt
    options: CascadeOptions = field(default_factory=CascadeOptions)
    stream: bool = False
    choices: int = 1
    watched: bool = False
    caller: Caller = field(default_factory=Caller)
    escalated: bool = False
