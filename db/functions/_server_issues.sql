-- What is wrong with the whole: nobody keeps house, records crash, something holds the horizon.
create or replace function conveyor._server_issues(p_at timestamptz, p_thresholds jsonb)
    returns table (severity text, issue text, remedy text)
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
    set jit = off
    set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_longest constant interval := interval '1 minute' * (p_thresholds ->> 'horizon_minutes')::float8;
begin
    return query
    select
        'critical', 'the server is a standby: records can be neither added nor claimed',
        'connect to the primary; pg_promote() makes this one it'
    where pg_is_in_recovery()
    union all
    select
        'warning',
        format(
            '%s changes of the counts wait to be folded, the oldest since %s', d.count, conveyor._iso_time(d.oldest)
        ),
        'maintain() folds them: run a worker, or call it every few seconds'
    from (
        select count(*), min(c.counted_at) as oldest
        from conveyor.count_delta as c
        where c.counted_at is not null
    ) as d
    where d.oldest < p_at - interval '1 minute' * (p_thresholds ->> 'maintain_minutes')::float8
    union all
    select
        'warning',
        format(
            'flow %s: %s records were failed within a day because their claims kept ending without an answer',
            q.flow_name, count(*)
        ),
        format(
            'list_records(%L, ''failed'') shows them, get_record(id) their attempts, '
            'requeue_records(ids) brings them back', q.flow_name
        )
    from conveyor.processing_queue as q
    where q.failure_kind = 'crashed'
        and q.updated_at > p_at - interval '1 day'
    group by q.flow_name
    union all
    select
        'warning',
        format(
            'seat %s of flow %s is held by process %s (%s), which does not call itself a worker',
            s.seat, s.flow_name, s.pid, s.application_name
        ),
        format('pg_terminate_backend(%s) frees it, if a pooler left it behind', s.pid)
    from conveyor.list_sleepers() as s
    where coalesce(s.application_name, '') !~ 'worker'
    union all
    select
        'warning',
        format(
            '%s keeps dead rows from being removed, for %s transactions and %s', h.holder, h.transactions,
            case when h.since is null then 'an unknown time'
                else format('%s minutes', round(extract(epoch from p_at - h.since) / 60)) end
        ),
        h.remedy
    from conveyor._horizon_holders() as h
    where h.since < p_at - v_longest
        or h.transactions > (p_thresholds ->> 'horizon_transactions')::float8;
end;
$$;

comment on function conveyor._server_issues is
    'What is wrong with the queue as a whole: how bad, what, and what to call.';
