"""Packets to the central service over HTTP."""
