-- How many renders ended lately, and who told of it: polls should not find what webhooks tell.
CREATE INDEX transitions_at ON transitions (at);
