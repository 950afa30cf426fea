"""The process that compiles grammars before llama.cpp is given them: one JSON string a line in, one a line out.

Run as a file, so that it imports llguidance and nothing of ours: a start takes a tenth of a second. The answer is what
is wrong with the grammar, or an empty string.
"""

import json
import resource
import sys

from llguidance import LLMatcher

MEMORY_BYTES = 2**31
"""Address space; a grammar of 64,000 characters takes at most a tenth of it."""


def main() -> None:
    """Answer until the other side closes the pipe."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for line in sys.stdin:
        print(json.dumps(LLMatcher.validate_grammar(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
