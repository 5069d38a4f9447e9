"""Executing a step in a process of its own, and what it needs: code, a log."""
