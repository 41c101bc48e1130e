-- The bodies that may be pruned, oldest first.
CREATE INDEX deliveries_with_body ON deliveries (received_at) WHERE body IS NOT NULL;
