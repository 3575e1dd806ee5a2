create or replace function conveyor._raise_too_large(
    p_argument text,
    p_size     integer,
    p_limit    bigint
)
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'invalid_parameter_value',
        message = format('%s has %s bytes, and the payload_limit of the flow is %s', p_argument, p_size, p_limit),
        hint    = 'Keep the data elsewhere and add where it is, or raise payload_limit with configure_flow.',
        column  = p_argument;
end;
$$;

comment on function conveyor._raise_too_large is 'Raises invalid_parameter_value (22023) for a payload over the limit.';
