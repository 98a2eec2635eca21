"""Stands for what brings the database up to date."""

print("migrated")
