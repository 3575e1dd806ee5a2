-- Records that end their workers: claims name the crash count, and health knows who crashed lately.

-- Its columns change; functions/claim_records_batch.sql makes it anew.
drop function if exists conveyor.claim_records_batch(text, integer, text, interval);

-- Nothing on the way from claim to completion touches it.
create index idx_processing_queue_crashed on conveyor.processing_queue (updated_at)
    where failure_kind = 'crashed';
