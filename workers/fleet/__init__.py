"""Executing steps on a fleet of workers: what they and coordinators say to each other, and when."""
