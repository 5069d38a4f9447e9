"""The log: how events are stored, found and appended on condition. Nothing here knows what an event means."""
