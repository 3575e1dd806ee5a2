-- Before a worker sleeps: take or keep a seat at every place it waits at, in a session of its own, outside any
-- transaction block.  A place is a flow and a reason: empty, paused.
--
-- p_held and p_closed are what the call before returned, null and false at first.  confirmed false: call again.  Then
-- look for records, in a later transaction; only then sleep until a notification.  seat null: all seats are taken,
-- poll.  Seat 0 with door_closed false: producers are in flight; look again within milliseconds, and call again.
-- p_closed null opens a closed door: who is rung in vain again and again rather looks now and then.
--
-- Behind a pooler that changes sessions the locks would stay with somebody else's connection: p_client_pid is what the
-- client's library says the backend is (null: it has made sure that the session stays its own).
create or replace function conveyor.park(
    p_flow_names text[],
    p_reasons    text[],
    p_held       integer[],
    p_closed     boolean[],
    p_client_pid integer,
    p_size       integer default 8
)
    returns table (flow_name text, reason text, seat integer, door_closed boolean, confirmed boolean)
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform conveyor._check_places(p_flow_names, p_reasons, p_size);
    if cardinality(p_held) is distinct from cardinality(p_flow_names)
        or cardinality(p_closed) is distinct from cardinality(p_flow_names)
    then
        perform conveyor._raise_invalid(
            'the number of p_held and p_closed', format('%s and %s', cardinality(p_held), cardinality(p_closed)),
            format('one for each of the %s flows', cardinality(p_flow_names))
        );
    end if;
    if p_client_pid <> pg_backend_pid() then
        raise exception using
            errcode = 'WQ003',
            message = format(
                'this session is not the client''s own: the client was told backend %s, and this is %s',
                p_client_pid, pg_backend_pid()
            ),
            hint = 'A connection pooler is in between: poll instead of parking, or connect directly.';
    end if;

    return query
    select p.flow_name, p.reason, s.seat, s.door_closed, s.confirmed
    from unnest(p_flow_names, p_reasons, p_held, p_closed) as p (flow_name, reason, held, closed)
    cross join lateral conveyor._sit(p.flow_name, p.reason, p.held, p.closed, p_size) as s;
end;
$$;

comment on function conveyor.park is
    'Registers this session as a sleeper at these places, to be notified. Raises WQ003 behind a pooler.';
