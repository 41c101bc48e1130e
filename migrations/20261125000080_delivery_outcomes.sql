-- For `GET /deliveries?outcome=`. A recorded event, which is the usual one, is not in it and costs nothing more.
CREATE INDEX deliveries_by_outcome ON deliveries (outcome, id) WHERE outcome <> 'recorded';
