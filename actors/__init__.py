"""The actors that keep sessions, and the pure rules that they follow. Knows no sockets and no HTTP."""
