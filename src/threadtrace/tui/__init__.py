"""The live view, on Textual: renders what ``screen/`` makes of snapshots, and computes nothing."""
