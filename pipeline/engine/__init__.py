"""How units get done: the driver, what a worker does, progress, and the executors. Only this room imports Ray core."""
