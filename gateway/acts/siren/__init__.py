"""Sirens by class C or by a wired relay: ordered by plan, proved, escalated when silent."""
