-- A tenth of jitter: records that failed together do not come back together.
create or replace function conveyor._retry_delay(
    p_delay       interval,
    p_backoff     numeric,
    p_retry_count integer
)
    returns interval
    language sql
    volatile strict
return make_interval(
    secs => least(
        greatest(86400, extract(epoch from p_delay)),
        extract(epoch from p_delay)::double precision * power(p_backoff::double precision, least(p_retry_count, 64))
    ) * (1 + random() / 10)
);

comment on function conveyor._retry_delay is
    'How long a record waits that failed p_retry_count times before: up to a day, or the delay if that is longer.';
