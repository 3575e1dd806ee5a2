-- Refuse an argument: name it, show what was given, say what to give instead.
-- The name is also the error's column, for clients that call the argument something else.
create or replace function conveyor._raise_invalid(
    p_argument text,
    p_value    text,
    p_remedy   text
)
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'invalid_parameter_value',
        message = format(
            '%s is %s%s', p_argument, coalesce(quote_literal(left(p_value, 100)), 'null'),
            case when length(p_value) > 100 then format('... (%s characters)', length(p_value)) end
        ),
        hint    = format('Give %s.', p_remedy),
        column  = p_argument;
end;
$$;

comment on function conveyor._raise_invalid is 'Raises invalid_parameter_value (22023) for an argument.';
