"""Events back into snapshots: of a recording, or of an agent that runs elsewhere. Pure."""
