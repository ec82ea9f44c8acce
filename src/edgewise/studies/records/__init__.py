"""What trials left on the disk, read and checked."""
