"""Rewrites: one file each, every pass takes a Graph and returns a Graph."""
