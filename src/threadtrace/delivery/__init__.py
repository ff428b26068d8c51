"""Where the lines of the event stream go: bounded buffers before files, pipes and sockets."""
