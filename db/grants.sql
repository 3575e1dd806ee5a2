-- Who may call what.  The functions are the only door: no role has rights on the tables.

revoke all on all functions in schema conveyor from public;

do $$
begin
    if to_regrole('conveyor_producer') is null
        or to_regrole('conveyor_worker') is null
        or to_regrole('conveyor_viewer') is null
        or to_regrole('conveyor_operator') is null
    then
        raise warning 'the conveyor roles do not exist: grants are left out'
            using hint = 'Let a role with createrole run this once more.';
        return;
    end if;

    grant usage on schema conveyor to conveyor_producer, conveyor_worker, conveyor_viewer, conveyor_operator;

    grant execute on function
        conveyor.check_client
        to conveyor_producer, conveyor_worker, conveyor_viewer, conveyor_operator;

    grant execute on function
        conveyor.add_record,
        conveyor.add_records_to_queue,
        conveyor.get_queue_status,
        conveyor.list_sleepers
        to conveyor_producer, conveyor_worker, conveyor_operator;

    grant execute on function
        conveyor.open_source,
        conveyor.ingest_page
        to conveyor_producer, conveyor_operator;

    grant execute on function
        conveyor.list_sources
        to conveyor_producer, conveyor_viewer, conveyor_operator;

    grant execute on function
        conveyor.claim_records_batch,
        conveyor.next_due_at,
        conveyor.park,
        conveyor.leave,
        conveyor.extend_leases,
        conveyor.release_records,
        conveyor.get_claim_summary,
        conveyor.mark_record_completed,
        conveyor.mark_records_completed,
        conveyor.mark_record_failed,
        conveyor.mark_records_failed,
        conveyor.cleanup_orphaned_records,
        conveyor.maintain,
        conveyor.health_check,
        conveyor.get_record
        to conveyor_worker, conveyor_operator;

    grant execute on function
        conveyor.get_queue_status,
        conveyor.list_sleepers,
        conveyor.health_check,
        conveyor.get_record,
        conveyor.list_records,
        conveyor.why_not_claimed,
        conveyor.queue_monitoring,
        conveyor.processing_diagnostics,
        conveyor.processing_performance
        to conveyor_viewer, conveyor_operator;

    grant execute on function
        conveyor.reset_failed_records,
        conveyor.requeue_records,
        conveyor.cancel_records,
        conveyor.configure_flow,
        conveyor.pause_flow,
        conveyor.resume_flow,
        conveyor.purge_records,
        conveyor.reset_source,
        conveyor.forget_source,
        conveyor.check_integrity
        to conveyor_operator;
end;
$$;
