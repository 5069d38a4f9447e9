"""The flavors of components: which there are, how they are configured, and what does their work."""
