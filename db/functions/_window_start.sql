create or replace function conveyor._window_start(p_at timestamptz, p_thresholds jsonb)
    returns timestamptz
    language sql
    stable
return date_trunc('minute', p_at - interval '1 minute' * (p_thresholds ->> 'window_minutes')::float8);

comment on function conveyor._window_start is 'The whole minute at which the window of queue health begins.';
