"""What keeps sessions and the records of calls beyond the life of the process."""
