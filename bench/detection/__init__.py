"""``make bench-detection``: does the detector call what explodes, and leave alone what does not?"""
