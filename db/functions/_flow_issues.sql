-- What is wrong with flows, by thresholds, with the function that mends it.
create or replace function conveyor._flow_issues(p_at timestamptz, p_thresholds jsonb)
    returns table (severity text, issue text, remedy text)
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    with flow as (
        select
            h.*, t.*,
            100.0 * h.failed_lately / nullif(h.completed_lately + h.failed_lately, 0) as failed_percent,
            case when h.paused_at is null then round(extract(epoch from p_at - h.oldest_due_at) / 60, 1) end as minutes
        from conveyor._flow_health(p_at, p_thresholds) as h
        cross join lateral jsonb_to_record(p_thresholds) as t (
            window_minutes float8, failed_percent_warning float8, failed_percent_critical float8,
            pending_minutes_warning float8, pending_minutes_critical float8, maintain_minutes float8,
            silent_hours float8
        )
    )
    select
        case when f.failed_percent > f.failed_percent_critical then 'critical' else 'warning' end,
        format(
            'flow %s: %s of %s records that ended in the last %s minutes failed (%s %%)', f.flow_name,
            f.failed_lately, f.completed_lately + f.failed_lately, f.window_minutes, round(f.failed_percent, 1)
        ),
        format(
            'processing_performance(p_include_error_analysis => true) groups the errors, list_records(%1$L, ''failed'')'
            ' shows the records; when the cause is gone, reset_failed_records(%1$L) brings them back', f.flow_name
        )
    from flow as f
    where f.failed_percent > least(f.failed_percent_warning, f.failed_percent_critical)
    union all
    select
        case when f.minutes > f.pending_minutes_critical then 'critical' else 'warning' end,
        format(
            'flow %s: the oldest of %s pending records has been due for %s minutes%s',
            f.flow_name, f.pending, f.minutes,
            case when f.processing = 0 then ', and nobody holds one' end
        ),
        format(
            case when f.processing = 0
                then 'start workers of flow %1$s; list_sleepers(%1$L) shows who sleeps'
                else 'add workers of flow %1$s; processing_performance() shows what one record takes'
            end,
            f.flow_name
        )
    from flow as f
    where f.minutes > least(f.pending_minutes_warning, f.pending_minutes_critical)
    union all
    select
        'warning',
        format(
            'flow %s: %s records are orphaned, %s of them under a lease that still runs; the longest for %s hours',
            f.flow_name, f.orphaned, f.silent, round(extract(epoch from p_at - f.orphaned_since) / 3600, 1)
        ),
        format(
            'cleanup_orphaned_records(%s) takes them back; workers do it by maintain(), which somebody has to call',
            case when f.silent > 0 then f.silent_hours end
        )
    from flow as f
    where f.orphaned_since < p_at - interval '1 minute' * f.maintain_minutes
    union all
    select
        'notice',
        format(
            'flow %s is paused since %s, and %s records wait', f.flow_name, conveyor._iso_time(f.paused_at), f.pending
        ),
        format('resume_flow(%L) lets them be claimed', f.flow_name)
    from flow as f
    where f.paused_at is not null
        and f.oldest_due_at <= p_at;
end;
$$;

comment on function conveyor._flow_issues is 'What is wrong with flows: how bad, what, and what to call.';
