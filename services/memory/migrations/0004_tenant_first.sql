-- A fact is addressed within its tenant, so that the index that finds it begins with what the policies compare.
ALTER TABLE memory.passage DROP CONSTRAINT passage_fact_id_fkey;
ALTER TABLE memory.fact DROP CONSTRAINT fact_pkey, ADD PRIMARY KEY (tenant_id, id);
ALTER TABLE memory.passage
    ADD CONSTRAINT passage_of_one_fact FOREIGN KEY (tenant_id, fact_id) REFERENCES memory.fact ON DELETE CASCADE;

DROP INDEX memory.passage_of_fact;
DROP INDEX memory.passage_of_facts;
CREATE INDEX passage_of_fact ON memory.passage (tenant_id, fact_id) WHERE fact_id IS NOT NULL;

-- With row-level security Postgres does not use it: `@>` is not among the operators that it applies to rows whose tenant
-- it has not compared yet. Pages of facts go by `fact_by_key`, and searches come to a fact from its passage.
DROP INDEX memory.fact_by_facets;
