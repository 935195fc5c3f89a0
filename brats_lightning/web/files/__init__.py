"""Cases on disk, and the files that people send: received, looked into, named."""
