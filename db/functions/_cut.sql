-- The mark is part of the length, so that what is cut once is not cut again.
create or replace function conveyor._cut(
    p_text text,
    p_most integer
)
    returns text
    language sql
    immutable parallel safe
return case
    when octet_length(p_text) > p_most and length(p_text) > p_most
        then left(p_text, p_most - 40) || '... [cut: ' || length(p_text)::text || ' characters]'
    else p_text
end;

comment on function conveyor._cut is
    'A text of at most p_most (over 40) characters; a longer one is cut, and says that and how long it was.';
