-- Lists go by the bytes of keys: the same order on every database, whatever its collation, and prefixes are ranges of it.
CREATE INDEX fact_by_key ON fact (tenant_id, key COLLATE "C");
