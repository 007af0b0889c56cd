"""Tests of row-level security, the second wall between tenants."""
