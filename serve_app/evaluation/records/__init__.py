"""Examples, the prompts made of them, and the files with what models answered."""
