"""How a gateway gets in: MessagePack-RPC over TCP, its server and its clients."""
