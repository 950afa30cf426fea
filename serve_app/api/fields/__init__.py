"""Field types that the bodies of all APIs share."""
