"""What an update is made of: schedules, optimizers, storage formats."""
