"""Steps and pipelines as people write them, put together into plans. Who executes a plan is bound from outside."""
