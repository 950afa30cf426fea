"""The reference of the API at `/docs`: one page, rendered from its OpenAPI document, that loads nothing else."""
