"""The apartments of IndoorNav in habitat-sim."""
