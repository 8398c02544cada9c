"""Alerts: rules of an account, the sums they look at, and who is told when a limit is near or crossed."""
