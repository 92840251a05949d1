"""The posting shell: load what a batch touches, let the pure core decide message by message, write it all at once."""
