"""How the agent looks after itself: its pace, its cost, and what it tells the service manager."""
