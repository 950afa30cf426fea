"""A request body on its way in: received, limited, parsed and validated."""
