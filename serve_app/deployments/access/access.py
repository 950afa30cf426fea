"""The access that the config grants."""

from serve_app.config import AccessConfig
from serve_app.deployments.access.key_limits import KeyLimits, counts_of
from serve_app.deployments.access.key_ring import KeyRing
from serve_app.deployments.access.shared_counts import SharedCounts


class Access:
    """The keys and what they have used up; without `keys` this machine has access, and if it is `open`, all machines.

    `shared` counts for all routers; without it the config says where they are counted.
    Raises `ConfigError` if the file of keys or the store of the limits cannot be used.
    """

    def __init__(self, config: AccessConfig, shared: SharedCounts | None = None) -> None:
        self.open = config.open
        self.keys = KeyRing(config.keys_file) if config.keys_file is not None else None
        self.limits = KeyLimits(shared or counts_of(config))

    @property
    def refused(self) -> str | None:
        """Return why a changed key file is not in force, or None."""
        return None if self.keys is None else self.keys.refused
