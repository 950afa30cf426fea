"""vLLM through `ray.serve.llm`."""
