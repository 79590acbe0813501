"""The queries of assessment, by what is read."""
