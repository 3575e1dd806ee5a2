-- Shared, so that two who ask at the same time do not see each other.
create or replace function conveyor._is_taken(p_key bigint)
    returns boolean
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    return not (pg_try_advisory_lock_shared(p_key) and pg_advisory_unlock_shared(p_key));
end;
$$;

comment on function conveyor._is_taken is 'Whether another session holds this seat.';
