"""Plain HTTP: publishing, health, figures and the development helpers."""
