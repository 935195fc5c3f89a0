"""Pictures, one function each: arrays or plain rows in, a file out."""
