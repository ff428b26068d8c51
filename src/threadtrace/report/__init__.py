"""An incident report out of a recorded event stream.

Imports no other room but text, errors and log: it runs without root, on any system.
"""
