-- The attempts that failed or were orphaned since a time, among the newest p_most attempts: they are in the order of
-- their ids.  An error without a type goes by its first line, numbers left out.
create or replace function conveyor._error_analysis(p_since timestamptz, p_most integer default 10000)
    returns jsonb
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
    set jit = off
    set enable_seqscan = off
    set enable_bitmapscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
as $$
begin
    return (
        with newest as materialized (
            select a.*
            from conveyor.attempt as a
            order by a.attempt_id desc
            limit p_most
        ),
        error as materialized (
            select
                coalesce(q.flow_name, 'deleted records') as flow_name,
                n.record_id, n.attempt_id, n.ended_at, left(n.error, 200) as message,
                case when n.outcome = 'orphaned' then 'orphaned'
                    else coalesce(
                        nullif(n.error_type, ''),
                        nullif(left(regexp_replace(split_part(n.error, e'\n', 1), '\d+', '#', 'g'), 100), ''),
                        'without a message'
                    ) end as error_type
            from newest as n
            left join conveyor.processing_queue as q
                on q.id = n.record_id
            where n.outcome in ('failed', 'orphaned')
                and n.ended_at >= p_since
        ),
        grouped as (
            select
                e.error_type, count(*) as count, count(distinct e.record_id) as records,
                jsonb_agg(distinct e.flow_name) as flows, max(e.ended_at) as newest_at,
                (array_agg(e.record_id order by e.attempt_id desc))[1] as example_id,
                (array_agg(e.message order by e.attempt_id desc))[1] as example
            from error as e
            group by e.error_type
            order by count(*) desc, e.error_type
        )
        select jsonb_build_object(
            'total_errors', (select count(*) from error),
            'unique_error_types', (select count(*) from grouped),
            'errors_by_flow', (
                select coalesce(jsonb_object_agg(f.flow_name, f.count), '{}')
                from (select e.flow_name, count(*) as count from error as e group by e.flow_name) as f
            ),
            'top_errors', (
                select coalesce(jsonb_agg(jsonb_build_object(
                    'error_type', t.error_type, 'count', t.count, 'records', t.records, 'flows', t.flows,
                    'newest_at', conveyor._iso_time(t.newest_at), 'record_id', t.example_id, 'example', t.example
                ) order by t.count desc, t.error_type), '[]')
                from (select g.* from grouped as g limit 20) as t
            ),
            'exact', (select count(*) < p_most or min(n.ended_at) < p_since from newest as n)
        )
    );
end;
$$;

comment on function conveyor._error_analysis is 'Errors since a time, grouped by type, with an example of each.';
