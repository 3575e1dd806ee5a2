-- A shorter list would pair answers with the wrong records, or with none.
create or replace function conveyor._check_answers(
    p_ids     bigint[],
    p_tokens  bigint[],
    p_name    text  default null,
    p_answers jsonb default null
)
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
begin
    if p_ids is null or array_ndims(p_ids) > 1 then
        perform conveyor._raise_invalid('p_ids', p_ids::text, 'an array of record ids');
    end if;
    if p_tokens is null or cardinality(p_tokens) <> cardinality(p_ids) then
        perform conveyor._raise_invalid(
            'p_tokens', p_tokens::text, format('one claim token for each of the %s ids', cardinality(p_ids))
        );
    end if;
    if p_name is null then
        return;
    end if;
    if jsonb_typeof(p_answers) is distinct from 'array' then
        perform conveyor._raise_invalid(p_name, p_answers::text, 'a JSON array with one element for each id');
    end if;
    if jsonb_array_length(p_answers) <> cardinality(p_ids) then
        perform conveyor._raise_invalid(
            format('the number of %s', p_name), jsonb_array_length(p_answers)::text,
            format('one element for each of the %s ids', cardinality(p_ids))
        );
    end if;
end;
$$;

comment on function conveyor._check_answers is 'Refuses ids, tokens and answers that do not pair up.';
