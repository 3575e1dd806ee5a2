-- What keeps the server from removing dead rows and index entries of this database.  Everybody may see transaction
-- ids; since when another role's session has its transaction, only members of pg_read_all_stats.
create or replace function conveyor._horizon_holders()
    returns table (holder text, transactions bigint, since timestamptz, remedy text)
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    select
        format(
            case when a.datid = d.oid then 'the transaction of process %s (%s, role %s)'
                else 'a standby with hot_standby_feedback, by process %s (%s, role %s)' end,
            a.pid, coalesce(nullif(a.application_name, ''), 'without a name'), a.usename
        ),
        greatest(age(a.backend_xid), age(a.backend_xmin))::bigint,
        a.xact_start,
        case when a.datid = d.oid then format('pg_terminate_backend(%s) ends it', a.pid)
            else 'end the long query on the standby' end
    from pg_stat_activity as a
    join pg_database as d
        on d.datname = current_database()
    where (a.datid = d.oid or a.datid is null)
        and a.usesysid is not null  -- the server's own workers are soon done
        and a.pid <> pg_backend_pid()
        and (a.backend_xid is not null or a.backend_xmin is not null)
    union all
    select
        format('the prepared transaction %L of role %s', p.gid, p.owner), age(p.transaction)::bigint, p.prepared,
        format('commit prepared %1$L or rollback prepared %1$L ends it', p.gid)
    from pg_prepared_xacts as p
    where p.database = current_database()
    union all
    select
        format(
            'the %s replication slot %L%s', case when s.active then 'active' else 'inactive' end, s.slot_name,
            case when s.xmin is null then ' (catalog rows alone, and files of WAL)' end
        ),
        greatest(age(s.xmin), age(s.catalog_xmin))::bigint, null,
        format('let its reader catch up, or pg_drop_replication_slot(%L) drops it', s.slot_name)
    from pg_replication_slots as s
    where (s.database is null or s.database = current_database())
        and (s.xmin is not null or s.catalog_xmin is not null);
end;
$$;

comment on function conveyor._horizon_holders is
    'What keeps dead rows from being removed: sessions, prepared transactions, slots.';
