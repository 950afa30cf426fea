"""Errors of an API server, as sentences.

ClusterError
├── UnreachableError   no answer, or only one that asks to try again later
├── UnknownKindError   a kind that the server does not have
└── RefusedError       an answer with a status code other than success
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from serve_app.cluster.manifests import Fields
from serve_app.errors import ClusterError

QUOTA = re.compile(r"exceeded quota: .*", re.DOTALL)
WEBHOOK = re.compile(r'admission webhook "(?P<name>[^"]+)" denied the request:? ?(?P<why>.*)', re.DOTALL)
SECRETS = re.compile(
    r"\b(?:hf_|sk-|gh[pousr]_|glpat-|xox[bp]-)[\w-]{8,}"
    r"|(?i:(?<=bearer )|(?<=token=)|(?<=password=)|(?<=api_key=)|(?<=secret=))[^\s&]+"
    r"|(?<=://)[^\s@/]+(?=@)"
)
"""Tokens by their issuers' prefixes, values of names such as `password`, and credentials in a URL."""
QUOTED_LENGTH = 300
"""Characters of one of a server's messages that a sentence quotes: it may contain a whole object."""
QUOTED_CAUSES = 5
"""How many objections to fields a sentence quotes."""


class UnreachableError(ClusterError):
    """The API server does not answer, or cannot for the moment."""


class UnknownKindError(ClusterError):
    """The API server does not have this kind: what defines it is not installed."""


class RefusedError(ClusterError):
    """The API server refused a request: `status` is HTTP's code, `fields` are the ones it objects to."""

    def __init__(self, sentence: str, status: int, reason: str = "", fields: tuple[str, ...] = ()) -> None:
        super().__init__(sentence, status, reason, fields)
        self.sentence = sentence
        self.status = status
        self.reason = reason
        self.fields = fields

    def __str__(self) -> str:
        return self.sentence


def redacted(text: str) -> str:
    """Return `text` without what looks like a token or password, and without a terminal's control characters."""
    plain = "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")
    return SECRETS.sub("(hidden)", plain)


@dataclass(frozen=True)
class Operation:
    """What a request does, as its error messages name it: `patch`, `ConfigMap/settings`, and a namespace or None.

    Messages about a Secret (`secret`) name only the fields, since the server's message may quote its values.
    """

    verb: str
    subject: str
    namespace: str | None = None
    secret: bool = False


def refusal(status: int, body: Fields, operation: Operation, context: str) -> RefusedError:
    """Build the error for a refused operation from HTTP's code and the server's `Status` object.

    `context` names the caller, such as "context 'lab'".
    """
    message = redacted(str(body.get("message") or "")).strip().rstrip(".")
    details = body.get("details")
    causes = (details.get("causes") if isinstance(details, dict) else None) or []
    fields = tuple(str(cause.get("field")) for cause in causes if cause.get("field"))
    sentence = _sentence(status, message, causes, operation, context)
    return RefusedError(sentence, status, str(body.get("reason") or ""), fields)


def _sentence(status: int, message: str, causes: Sequence[Fields], operation: Operation, context: str) -> str:
    subject = operation.subject
    if status == 401:
        return f"The cluster does not accept the credentials of {context}: log in again, or name another --context."
    if status == 409 and any(cause.get("reason") == "FieldManagerConflict" for cause in causes):
        return f"{subject}: {_owners(causes)}. --force-conflicts takes them over."
    if denied := WEBHOOK.search(message):
        reason = "(not shown: it is a Secret)" if operation.secret else _quoted(denied["why"]) or "it gives no reason"
        return f"{subject}: the admission webhook {denied['name']} refuses it: {reason}."
    if quota := QUOTA.search(message):
        return f"{subject}: {_quoted(quota[0])}."
    if status == 403:
        inside = f" in namespace {operation.namespace}" if operation.namespace else ""
        return f"You may not {operation.verb} {subject}{inside} as {context}: {_quoted(message) or 'forbidden'}."
    if operation.secret:
        names = ", ".join(str(cause.get("field")) for cause in causes if cause.get("field"))
        objections = f", fields {names}" if names else ""
        return f"{subject}: refused with HTTP {status}{objections} (a Secret's values are hidden)."
    if status == 422 and causes:
        return f"{subject}: {_quoted(*map(_cause, causes))}."
    return f"{subject}: the cluster answers {operation.verb} with HTTP {status}: {_quoted(message) or 'no message'}."


def _quoted(*messages: str) -> str:
    """Return a server's messages as one text, without the middle of long ones, since reasons follow the values."""
    half = QUOTED_LENGTH // 2
    short = [
        text if len(text) <= QUOTED_LENGTH else f"{text[:half]} ... {text[-half:]}" for text in messages[:QUOTED_CAUSES]
    ]
    if short == list(messages):
        return "; ".join(short)
    more = f"; and {len(messages) - len(short)} more" if len(messages) > len(short) else ""
    return f"{'; '.join(short)}{more} (shortened: kubectl shows all of it for the same file)"


def _cause(cause: Fields) -> str:
    return redacted(f"{cause.get('field') or 'it'}: {cause.get('message') or cause.get('reason')}").rstrip(".")


def _owners(causes: Sequence[Fields]) -> str:
    """Return `.spec.replicas is owned by 'kubectl'` for every field."""
    fields_by_owner: dict[str, list[str]] = {}
    for cause in causes:
        manager = re.search(r'conflict with "([^"]*)"', str(cause.get("message")))
        fields_by_owner.setdefault(manager[1] if manager else "another", []).append(str(cause.get("field")))
    return "; ".join(
        f"{', '.join(fields)} {'is' if len(fields) == 1 else 'are'} owned by {owner!r}"
        for owner, fields in fields_by_owner.items()
    )
