"""What spoils long runs, said early and in one line."""
