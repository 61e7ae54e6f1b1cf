"""Plugin discovery, the component registry and the manager."""
