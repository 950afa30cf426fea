"""Evaluation of records that a user drops on the page, in a process with no other rights."""
