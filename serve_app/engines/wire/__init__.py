"""OpenAI's wire format, as clients of it need it: requests, answers, errors."""
