"""How an operator sees it: the Prometheus collector and its HTTP endpoint."""
