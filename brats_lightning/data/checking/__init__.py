"""What `brats check` looks at, a case at a time and over all cases."""
