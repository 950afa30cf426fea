"""llama.cpp in this process, through xllamacpp."""
