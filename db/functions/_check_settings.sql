-- One row for each setting: what it takes, and whether null may turn it off.
create or replace function conveyor._check_settings(p_settings jsonb)
    returns void
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_key    text;
    v_value  jsonb;
    v_remedy text;
begin
    if jsonb_typeof(p_settings) is distinct from 'object' then
        perform conveyor._raise_invalid(
            'p_settings', p_settings::text, 'a JSON object such as {"lease": "5 minutes"}'
        );
    end if;

    select
        s.key,
        s.value,
        coalesce(
            k.remedy,
            'one of the keys lease, max_retries, retry_delay, retry_backoff, crash_budget, keep_input, retention,'
            ' payload_limit'
        )
    into v_key, v_value, v_remedy
    from jsonb_each(p_settings) as s
    left join (
        values
            ('lease', 'interval', 0.000001, 3e9, false, 'an interval above zero, as text or in seconds'),
            ('max_retries', 'integer', 0, 2147483647, true, 'a whole number from 0 up, or null for no limit'),
            ('retry_delay', 'interval', 0, 3e9, true, 'an interval, as text or in seconds, or null for no retry'),
            ('retry_backoff', 'number', 1, 100, false, 'a number from 1 to 100'),
            ('crash_budget', 'integer', 1, 2147483647, true, 'a whole number from 1 up, or null for no limit'),
            ('keep_input', 'boolean', null, null, false, 'true or false'),
            ('retention', 'interval', 0, 3e9, true, 'an interval, as text or in seconds, or null to keep records'),
            (
                'payload_limit', 'bytes', 1, 9223372036854775807, true,
                'a whole number of bytes from 1 up, a text such as "16MB", or null for no limit'
            )
    ) as k (key, type, least, most, nullable, remedy)
        on s.key = k.key
    where not coalesce(
        case
            when s.value = 'null' then k.nullable
            when k.type = 'boolean' then jsonb_typeof(s.value) = 'boolean'
            when k.type = 'interval'
                then extract(epoch from conveyor._to_interval(s.value)) between k.least and k.most
            when k.type = 'bytes' then conveyor._to_bytes(s.value) between k.least and k.most
            when jsonb_typeof(s.value) = 'number'
                then s.value::numeric between k.least and k.most
                    and (k.type = 'number' or s.value::numeric = trunc(s.value::numeric))
        end,
        false
    )
    order by s.key
    limit 1;

    if found then
        perform conveyor._raise_invalid(format('p_settings.%s', v_key), v_value::text, v_remedy);
    end if;
end;
$$;

comment on function conveyor._check_settings is 'Refuses a setting of a flow that is unknown or out of range.';
