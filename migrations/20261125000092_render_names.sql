-- For searching renders by the beginning of their name, whatever the database's collation. A name may be longer than an
-- index allows, so only its first 100 characters count.
CREATE INDEX renders_name ON renders (lower(left(name, 100)) text_pattern_ops, first_seen_at DESC, id DESC)
    WHERE name IS NOT NULL;
