-- How long the oldest notification has waited, for /metrics and `renderhook status`.
CREATE INDEX notifications_pending ON notifications (pending_since) WHERE state = 'pending';
