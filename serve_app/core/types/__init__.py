"""The values that flow through a cascade. All frozen: they cross processes and are compared in tests."""
