"""Where a view gets its snapshots from: a live agent, a recording, an agent that runs elsewhere."""
