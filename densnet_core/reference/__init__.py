"""Reference calculations: backends, executors and the runner."""
