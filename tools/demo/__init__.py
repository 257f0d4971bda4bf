"""What `make demo` runs: the main job of this project, done and shown in a minute."""
