"""HTTP for whoever looks from elsewhere: metrics, health, answers, events. In one event loop."""
