create or replace function conveyor._cut_context(p_context jsonb)
    returns jsonb
    language sql
    stable parallel safe
return case
    when conveyor._jsonb_size(p_context) > 65536
        then jsonb_build_object('cut', conveyor._cut(p_context::text, 10000))
    else p_context
end;

comment on function conveyor._cut_context is 'A context of at most 64 kB; of a larger one, where its text begins.';
