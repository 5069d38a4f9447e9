"""The connection to RabbitMQ: one thread that owns it, and what goes over it."""
