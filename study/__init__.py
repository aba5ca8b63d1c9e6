"""What turns the method of lib into a study."""
