-- A generation is addressed within its tenant.
ALTER TABLE model.usage DROP CONSTRAINT usage_pkey, ADD PRIMARY KEY (tenant_id, generation_id);
