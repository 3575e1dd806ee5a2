-- Install or upgrade the queue:  psql -X -d rpa_db -f db/install.sql
-- One transaction; running it again changes nothing.
--
-- To move the records of a table made by the contract's DDL over, in the same transaction (see adopt.sql):
--   psql -X -v adopt=public.processing_queue -v timezone=Europe/Berlin -f db/install.sql
--
-- This is the table of contents: top to bottom is the order in which things come to exist.
-- `pgconveyor install` reads the \ir lines below, so there is one order.

\set ON_ERROR_STOP on
\set known ''

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
\set migration 0006_source
\ir apply_migration.sql

-- repeatable: everything below runs each time
\ir functions/check_client.sql
\ir check_known.sql

\ir errors.sql

-- produce
\ir functions/add_record.sql
\ir functions/add_records_to_queue.sql

-- ingest
\ir functions/open_source.sql
\ir functions/ingest_page.sql
\ir functions/list_sources.sql
\ir functions/reset_source.sql
\ir functions/forget_source.sql

-- claim
\ir functions/claim_records_batch.sql
\ir functions/next_due_at.sql
\ir functions/extend_leases.sql
\ir functions/release_records.sql
\ir functions/get_claim_summary.sql

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
\ir functions/queue_monitoring.sql
\ir functions/processing_diagnostics.sql
\ir functions/processing_performance.sql

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

-- monitor: the parts of the reports
\ir functions/_monitoring_thresholds.sql
\ir functions/_find_issues.sql
\ir functions/_flow_issues.sql
\ir functions/_server_issues.sql
\ir functions/_flow_health.sql
\ir functions/_flow_metrics.sql
\ir functions/_oldest_due.sql
\ir functions/_held_records.sql
\ir functions/_horizon_holders.sql
\ir functions/_orphaned_analysis.sql
\ir functions/_database_diagnostics.sql
\ir functions/_performance.sql
\ir functions/_performance_alerts.sql
\ir functions/_hourly_trends.sql
\ir functions/_throughput.sql
\ir functions/_time_percentiles.sql
\ir functions/_error_analysis.sql
\ir functions/_iso_time.sql
\ir functions/_window_start.sql

-- internal: called by the functions above alone
\ir functions/_flow_settings.sql
\ir functions/_session_name.sql
\ir functions/_floor_setting.sql
\ir functions/_read_floor.sql
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
\ir functions/_check_source.sql
\ir functions/_check_source_keys.sql
\ir functions/_read_after.sql
\ir functions/_add_failures.sql
\ir functions/_to_interval.sql
\ir functions/_to_bytes.sql
\ir functions/_jsonb_size.sql
\ir functions/_cut.sql
\ir functions/_cut_context.sql
\ir functions/_raise_invalid.sql
\ir functions/_raise_too_large.sql
\ir functions/_raise_claim_lost.sql
\ir functions/_raise_source_moved.sql
\ir functions/_raise_source_changed.sql
\ir functions/_raise_source_unknown.sql

\ir grants.sql

-- last: the table that was there before
\if :{?adopt}
    select set_config('conveyor.adopt', :'adopt', true)
    \gset
\endif
\if :{?timezone}
    select set_config('conveyor.adopt_timezone', :'timezone', true)
    \gset
\endif
\ir adopt.sql

commit;
