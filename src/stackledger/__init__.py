"""Stackledger: a registry of ML stacks and a runner of pipelines on one append-only event log."""
