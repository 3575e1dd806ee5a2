-- What the demo adds to its own database: where the handler looks things up, where its results go, and a witness
-- that logs every change of state, so that the proof does not have to believe the queue.

create table airport (
    faa       text primary key,
    name      text not null,
    latitude  double precision not null,
    longitude double precision not null
);

-- No unique key on record_id: a second result must be possible, so that the proof can find it.
create table flight_result (
    record_id   bigint not null,
    flight      text not null,
    distance_km double precision,
    delay_class text not null
);

-- What the table of a SQL Server had, if the flights come from one.
create table source_row (
    id bigint primary key
);

create table witness (
    record_id  bigint not null,
    source_id  bigint,
    old_status text,
    new_status text not null,
    instance   text,
    token      bigint,
    seen_at    timestamptz not null default clock_timestamp()
);

-- A trigger on the queue fires inside the queue's functions, with their owner's rights and their search_path.
create function witness_change()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, public, pg_temp
as $$
begin
    insert into witness (record_id, source_id, old_status, new_status, instance, token)
    values (
        new.id,
        case when tg_op = 'INSERT' then (new.payload ->> 'id')::bigint end,
        case when tg_op = 'UPDATE' then old.status end,
        new.status,
        -- A record that is taken back forgets its holder: note who lost it.
        case when tg_op = 'UPDATE' then coalesce(new.flow_instance_id, old.flow_instance_id) end,
        case when tg_op = 'UPDATE' then coalesce(new.claim_token, old.claim_token) end
    );
    return null;
end;
$$;

create trigger witness
    after insert or update of status on conveyor.processing_queue
    for each row
    execute function witness_change();
