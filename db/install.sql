-- Install or upgrade the queue:  psql -X -d rpa_db -f db/install.sql
-- One transaction; running it again changes nothing.
--
-- This is the table of contents: top to bottom is the order in which things come to exist.
-- `pgconveyor install` reads the \ir lines below, so there is one order.

\set ON_ERROR_STOP on
begin;

\ir bootstrap.sql

-- versioned: each runs once, in this order, and is never edited afterwards
\set migration 0001_processing_queue
\ir apply_migration.sql
\set migration 0002_exact_counts
\ir apply_migration.sql
\set migration 0003_operators
\ir apply_migration.sql
\set migration 0004_limits
\ir apply_migration.sql
\set migration 0005_crashes
\ir apply_migration.sql

-- repeatable: everything below runs each time
\ir errors.sql

-- produce
\ir functions/add_record.sql
\ir functions/add_records_to_queue.sql

-- claim
\ir functions/claim_records_batch.sql
\ir functions/next_due_at.sql
\ir functions/extend_leases.sql
\ir functions/release_records.sql

-- wake
\ir functions/_wake_key.sql
\ir functions/_wake_channel.sql
\ir functions/park.sql
\ir functions/leave.sql

-- answer
\ir functions/mark_record_completed.sql
\ir functions/mark_records_completed.sql
\ir functions/mark_record_failed.sql
\ir functions/mark_records_failed.sql

-- recover
\ir functions/cleanup_orphaned_records.sql
\ir functions/reset_failed_records.sql
\ir functions/requeue_records.sql
\ir functions/cancel_records.sql

-- observe
\ir functions/get_queue_status.sql
\ir functions/health_check.sql
\ir functions/list_records.sql
\ir functions/get_record.sql
\ir functions/why_not_claimed.sql
\ir functions/list_sleepers.sql

-- govern and keep
\ir functions/configure_flow.sql
\ir functions/pause_flow.sql
\ir functions/resume_flow.sql
\ir functions/maintain.sql
\ir functions/purge_records.sql
\ir functions/check_integrity.sql

-- count: triggers on the queue, and what folds their deltas
\ir functions/_count_inserted.sql
\ir functions/_count_updated.sql
\ir functions/_count_deleted.sql
\ir functions/_count_truncated.sql
\ir functions/_fold_counts.sql
\ir functions/_count_differences.sql

-- wake: called by the triggers, park and leave
\ir functions/_ring.sql
\ir functions/_sit.sql
\ir functions/_is_taken.sql
\ir functions/_count_due.sql
\ir functions/_check_places.sql

-- internal: called by the functions above alone
\ir functions/_flow_settings.sql
\ir functions/_session_name.sql
\ir functions/_floor_setting.sql
\ir functions/_next_look.sql
\ir functions/_raise_floor.sql
\ir functions/_answer_outcomes.sql
\ir functions/_retry_delay.sql
\ir functions/_lock_orphans.sql
\ir functions/_return_orphans.sql
\ir functions/_return_failed.sql
\ir functions/_place_in_line.sql
\ir functions/_is_locked.sql
\ir functions/_check_flow_name.sql
\ir functions/_check_payloads.sql
\ir functions/_check_dedup_keys.sql
\ir functions/_check_schedule.sql
\ir functions/_check_lease.sql
\ir functions/_check_answers.sql
\ir functions/_check_errors.sql
\ir functions/_check_settings.sql
\ir functions/_to_interval.sql
\ir functions/_to_bytes.sql
\ir functions/_jsonb_size.sql
\ir functions/_cut.sql
\ir functions/_cut_context.sql
\ir functions/_raise_invalid.sql
\ir functions/_raise_too_large.sql
\ir functions/_raise_claim_lost.sql

\ir grants.sql

commit;
