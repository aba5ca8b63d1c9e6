"""From numbers to tables and answers."""
