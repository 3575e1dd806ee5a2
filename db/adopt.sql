-- Move the records of a table that was made by the contract's DDL into conveyor.processing_queue, in one transaction
-- with the install.  Plain SQL: psql and the Python installer both run it, at the end.  What they were told is in two
-- settings, conveyor.adopt (the table) and conveyor.adopt_timezone; without the first, an old table is only reported.
--
-- Ids are kept.  Times without a zone are read in the zone that was given, UTC if none.  Records in processing have
-- neither token nor lease, so nobody can answer for them: maintain() takes them back when their flow's lease has passed
-- since claimed_at.  The old table is renamed to …_adopted and keeps its rows.  So nothing is lost, a second run finds
-- nothing to move, and a writer that was forgotten gets an error instead of filling a table that nobody reads.

do $$
declare
    v_name    constant text := nullif(current_setting('conveyor.adopt', true), '');
    v_zone    constant text := coalesce(nullif(current_setting('conveyor.adopt_timezone', true), ''), 'UTC');
    v_columns constant text[] := array[
        'id', 'flow_name', 'payload', 'status', 'flow_instance_id', 'claimed_at', 'completed_at', 'error_message',
        'retry_count', 'created_at', 'updated_at'
    ];
    v_now     constant timestamptz := clock_timestamp();
    v_table   regclass;
    v_renamed text;
    v_left    text;
    v_missing text;
    v_wrong   text;
    v_highest bigint;
    v_late    bigint;
    v_count   bigint;
    v_counts  text;
begin
    if v_name is null then
        if exists (
            select
            from pg_class as c
            join pg_attribute as a on a.attrelid = c.oid
            where c.relnamespace = to_regnamespace('public')
                and c.relname = 'processing_queue'
                and a.attname = 'flow_instance_id'
        ) then
            raise info 'public.processing_queue is there: this queue does not use it'
                using hint = 'To move its records over: pgconveyor install --adopt public.processing_queue';
        end if;
        return;
    end if;

    -- The old table is the business of whoever installs, not of the queue's owner.
    perform set_config('role', current_setting('conveyor.installer'), true);
    -- Rows that a policy hides would be lost without a word.
    set local row_security = off;

    v_table := to_regclass(v_name);
    if v_table is null and to_regclass(regexp_replace(v_name, '("?)$', '_adopted\1')) is not null then
        raise info '% was adopted before: nothing to do', v_name;
        return;
    end if;
    if v_table is null then
        raise exception using
            errcode = 'undefined_table',
            message = format('there is no table %s to adopt', v_name),
            hint    = 'Give it with its schema, such as public.processing_queue.';
    end if;
    if v_table = 'conveyor.processing_queue'::regclass
        or (select c.relkind not in ('r', 'p') from pg_class as c where c.oid = v_table)
    then
        raise exception using
            errcode = 'wrong_object_type',
            message = format('%s cannot be adopted', v_name),
            hint    = 'Give the table that the old programs wrote to.';
    end if;

    select string_agg(w.name, ', ' order by w.position)
    into v_missing
    from unnest(v_columns) with ordinality as w (name, position)
    where not exists (
        select
        from pg_attribute as a
        where a.attrelid = v_table
            and a.attname = w.name
            and not a.attisdropped
    );
    if v_missing is not null then
        raise exception using
            errcode = 'undefined_column',
            message = format('%s has no column %s', v_name, v_missing),
            hint    = 'Only a table with the columns of the contract can be adopted; add what is missing.';
    end if;
    select string_agg(a.attname, ', ' order by a.attnum)
    into v_left
    from pg_attribute as a
    where a.attrelid = v_table
        and a.attnum > 0
        and not a.attisdropped
        and a.attname <> all (v_columns);

    v_renamed := (select c.relname || '_adopted' from pg_class as c where c.oid = v_table);
    if exists (
        select
        from pg_class as c
        join pg_class as old on old.relnamespace = c.relnamespace
        where old.oid = v_table
            and c.relname = v_renamed
    ) then
        raise exception using
            errcode = 'duplicate_table',
            message = format('%s cannot be renamed: %s is there already', v_name, v_renamed),
            hint    = 'A table was adopted before. Rename that one, then try again.';
    end if;

    if not exists (select from pg_timezone_names as z where lower(z.name) = lower(v_zone)) then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format('there is no time zone %L', v_zone),
            hint    = 'Give the name of one, such as Europe/Berlin; select name from pg_timezone_names lists them.';
    end if;
    -- A cast to timestamptz reads times without a zone in this one, and leaves those that have a zone alone.
    perform set_config('timezone', v_zone, true);

    -- The queue first, as in every verb, against new records that would take an id.
    lock table conveyor.processing_queue in share row exclusive mode;
    execute format('lock table %s in access exclusive mode', v_table);
    execute format(
        'create temporary view conveyor_adopted as select %s from %s', array_to_string(v_columns, ', '), v_table
    );

    select string_agg(w.id::text, ', ' order by w.id)
    into v_wrong
    from (
        select a.id
        from conveyor_adopted as a
        where (length(a.flow_name) <= 100 and a.flow_name ~ '\S') is not true
            or a.status not in ('pending', 'processing', 'completed', 'failed')
            or a.retry_count < 0
            or a.id is null
        order by a.id
        limit 20
    ) as w;
    if v_wrong is not null then
        raise exception using
            errcode = 'check_violation',
            message = format('records of %s cannot be taken over: %s', v_name, v_wrong),
            detail  = 'Their flow_name is blank or longer than 100 characters, their status is none of the four, or'
                || ' their retry_count is below zero; at most 20 are named.',
            hint    = 'Nothing was done. Correct them, then try again.';
    end if;

    select string_agg(w.id::text, ', ' order by w.id)
    into v_wrong
    from (
        select a.id
        from conveyor_adopted as a
        join conveyor.processing_queue as q on q.id = a.id
        order by a.id
        limit 20
    ) as w;
    if v_wrong is not null then
        raise exception using
            errcode = 'unique_violation',
            message = format('the queue has records of its own with ids of %s: %s', v_name, v_wrong),
            detail  = 'At most 20 are named.',
            hint    = 'Nothing was done. Adopt before the first record is added, or give the old ones other ids.';
    end if;

    insert into conveyor.processing_queue (
        id, flow_name, payload, status, flow_instance_id, claimed_at, completed_at, error_message, retry_count,
        created_at, updated_at
    )
    select
        a.id,
        a.flow_name,
        coalesce(a.payload::jsonb, '{}'),
        coalesce(a.status, 'pending'),
        a.flow_instance_id,
        a.claimed_at::timestamptz,
        a.completed_at::timestamptz,
        a.error_message,
        coalesce(a.retry_count, 0),
        coalesce(a.created_at, a.claimed_at, a.completed_at, a.updated_at, v_now)::timestamptz,
        coalesce(a.updated_at, a.completed_at, a.claimed_at, a.created_at, v_now)::timestamptz
    from conveyor_adopted as a
    order by a.id;

    select
        count(*),
        coalesce(max(q.id), 0),
        format(
            '%s pending, %s processing, %s completed, %s failed',
            count(*) filter (where q.status = 'pending'),
            count(*) filter (where q.status = 'processing'),
            count(*) filter (where q.status = 'completed'),
            count(*) filter (where q.status = 'failed')
        ),
        count(*) filter (where q.status = 'pending' and q.created_at > v_now)
    into v_count, v_highest, v_counts, v_late
    from conveyor.processing_queue as q
    where q.id in (select a.id from conveyor_adopted as a);

    perform setval('conveyor.processing_queue_id_seq', v_highest)
    from conveyor.processing_queue_id_seq as s
    where s.last_value < v_highest;

    drop view conveyor_adopted;
    execute format('alter table %s rename to %I', v_table, v_renamed);

    raise info 'adopted % records of %: %; times without a zone were read as %', v_count, v_name, v_counts, v_zone
        using hint = format('%s is called %s now, and can be dropped.', v_name, v_renamed);
    if v_left is not null then
        raise warning 'columns that a queue does not have stayed behind: %', v_left;
    end if;
    if v_late > 0 then
        raise warning '% pending records were created in the future, and wait until then: is % the right time zone?',
            v_late, v_zone;
    end if;
end;
$$;
