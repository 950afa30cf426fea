"""The replicas of vLLM models: their server, options and routing."""
