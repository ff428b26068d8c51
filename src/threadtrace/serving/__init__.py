"""HTTP, for whoever looks from elsewhere: metrics, health, answers, events. One loop, one thread."""
