"""Executing the steps of runs."""
