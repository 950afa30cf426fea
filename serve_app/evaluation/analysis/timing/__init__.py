"""Recorded answers in virtual time: the seconds and the costs of requests, by the cascade that serves them."""
