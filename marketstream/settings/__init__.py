"""What the server was told to be: read from files, environment and flags, checked before anything starts."""

from marketstream.settings.loading import FLAGS, Loaded, leaves, load_settings
from marketstream.settings.model import Settings
from marketstream.settings.plan import load_plans, load_registry
from marketstream.settings.toml import shipped

__all__ = ["FLAGS", "Loaded", "Settings", "leaves", "load_plans", "load_registry", "load_settings", "shipped"]
