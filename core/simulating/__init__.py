"""Simulating: recorded orders run again under another program, in memory, with the deciders that posting uses."""
