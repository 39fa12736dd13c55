"""Questions to a generated hospital database in MIMIC-III's schema; nothing to download, nobody's data."""

from copilot.envs.sources.ehr_sql.source import SOURCE, EhrSql

__all__ = ["SOURCE", "EhrSql"]
