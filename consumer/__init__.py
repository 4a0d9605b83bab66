"""Turns events into references to look at, and wires everything together."""
