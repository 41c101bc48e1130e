-- Totals for /metrics, kept up to date in the transaction that changes what they count (`runtime::tallies`). Each total
-- is spread over shards, so that concurrent transactions do not wait for one row; it is the sum of its shards.
CREATE TABLE tallies (
    -- Such as `renders.video.complete`.
    name text NOT NULL,
    shard smallint NOT NULL,
    -- numeric, because sums of figures from outside may exceed every integer.
    value numeric NOT NULL,
    PRIMARY KEY (name, shard)
) WITH (fillfactor = 50);
