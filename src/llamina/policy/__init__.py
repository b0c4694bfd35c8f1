"""Pure policies: arithmetic and decisions without an event loop."""
