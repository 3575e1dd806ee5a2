-- What the server knows without counting.
create or replace function conveyor._database_diagnostics(p_at timestamptz)
    returns jsonb
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select jsonb_build_object(
            'server_version', current_setting('server_version'),
            'table_bytes', pg_table_size(s.relid),
            'index_bytes', pg_indexes_size(s.relid),
            'dead_rows', s.n_dead_tup,
            'last_vacuum', conveyor._iso_time(greatest(s.last_vacuum, s.last_autovacuum)),
            'horizon_holders', (
                select coalesce(jsonb_agg(jsonb_build_object(
                    'holder', h.holder, 'transactions', h.transactions,
                    'minutes', round(extract(epoch from p_at - h.since) / 60, 1)
                ) order by h.transactions desc), '[]')
                from conveyor._horizon_holders() as h
            )
        )
        from pg_stat_all_tables as s
        where s.relid = 'conveyor.processing_queue'::regclass
    );
end;
$$;

comment on function conveyor._database_diagnostics is 'Size, dead rows, and who keeps them from being removed.';
