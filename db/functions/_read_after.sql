-- Where the window of a source begins: keys above this may be read again.  Null: all of them.
-- Identities may begin with the lowest bigint; then there is nothing below the overlap.
create or replace function conveyor._read_after(p_mark conveyor.source_watermark)
    returns bigint
    language sql
    immutable parallel safe
return greatest(
    case
        when (p_mark).read_to >= (p_mark).overlap - 9223372036854775808
            then (p_mark).read_to - (p_mark).overlap
    end,
    (p_mark).window_from
);

comment on function conveyor._read_after is
    'The key after which a reader of the source begins; nothing above it is purged.';
