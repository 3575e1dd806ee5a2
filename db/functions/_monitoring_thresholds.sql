-- The one place that knows the defaults; client/pgconveyor/monitoring.py tells them, and a test holds the two equal.
create or replace function conveyor._monitoring_thresholds(p_given jsonb)
    returns jsonb
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
declare
    c_default constant jsonb := '{
        "window_minutes": 60,
        "failed_percent_warning": 10,
        "failed_percent_critical": 20,
        "pending_minutes_warning": 15,
        "pending_minutes_critical": 60,
        "maintain_minutes": 5,
        "silent_hours": 1,
        "horizon_minutes": 30,
        "horizon_transactions": 1000000
    }'::jsonb;
    v_key   text;
    v_value jsonb;
begin
    if jsonb_typeof(p_given) is distinct from 'object' then
        perform conveyor._raise_invalid('p_thresholds', p_given::text, 'an object, such as {"window_minutes": 15}');
    end if;

    select g.key, g.value
    into v_key, v_value
    from jsonb_each(p_given) as g
    where not c_default ? g.key
        or case jsonb_typeof(g.value)
            when 'number'
                then g.value::numeric not between 0 and case g.key when 'window_minutes' then 43200 else 1e9 end
            else true
        end
    order by g.key
    limit 1;

    if not c_default ? v_key then
        perform conveyor._raise_invalid(
            'a key of p_thresholds', v_key,
            'one of ' || (select string_agg(k.key, ', ' order by k.key) from jsonb_object_keys(c_default) as k (key))
        );
    elsif v_key is not null then
        perform conveyor._raise_invalid(
            format('p_thresholds.%s', v_key), v_value::text,
            format('a number from 0 to %s', case v_key when 'window_minutes' then '43200' else '1000000000' end)
        );
    end if;
    return c_default || p_given;
end;
$$;

comment on function conveyor._monitoring_thresholds is
    'The thresholds of monitoring: the defaults, and what was given.';
