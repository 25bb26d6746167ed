"""The moving parts of one process: they own time and order, and speak to the outside by ports."""
